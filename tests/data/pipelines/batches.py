"""Pipelines that batch, window, group and cut."""

import random
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.cases import BATCH, INSIDE, ROWS, Dataset, Source, pipeline, rows, tripled


@pipeline("batches of other sizes")
def _(files: Path) -> Source:
    return rows().batch(3).rebatch(5)


@pipeline("padded batches")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.range(x % 5)).padded_batch(BATCH)


@pipeline("ragged batches")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.range(x % 5)).ragged_batch(BATCH)


@pipeline("ragged batches of unknown number")
def _(files: Path) -> Source:
    return rows(20).filter(lambda x: x % 5 != 0).map(lambda x: tf.range(x % 5)).ragged_batch(BATCH)


@pipeline("sparse batches of unknown number")
def _(files: Path) -> Source:
    sparse = rows(20).filter(lambda x: x % 5 != 0).map(lambda x: tf.sparse.SparseTensor([[x % 3]], [x], [3]))
    return sparse.batch(BATCH)


@pipeline("dense to ragged, then unbatch")
def _(files: Path) -> Source:
    return rows(4).map(lambda x: tf.range(x + 3)).unbatch().batch(BATCH)


@pipeline("buckets by length")
def _(files: Path) -> Source:
    ranges = rows().map(lambda x: tf.range(1 + x % 5))
    return ranges.bucket_by_sequence_length(tf.size, bucket_boundaries=[3, 5], bucket_batch_sizes=[4, 4, 4])


@pipeline("windows")
def _(files: Path) -> Source:
    windows = rows(18).window(3, shift=1, drop_remainder=True)
    return windows.flat_map(lambda window: window.batch(3)).batch(BATCH)


@pipeline("groups")
def _(files: Path) -> Source:
    return rows().group_by_window(lambda x: x % 2, lambda key, group: group.batch(BATCH), window_size=BATCH)


@pipeline("groups that are shuffled")
def _(files: Path) -> Source:
    def shuffled(key: tf.Tensor, group: Dataset) -> Dataset:
        return group.shuffle(4, seed=1).batch(BATCH)

    return rows().group_by_window(lambda x: x % 2, shuffled, window_size=BATCH)


@pipeline("unbatch")
def _(files: Path) -> Source:
    return rows().batch(8).shuffle(2, seed=1).unbatch().batch(BATCH)


@pipeline("scan")
def _(files: Path) -> Source:
    return rows().scan(np.int64(1), lambda state, x: (state * 3 + x, state)).batch(BATCH)


@pipeline("unique")
def _(files: Path) -> Source:
    return rows(32).map(lambda x: x % 16).unique().batch(BATCH)


@pipeline("filter")
def _(files: Path) -> Source:
    return rows(20).filter(lambda x: x % 5 != 0).batch(BATCH)


@pipeline("filter, endless", steps=3)
def _(files: Path) -> Source:
    return rows(20).filter(lambda x: x % 5 != 0).repeat().shuffle(8, seed=1).batch(BATCH)


@pipeline("take while")
def _(files: Path) -> Source:
    return rows(99).take_while(lambda x: x < ROWS).batch(BATCH)


@pipeline("take and skip")
def _(files: Path) -> Source:
    return rows(99).skip(2).take(ROWS).batch(BATCH)


@pipeline("concatenate")
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(100, 108)).batch(BATCH)


@pipeline("shard")
def _(files: Path) -> Source:
    return rows(32).shuffle(32, seed=1).shard(2, 1).batch(BATCH)


@pipeline("nests with texts")
def _(files: Path) -> Source:
    return rows().map(lambda x: {"x": x, "text": (tf.strings.as_string(x), tf.cast(x, tf.float16))}).batch(BATCH)


@pipeline("errors that are ignored")
def _(files: Path) -> Source:
    divided = rows(20).map(lambda x: 100 // tf.where(x % 5 == 0, tf.constant(0, tf.int64), x))
    return divided.ignore_errors().batch(BATCH)


@pipeline("errors that are ignored, replayed", resume="replay")
def _(files: Path) -> Source:
    divided = rows(20).map(lambda x: 100 // tf.where(x % 5 == 0, tf.constant(0, tf.int64), x))
    return divided.ignore_errors().batch(BATCH)


@pipeline("unbatched shuffle after numpy_function")
def _(files: Path) -> Source:
    mapped = rows().batch(BATCH).map(lambda x: tf.numpy_function(tripled, [x], tf.int64))
    return mapped.map(lambda x: tf.ensure_shape(x, [BATCH])).unbatch().shuffle(5, seed=1).batch(BATCH)


@pipeline("numpy_function with random numbers after shuffled batches")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1).batch(BATCH)
    return shuffled.map(lambda x: tf.numpy_function(lambda y: y + random.randrange(99), [x], tf.int64))


@pipeline("not batched")
def _(files: Path) -> Source:
    return rows(4)


@pipeline("windows that are reduced in a function")
def _(files: Path) -> Source:
    windows = rows(18).window(3, shift=1, drop_remainder=True)
    return windows.map(lambda window: window.reduce(np.int64(0), lambda total, x: total + x)).batch(BATCH)


@pipeline("windows that are reduced in a function, saved", INSIDE, resume="state")
def _(files: Path) -> Source:
    windows = rows(18).window(3, shift=1, drop_remainder=True)
    return windows.map(lambda window: window.reduce(np.int64(0), lambda total, x: total + x)).batch(BATCH)


@pipeline("windows that are reduced in a function by draws, shuffled")
def _(files: Path) -> Source:
    def noisy(total: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return total + tf.cast(x, tf.float32) * tf.random.uniform([])

    windows = rows(18).window(3, shift=1, drop_remainder=True)
    with warnings.catch_warnings():  # of TensorFlow's, that the seed is that of the graph around the function
        warnings.simplefilter("ignore")
        return windows.map(lambda window: window.shuffle(3).reduce(0.0, noisy)).batch(BATCH)


@pipeline("windows as one element each")
def _(files: Path) -> Source:
    windows = rows(18).window(3, shift=1, drop_remainder=True)
    return windows.map(lambda window: window.batch(3).get_single_element()).shuffle(5).batch(BATCH)


@pipeline("the first of a dataset in a function")
def _(files: Path) -> Source:
    return rows().map(lambda x: next(iter(Dataset.range(x, x + 3)))).batch(BATCH)
