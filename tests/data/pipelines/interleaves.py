"""Pipelines that make one dataset of several."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import AUTOTUNE, BATCH, NEVER_OVER, ROWS, Dataset, Source, pipeline, rows


@pipeline("interleave")
def _(files: Path) -> Source:
    return rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2).batch(BATCH)


@pipeline("interleave, parallel")
def _(files: Path) -> Source:
    parts = rows(4).interleave(
        lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2, num_parallel_calls=AUTOTUNE, deterministic=True
    )
    return parts.batch(BATCH)


@pipeline("interleave, parallel, order not mentioned")
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=3, num_parallel_calls=3)
    return parts.batch(BATCH)


@pipeline("interleave in any order")
def _(files: Path) -> Source:
    parts = rows(4).interleave(
        lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2, num_parallel_calls=2, deterministic=False
    )
    return parts.batch(BATCH)


@pipeline("shuffle of files, then interleave")
def _(files: Path) -> Source:
    parts = rows(4).shuffle(4, seed=1).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled")
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=1), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled by the global seed")
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled by the element's own seed")
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=i), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of a shuffle from outside")
def _(files: Path) -> Source:
    shuffled = rows(4).shuffle(4, seed=1)
    return rows(4).interleave(lambda i: shuffled.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a cache from outside")
def _(files: Path) -> Source:
    cached = rows(4).cache()
    return rows(4).interleave(lambda i: cached.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("flat_map of what is shuffled and repeated")
def _(files: Path) -> Source:
    return rows(2).flat_map(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=1).repeat(2)).batch(BATCH)


@pipeline("zip")
def _(files: Path) -> Source:
    return Dataset.zip(rows(), rows().map(lambda x: -x)).batch(BATCH)


@pipeline("zip with a shuffle")
def _(files: Path) -> Source:
    return Dataset.zip(rows(), rows().shuffle(ROWS, seed=1)).batch(BATCH)


@pipeline("zip with a longer shuffle")
def _(files: Path) -> Source:
    return Dataset.zip(rows(), rows(20).shuffle(20, seed=1)).batch(BATCH)


@pipeline("zip with a shuffle of unknown number")
def _(files: Path) -> Source:
    return Dataset.zip(rows(14).shuffle(14, seed=1), rows(20).filter(lambda x: x % 5 != 0)).batch(BATCH)


@pipeline("concatenate, then shuffle")
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16)).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("concatenate with a shuffle")
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16).shuffle(8, seed=1)).batch(BATCH)


@pipeline("sample_from_datasets, seeded")
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5], seed=1).batch(BATCH)


@pipeline("sample_from_datasets, seeded, saved", NEVER_OVER, resume="state")
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5], seed=1).batch(BATCH)


@pipeline("sample_from_datasets until one is over")
def _(files: Path) -> Source:
    parts = [rows(), Dataset.range(50, 66)]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1, stop_on_empty_dataset=True).batch(BATCH)


@pipeline("sample_from_datasets until the one is over that is not repeated")
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets(
        [rows(12).shuffle(12), rows().repeat()], [0.7, 0.3], stop_on_empty_dataset=True
    ).batch(BATCH)


@pipeline("sample_from_datasets of repeated ones")
def _(files: Path) -> Source:
    parts = [rows(8).repeat(), Dataset.range(8, 16).repeat()]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1).take(ROWS).batch(BATCH)


@pipeline("sample_from_datasets that shuffle")
def _(files: Path) -> Source:
    parts = [rows(8).shuffle(8, seed=2).repeat(), Dataset.range(8, 16).repeat()]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1).take(ROWS).batch(BATCH)


@pipeline("sample_from_datasets, then shuffle")
def _(files: Path) -> Source:
    parts = [rows(8).repeat(), Dataset.range(8, 16).repeat()]
    return Dataset.sample_from_datasets(parts, seed=1).take(ROWS).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("sample_from_datasets, seeded, endless", steps=3)
def _(files: Path) -> Source:
    parts = [rows(8).repeat(), Dataset.range(8, 16).repeat()]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1).batch(BATCH)


@pipeline("sample_from_datasets, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5]).batch(BATCH)


@pipeline("sample_from_datasets by the global seed")
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5]).batch(BATCH)


@pipeline("sample_from_datasets, another sample each time")
def _(files: Path) -> Source:
    parts = [rows(8), Dataset.range(8, 16)]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1, rerandomize_each_iteration=True).batch(BATCH)


@pipeline("sample_from_datasets with weights that are a dataset")
def _(files: Path) -> Source:
    weights = Dataset.from_tensors([0.3, 0.7]).repeat()
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], weights, seed=1).batch(BATCH)


@pipeline("choose_from_datasets")
def _(files: Path) -> Source:
    choice = Dataset.range(2).repeat(8)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle")
def _(files: Path) -> Source:
    choice = Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("rejection_resample")
def _(files: Path) -> Source:
    return rows(64).rejection_resample(lambda x: tf.cast(x % 2, tf.int32), [0.2, 0.8], seed=1).batch(BATCH)


@pipeline("random dataset, seeded")
def _(files: Path) -> Source:
    return Dataset.random(seed=1).take(ROWS).batch(BATCH)


@pipeline("random dataset, endless", steps=4)
def _(files: Path) -> Source:
    return Dataset.random(seed=1).batch(BATCH)


@pipeline("random dataset, other numbers each time")
def _(files: Path) -> Source:
    return Dataset.random(seed=1, rerandomize_each_iteration=True).take(ROWS).batch(BATCH)


@pipeline("random dataset, no seed at all")
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return Dataset.random().take(ROWS).batch(BATCH)


@pipeline("random dataset by the global seed")
def _(files: Path) -> Source:
    return Dataset.random().take(ROWS).batch(BATCH)
