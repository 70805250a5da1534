"""Functions of the epoch."""

import random
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.cases import BATCH, ROWS, Dataset, Source, numbered, pipeline, rows


@pipeline("function of the epoch")
def _(files: Path) -> Source:
    return lambda epoch: rows(ROWS + epoch).shuffle(ROWS, seed=epoch).batch(BATCH)


@pipeline("function of the epoch, replayed", resume="replay")
def _(files: Path) -> Source:
    return lambda epoch: rows(ROWS + epoch).shuffle(ROWS, seed=epoch).batch(BATCH)


@pipeline("function of the epoch with two shuffles and a repeat")
def _(files: Path) -> Source:
    return lambda epoch: rows(8).shuffle(8, seed=epoch).repeat(2).batch(BATCH).shuffle(2, seed=epoch)


@pipeline("function of the epoch, cut", steps=3)
def _(files: Path) -> Source:
    return lambda epoch: rows().shuffle(ROWS, seed=epoch).repeat().batch(BATCH)


@pipeline("function of the epoch with seeds of the global one")
def _(files: Path) -> Source:
    return lambda epoch: rows().shuffle(ROWS).batch(BATCH)


@pipeline("function of the epoch without seeds")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return lambda epoch: rows().shuffle(ROWS).batch(BATCH)


@pipeline("function of the epoch that keeps a dataset that shuffles", r"function.*seed=epoch")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return lambda epoch: shuffled.batch(BATCH)


@pipeline(
    "function of the epoch that keeps a dataset that shuffles, replayed", r"function.*seed=epoch", resume="replay"
)
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return lambda epoch: shuffled.batch(BATCH)


@pipeline("function of the epoch that keeps a cache")
def _(files: Path) -> Source:
    cached = rows().cache()
    return lambda epoch: cached.shuffle(ROWS, seed=epoch).batch(BATCH)


@pipeline("function of the epoch that counts its calls", r"another dataset each time it is called.*seed=epoch")
def _(files: Path) -> Source:
    calls: list[int] = []

    def made(epoch: int) -> Dataset:
        calls.append(epoch)
        return rows().shuffle(ROWS, seed=len(calls)).batch(BATCH)

    return made


@pipeline("function of the epoch that shuffles by Python")
def _(files: Path) -> Source:
    return lambda epoch: Dataset.from_tensor_slices(np.random.permutation(ROWS)).batch(BATCH)


@pipeline(
    "function of the epoch that shuffles by Python, no seed at all",
    r"another dataset each time it is called.*seed=epoch.*set_random_seed",
)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return lambda epoch: Dataset.from_tensor_slices(np.random.permutation(ROWS)).batch(BATCH)


@pipeline("function of the epoch that draws")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return lambda epoch: rows().map(lambda x: tf.random.uniform([2])).batch(BATCH)


@pipeline("function of the epoch that draws in one of them")
def _(files: Path) -> Source:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        return x + tf.random.uniform([], 0, 9, tf.int64)

    return lambda epoch: (rows().map(drawn) if epoch == 2 else rows()).batch(BATCH)


@pipeline("function of the epoch that keeps a generator of random numbers")
def _(files: Path) -> Source:
    generator = tf.random.Generator.from_seed(1)
    return lambda epoch: rows().shuffle(ROWS, seed=epoch).map(lambda x: generator.uniform([2])).batch(BATCH)


@pipeline("function of the epoch with a generator that draws")
def _(files: Path) -> Source:
    return lambda epoch: numbered(lambda: (random.randrange(99) for _ in range(ROWS + epoch))).prefetch(3).batch(BATCH)


@pipeline("function of the epoch with a generator that is shuffled")
def _(files: Path) -> Source:
    return lambda epoch: numbered(lambda: iter(range(ROWS))).shuffle(ROWS, seed=epoch).batch(BATCH)
