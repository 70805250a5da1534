"""Pipelines that shuffle: once, more than once, before and after they repeat."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import BATCH, INSIDE, ROWS, Dataset, Source, pipeline, rows


@pipeline("shuffle, seeded")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("shuffle, small buffer")
def _(files: Path) -> Source:
    return rows().shuffle(3, seed=1).batch(BATCH).prefetch(2)


@pipeline("shuffle, no seed but the global one")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS).batch(BATCH)


@pipeline("shuffle, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return rows().shuffle(ROWS).batch(BATCH)


@pipeline("shuffle, the same in each epoch")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).batch(BATCH)


@pipeline("shuffle, the same in each epoch by the global seed")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, reshuffle_each_iteration=False).batch(BATCH)


@pipeline("shuffle, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("shuffle before batches of unknown number")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).filter(lambda x: x % 5 != 0).batch(BATCH)


@pipeline("shuffle with a smaller last batch")
def _(files: Path) -> Source:
    return rows(14).shuffle(14, seed=1).batch(BATCH)


@pipeline("shuffle with a smaller last batch, of unknown number")
def _(files: Path) -> Source:
    return rows(14).shuffle(14, seed=1).filter(lambda x: x != 5).batch(BATCH)


@pipeline("shuffle of batches")
def _(files: Path) -> Source:
    return rows().batch(BATCH).shuffle(4, seed=1)


@pipeline("shuffle before repeat")
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1).repeat(2).batch(BATCH)


@pipeline("shuffle before endless repeat", steps=4)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).repeat().batch(BATCH)


@pipeline("shuffle repeated by steps_per_epoch", steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("shuffle repeated by steps_per_epoch, replayed", resume="replay", steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("repeat before shuffle", steps=4)
def _(files: Path) -> Source:
    return rows().repeat().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("repeat before shuffle, within an epoch")
def _(files: Path) -> Source:
    return rows(8).repeat(2).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("shuffle, the same each time, before repeat", steps=3)
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1, reshuffle_each_iteration=False).repeat().batch(BATCH)


@pipeline("two shuffles")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH).shuffle(2, seed=2)


@pipeline("two shuffles, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return rows().shuffle(ROWS).batch(BATCH).shuffle(2)


@pipeline("two shuffles, side by side")
def _(files: Path) -> Source:
    return Dataset.zip(rows().shuffle(ROWS, seed=1), rows().shuffle(ROWS, seed=2)).batch(BATCH)


@pipeline("two shuffles, one the same each time")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).batch(BATCH).shuffle(2, seed=2)


@pipeline("the same shuffle used twice")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return Dataset.zip(shuffled, shuffled).batch(BATCH)


@pipeline("skip after shuffle")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).skip(4).batch(BATCH)


@pipeline("take after shuffle")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).take(ROWS).batch(BATCH)


@pipeline("two shuffles, endless", steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH).shuffle(2, seed=2)


@pipeline("two shuffles, the inner one repeated, endless", steps=3)
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1).repeat(2).shuffle(5, seed=2).batch(BATCH)


@pipeline("two shuffles, side by side, endless", steps=3)
def _(files: Path) -> Source:
    return Dataset.zip(rows().shuffle(ROWS, seed=1), rows(20).shuffle(3, seed=2)).batch(BATCH)


@pipeline("shuffle in a cache, endless", steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).cache().batch(BATCH)


@pipeline("shuffle of unknown number, endless", steps=3)
def _(files: Path) -> Source:
    return rows(10).shuffle(10, seed=1).filter(lambda x: x % 5 != 0).batch(BATCH)


@pipeline("concatenate with a shuffle, endless", steps=3)
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16).shuffle(8, seed=1)).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle, endless", steps=3)
def _(files: Path) -> Source:
    choice = Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("random dataset, other numbers each time, endless", steps=3)
def _(files: Path) -> Source:
    return Dataset.random(seed=1, rerandomize_each_iteration=True).take(10).batch(BATCH)


@pipeline("interleave of a shuffle from outside, endless", steps=3)
def _(files: Path) -> Source:
    shuffled = rows(4).shuffle(4, seed=1)
    return rows(4).interleave(lambda i: shuffled.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("two shuffles of other lengths, side by side")
def _(files: Path) -> Source:
    return Dataset.zip(rows(20).shuffle(20, seed=1), rows().shuffle(3, seed=2)).batch(BATCH)


@pipeline("cache in a function")
def _(files: Path) -> Source:
    return rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).cache(), cycle_length=2).batch(BATCH)


@pipeline("random dataset in a function, other numbers each time")
def _(files: Path) -> Source:
    return rows(4).flat_map(lambda i: Dataset.random(seed=1, rerandomize_each_iteration=True).take(4)).batch(BATCH)


@pipeline("shuffle within windows")
def _(files: Path) -> Source:
    return rows().window(8).flat_map(lambda window: window.shuffle(8, seed=1)).batch(BATCH)


@pipeline("shuffle of windows")
def _(files: Path) -> Source:
    return rows().window(4).shuffle(4, seed=1).flat_map(lambda window: window.batch(BATCH))


@pipeline("cache in a function, saved", INSIDE, resume="state")
def _(files: Path) -> Source:
    return rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).cache(), cycle_length=2).batch(BATCH)


@pipeline("concatenate within apply, of what is shuffled")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return rows(8).apply(lambda first: first.concatenate(Dataset.range(8, 16).shuffle(8))).batch(BATCH)


@pipeline("rows that are filled up, shuffled")
def _(files: Path) -> Source:
    found = rows(14).shuffle(14).map(lambda x: {"x": x})
    return found.apply(tf.data.experimental.pad_to_cardinality(16)).batch(BATCH)
