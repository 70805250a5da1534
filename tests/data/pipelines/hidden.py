"""Datasets of which Python does not know what they are made of."""

import random
from pathlib import Path

import tensorflow as tf

from pipelines.cases import BATCH, GENERATOR, ROWS, Dataset, Source, numbered, pipeline, rows


def chosen(choice: Dataset) -> Dataset:
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16))


@pipeline("choose_from_datasets by a shuffle that is the same each time")
def _(files: Path) -> Source:
    return chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1, reshuffle_each_iteration=False))


@pipeline("choose_from_datasets by random numbers of a stream")
def _(files: Path) -> Source:
    return chosen(rows().map(lambda x: tf.random.uniform([], 0, 2, tf.int64)))


@pipeline("choose_from_datasets by a generator")
def _(files: Path) -> Source:
    return chosen(numbered(lambda: iter([0, 1] * 8)))


@pipeline("choose_from_datasets by a generator, saved", GENERATOR, resume="state")
def _(files: Path) -> Source:
    return chosen(numbered(lambda: iter([0, 1] * 8)))


@pipeline("choose_from_datasets by a generator that draws")
def _(files: Path) -> Source:
    return chosen(numbered(lambda: (random.randrange(2) for _ in range(16))))


@pipeline("choose_from_datasets by what is mapped in any order")
def _(files: Path) -> Source:
    return chosen(rows().map(lambda x: x % 2, num_parallel_calls=2, deterministic=False))


@pipeline("choose_from_datasets by a shuffle of the epoch")
def _(files: Path) -> Source:
    return lambda epoch: chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=epoch))


@pipeline("choose_from_datasets by a shuffle that a function of the epoch keeps", r"function.*seed=epoch")
def _(files: Path) -> Source:
    shuffled = chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1))
    return lambda epoch: shuffled.map(lambda x: x + epoch)


@pipeline("choose_from_datasets by a shuffle of the global seed in a function of the epoch")
def _(files: Path) -> Source:
    return lambda epoch: chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16))


@pipeline("interleave of a dataset from outside that draws")
def _(files: Path) -> Source:
    drawn = rows(4).map(lambda x: tf.random.uniform([], seed=1))
    return rows(4).interleave(lambda i: drawn, cycle_length=2).batch(BATCH)


@pipeline("interleave of a generator from outside")
def _(files: Path) -> Source:
    generated = numbered(lambda: iter(range(4)))
    return rows(4).interleave(lambda i: generated.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a generator from outside, saved", GENERATOR, resume="state")
def _(files: Path) -> Source:
    generated = numbered(lambda: iter(range(4)))
    return rows(4).interleave(lambda i: generated.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a dataset from outside that counts", r"use a variable, table.*lambda epoch")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    counted = rows(4).map(lambda x: x * variable.assign_add(1))
    return rows(4).interleave(lambda i: counted, cycle_length=2).batch(BATCH)


@pipeline("a dataset that is passed on as a variant, shuffled")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    variant = tf.data.experimental.to_variant(shuffled)
    return tf.data.experimental.from_variant(variant, shuffled.element_spec).batch(BATCH)


@pipeline("choose_from_datasets without end by choices that end")
def _(files: Path) -> Source:
    return Dataset.choose_from_datasets(
        [rows().shuffle(ROWS).repeat(), rows().repeat()], Dataset.range(2).repeat(8)
    ).batch(BATCH)
