"""Pipelines that call Python: functions and generators."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.cases import (
    AUTOTUNE,
    BATCH,
    GENERATOR,
    OTHERWISE,
    PYTHON,
    ROWS,
    Dataset,
    Source,
    numbered,
    pipeline,
    rows,
    tripled,
)


@pipeline("numpy_function")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64)).batch(BATCH)


@pipeline("numpy_function without state")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64, stateful=False)).batch(BATCH)


@pipeline("py_function")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.py_function(lambda y: y * 3, [x], tf.int64)).batch(BATCH)


@pipeline("py_function after shuffle")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return shuffled.map(lambda x: tf.py_function(lambda y: y * 3, [x], tf.int64)).batch(BATCH)


@pipeline("numpy_function with random numbers")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(lambda y: np.random.random(), [x], tf.float64)).batch(BATCH)


@pipeline("py_function that draws, after shuffle")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS)
    return shuffled.map(lambda x: tf.py_function(lambda y: np.random.random(), [x], tf.float64)).batch(BATCH)


class Augments:
    """Draws from a generator of its own, and counts, beside the global one."""

    def __init__(self) -> None:
        self.rng, self.seen = np.random.default_rng(7), dict[np.int64, int]()

    def __call__(self, x: np.int64) -> float:
        self.seen[x] = self.seen.get(x, 0) + 1
        return float(x * self.rng.random() + random.random() + self.seen[x])


@pipeline("numpy_function with random numbers of its own and of all, in parallel")
def _(files: Path) -> Source:
    augments = Augments()
    shuffled = rows().shuffle(ROWS)
    mapped = shuffled.map(lambda x: tf.numpy_function(augments, [x], tf.float64), num_parallel_calls=AUTOTUNE)
    return mapped.batch(BATCH)


@pipeline("numpy_function with random numbers without state")
def _(files: Path) -> Source:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda y: np.random.random(), [x], tf.float64, stateful=False)

    return rows().map(drawn).batch(BATCH)


@pipeline("generator")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator of a file")
def _(files: Path) -> Source:
    if not (files / "numbers").exists():
        (files / "numbers").write_text("".join(f"{i}\n" for i in range(ROWS)))
    return numbered(lambda: map(int, (files / "numbers").read_text().split())).batch(BATCH)


@pipeline("generator with its own random numbers")
def _(files: Path) -> Source:
    def drawn() -> Iterator[int]:
        rng = np.random.default_rng(1)
        yield from rng.permutation(ROWS)

    return numbered(drawn).shuffle(3, seed=1).batch(BATCH)


@pipeline("generator with NumPy's global random numbers")
def _(files: Path) -> Source:
    return numbered(lambda: iter(np.random.permutation(ROWS))).batch(BATCH)


@pipeline("generator with Python's global random numbers")
def _(files: Path) -> Source:
    return numbered(lambda: (random.randrange(99) for _ in range(ROWS))).batch(BATCH)


@pipeline("generator with late random numbers")
def _(files: Path) -> Source:
    return numbered(lambda: (i if i < 13 else random.randrange(9, 99) for i in range(ROWS))).batch(BATCH)


@pipeline("generator that sets the seed itself")
def _(files: Path) -> Source:
    def drawn() -> Iterator[int]:
        random.seed(1)  # and so lets whatever else draws from it begin again
        yield from (random.randrange(99) for _ in range(ROWS))

    return numbered(drawn).batch(BATCH)


@pipeline("generator with a shared random generator")
def _(files: Path) -> Source:
    rng = np.random.default_rng(1)
    return numbered(lambda: iter(rng.permutation(ROWS))).batch(BATCH)


@pipeline("generator that counts its calls")
def _(files: Path) -> Source:
    calls: list[int] = []

    def counted() -> Iterator[int]:
        calls.append(1)
        yield from range(100 * len(calls), 100 * len(calls) + ROWS)

    return numbered(counted).batch(BATCH)


class Shuffles:
    """Shuffles its rows in place, before and after each pass, as people write it."""

    def __init__(self) -> None:
        self.rows, self.generators, self.passes = list(range(ROWS)), [random.Random(3)], 0
        random.shuffle(self.rows)

    def __iter__(self) -> Iterator[int]:
        random.shuffle(self.rows)
        for row in self.rows:
            yield 100 * self.passes + row
        self.generators[0].shuffle(self.rows)
        self.passes += 1


@pipeline("generator of an object that shuffles its rows in place")
def _(files: Path) -> Source:
    return Dataset.from_generator(Shuffles().__iter__, output_signature=tf.TensorSpec([], tf.int64)).batch(BATCH)


@pipeline("generator of an object that shuffles its rows in place, endless", steps=3)
def _(files: Path) -> Source:
    return Dataset.from_generator(Shuffles().__iter__, output_signature=tf.TensorSpec([], tf.int64)).batch(BATCH)


@pipeline("generator of an object that shuffles its rows in place, read ahead and shuffled again")
def _(files: Path) -> Source:
    found = Dataset.from_generator(Shuffles().__iter__, output_signature=tf.TensorSpec([], tf.int64)).prefetch(4)
    return found.map(lambda x: x + 1, num_parallel_calls=AUTOTUNE).shuffle(5).batch(BATCH).prefetch(2)


@pipeline("numpy_function that draws from a generator of its own, in parallel")
def _(files: Path) -> Source:
    rng = np.random.default_rng(1)

    def noisy(x: np.ndarray) -> np.ndarray:
        return x + rng.normal()

    return rows().shuffle(ROWS).map(lambda x: tf.numpy_function(noisy, [x], tf.float64), AUTOTUNE).batch(BATCH)


@pipeline("generator that keeps what it has seen in a set")
def _(files: Path) -> Source:
    seen = set[int]()

    def once() -> Iterator[int]:
        for row in range(ROWS):
            yield row + 100 * (row in seen)
            seen.add(row)

    return numbered(once).batch(BATCH)


@pipeline("numpy_function that draws from a generator of its own, in batches")
def _(files: Path) -> Source:
    own = random.Random(7)
    noisy = rows().shuffle(ROWS).map(lambda x: tf.numpy_function(lambda y: y * own.random(), [x], tf.float64))
    return noisy.batch(BATCH)


@pipeline("generator that can be read once", OTHERWISE)
def _(files: Path) -> Source:
    once = iter(range(3 * ROWS))
    return numbered(lambda: once).batch(BATCH)


@pipeline("generator, endless", steps=3)
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator of the epoch")
def _(files: Path) -> Source:
    return lambda epoch: numbered(lambda: iter(np.random.default_rng(epoch).permutation(ROWS))).batch(BATCH)


@pipeline("generator behind a cache")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).cache().batch(BATCH)


@pipeline("generators in an interleave")
def _(files: Path) -> Source:
    def part(i: tf.Tensor) -> Dataset:
        return Dataset.from_generator(lambda n: iter(range(n * 4, n * 4 + 4)), tf.int64, args=[i])

    return rows(4).interleave(part, cycle_length=2).batch(BATCH)


@pipeline("py_function, saved", PYTHON, resume="state")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.py_function(lambda y: y * 3, [x], tf.int64)).batch(BATCH)


@pipeline("generator, saved", GENERATOR, resume="state")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator, read again as it was told to", resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).shuffle(ROWS).batch(BATCH)
