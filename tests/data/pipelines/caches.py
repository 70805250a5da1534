"""Pipelines that keep what they have read: in memory, in a file, in a snapshot."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import AUTOTUNE, BATCH, ROWS, UNFILLED, Dataset, Source, pipeline, rows


@pipeline("cache in memory")
def _(files: Path) -> Source:
    return rows().cache().batch(BATCH)


@pipeline("cache in memory, endless", steps=3)
def _(files: Path) -> Source:
    return rows().cache().repeat().batch(BATCH)


@pipeline("cache before shuffle")
def _(files: Path) -> Source:
    return rows().cache().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("cache before shuffle, endless", steps=3)
def _(files: Path) -> Source:
    return rows().cache().shuffle(ROWS).batch(BATCH)


@pipeline("cache after shuffle")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).cache().batch(BATCH)


@pipeline("cache after a shuffle that is the same each time")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).cache().batch(BATCH)


@pipeline("cache in a file", UNFILLED)
def _(files: Path) -> Source:
    return rows().cache(str(files / "cache")).batch(BATCH)


@pipeline("cache in a file, before shuffle", UNFILLED)
def _(files: Path) -> Source:
    return rows().cache(str(files / "cache")).shuffle(ROWS, seed=1).batch(BATCH)


def filled(files: Path) -> Dataset:
    cached = rows().cache(str(files / "cache"))
    for _ in cached:
        pass
    return cached


@pipeline("cache in a file that is filled before")
def _(files: Path) -> Source:
    return filled(files).batch(BATCH)


@pipeline("cache in a file that is filled before, then shuffle")
def _(files: Path) -> Source:
    return filled(files).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("cache in a file that is filled before, replayed", resume="replay")
def _(files: Path) -> Source:
    return filled(files).batch(BATCH)


@pipeline("save and load")
def _(files: Path) -> Source:
    if not (files / "saved").exists():
        rows().save(str(files / "saved"))
    return Dataset.load(str(files / "saved")).batch(BATCH)


def saved(files: Path) -> str:
    """Returns where elements are in two files."""
    if not (files / "saved").exists():
        rows().save(str(files / "saved"), shard_func=lambda x: x % 2)
    return str(files / "saved")


@pipeline("load by a function that shuffles")
def _(files: Path) -> Source:
    tf.random.set_seed(None)

    def read(parts: Dataset) -> Dataset:
        return parts.shuffle(2).interleave(lambda part: part.shuffle(ROWS), num_parallel_calls=AUTOTUNE)

    return Dataset.load(saved(files), reader_func=read).batch(BATCH)


@pipeline("load by a function that draws, and shuffle")
def _(files: Path) -> Source:
    def read(parts: Dataset) -> Dataset:
        return parts.flat_map(lambda part: part.map(lambda x: x + tf.random.uniform([], 0, 9, tf.int64, seed=2)))

    return Dataset.load(saved(files), reader_func=read).shuffle(ROWS).batch(BATCH)


@pipeline("load by a function that counts", r"use a variable, table.*lambda epoch")
def _(files: Path) -> Source:
    count = tf.Variable(0, dtype=tf.int64)

    def read(parts: Dataset) -> Dataset:
        return parts.flat_map(lambda part: part.map(lambda x: x + count.assign_add(1)))

    return Dataset.load(saved(files), reader_func=read).batch(BATCH)


@pipeline("load of two files, as it is")
def _(files: Path) -> Source:
    return Dataset.load(saved(files)).batch(BATCH)


@pipeline("snapshot", r"write a snapshot.*save\(\), and load\(\)")
def _(files: Path) -> Source:
    return rows().snapshot(str(files / "snapshot")).batch(BATCH)
