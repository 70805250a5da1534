"""Each `tf.data` pipeline is resumed exactly from every position, or refused before the first step.

    python tests/data/test_pipelines.py DIRECTORY PIPELINE STEP

is one life of a training over a pipeline, killed by SIGKILL when that step is saved; to the end, if it is 0.
"""

import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import environment
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import NEVER, At, Every, Hook, Loop, Moment, StreamData, Trigger
from loop.data.passes import Passes

ROWS, BATCH, EPOCHS = 16, 4, 3
Dataset = tf.data.Dataset
AUTOTUNE = tf.data.AUTOTUNE
Source = Dataset | Callable[[int], Dataset]


class Pipeline(NamedTuple):
    """A pipeline and what has to come of it.

    Attributes:
        make: Makes it anew, as a script does when it starts; it may keep files in the directory that it is given.
        refused: What the refusal says; None if it is resumed exactly.
        resume: How to come back.
        steps: Steps in an epoch of an endless one.
    """

    make: Callable[[Path], Source]
    refused: str | None = None
    resume: str = "state"
    steps: int | None = None


PIPELINES: dict[str, Pipeline] = {}


def pipeline(
    name: str, refused: str | None = None, *, resume: str = "state", steps: int | None = None
) -> Callable[[Callable[[Path], Source]], Callable[[Path], Source]]:
    """Registers what a function makes as one of the pipelines."""

    def register(make: Callable[[Path], Source]) -> Callable[[Path], Source]:
        assert name not in PIPELINES
        PIPELINES[name] = Pipeline(make, refused, resume, steps)
        return make

    return register


def rows(count: int = ROWS) -> Dataset:
    return Dataset.range(count)


def texts(files: Path, name: str, lines: int = ROWS) -> str:
    (files / name).write_text("".join(f"{name}-{i}\n" for i in range(lines)))
    return str(files / name)


def records(files: Path, name: str, compression: str | None = None, count: int = ROWS) -> str:
    with tf.io.TFRecordWriter(str(files / name), compression) as writer:
        for i in range(count):
            writer.write(f"{name} {i}".encode())
    return str(files / name)


def numbered(function: Callable[[], Iterator[int]]) -> Dataset:
    return Dataset.from_generator(function, output_signature=tf.TensorSpec([], tf.int64))


# What is refused, in the words that say what it is, where, and what to do about it.
UNSEEDED = r"shuffle, or draw, without a seed.*shuffle\(1000, seed="
TWICE = r"shuffle more than once in a pass, or repeat what they have shuffled.*lambda epoch"
ANY_ORDER = r"in any order \(deterministic=False\).*Leave that out"
PYTHON = r"call Python, whose place cannot be saved.*test_pipelines.py:\d+.*resume='replay'"
GENERATOR = r"call Python, whose place cannot be saved.*resume='replay'"
STREAM = r"draw from a stream that cannot be saved.*test_pipelines.py:\d+.*stateless_normal"
RESOURCE = r"use a variable, table, generator or iterator.*test_pipelines.py:\d+.*lambda epoch"
OTHERWISE = r"yield something else when they are read a second time.*Let the generator begin anew"
OWN_STREAM = r"draw from the process's own random numbers, or seed them.*numpy.random.default_rng\(epoch\)"
HIDDEN_STREAM = r"draw from a stream that cannot be saved.*stateless_normal"
INSIDE = r"within a function, which cannot be saved.*test_pipelines.py:\d+.*resume='replay'"
OUTSIDE = r"in a function, a dataset from outside of it that shuffles.*within the function.*resume='replay'"
UNFILLED = r"would fill the cache '.*/files/cache', which a killed run leaves half filled.*Fill it before"
NEVER_OVER = r"sample from datasets until all are over.*resume='replay'"

# Shuffles


@pipeline("shuffle, seeded")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("shuffle, small buffer")
def _(files: Path) -> Source:
    return rows().shuffle(3, seed=1).batch(BATCH).prefetch(2)


@pipeline("shuffle, no seed but the global one")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS).batch(BATCH)


@pipeline("shuffle, no seed at all", UNSEEDED)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return rows().shuffle(ROWS).batch(BATCH)


@pipeline("shuffle, no seed at all, replayed", UNSEEDED, resume="replay")
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


@pipeline("shuffle, then a filter, replayed", resume="replay")
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


@pipeline("shuffle before repeat", TWICE)
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1).repeat(2).batch(BATCH)


@pipeline("shuffle before repeat, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1).repeat(2).batch(BATCH)


@pipeline("shuffle before endless repeat", TWICE, steps=4)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).repeat().batch(BATCH)


@pipeline("shuffle before endless repeat, replayed", resume="replay", steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).repeat().batch(BATCH)


@pipeline("shuffle repeated by steps_per_epoch", TWICE, steps=3)
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


@pipeline("two shuffles", TWICE)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH).shuffle(2, seed=2)


@pipeline("two shuffles, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH).shuffle(2, seed=2)


@pipeline("two shuffles, side by side", TWICE)
def _(files: Path) -> Source:
    return Dataset.zip(rows().shuffle(ROWS, seed=1), rows().shuffle(ROWS, seed=2)).batch(BATCH)


@pipeline("two shuffles, side by side, replayed", resume="replay")
def _(files: Path) -> Source:
    return Dataset.zip(rows().shuffle(ROWS, seed=1), rows().shuffle(ROWS, seed=2)).batch(BATCH)


@pipeline("two shuffles, one the same each time")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).batch(BATCH).shuffle(2, seed=2)


@pipeline("the same shuffle used twice", TWICE)
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return Dataset.zip(shuffled, shuffled).batch(BATCH)


@pipeline("the same shuffle used twice, replayed", resume="replay")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return Dataset.zip(shuffled, shuffled).batch(BATCH)


@pipeline("skip after shuffle")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).skip(4).batch(BATCH)


@pipeline("take after shuffle")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).take(ROWS).batch(BATCH)


@pipeline("take after shuffle, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows(20).shuffle(20, seed=1).take(ROWS).batch(BATCH)


@pipeline("two shuffles, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).batch(BATCH).shuffle(2, seed=2)


@pipeline("two shuffles, the inner one repeated, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return rows(8).shuffle(8, seed=1).repeat(2).shuffle(5, seed=2).batch(BATCH)


@pipeline("two shuffles, side by side, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return Dataset.zip(rows().shuffle(ROWS, seed=1), rows(20).shuffle(3, seed=2)).batch(BATCH)


@pipeline("shuffle in a cache, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).cache().batch(BATCH)


@pipeline("shuffle of unknown number, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return rows(10).shuffle(10, seed=1).filter(lambda x: x % 5 != 0).batch(BATCH)


@pipeline("concatenate with a shuffle, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16).shuffle(8, seed=1)).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    choice = Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("random dataset, other numbers each time, endless", TWICE, steps=3)
def _(files: Path) -> Source:
    return Dataset.random(seed=1, rerandomize_each_iteration=True).take(10).batch(BATCH)


@pipeline("interleave of a shuffle from outside, endless", OUTSIDE, steps=3)
def _(files: Path) -> Source:
    shuffled = rows(4).shuffle(4, seed=1)
    return rows(4).interleave(lambda i: shuffled.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("two shuffles of other lengths, side by side", TWICE)
def _(files: Path) -> Source:
    return Dataset.zip(rows(20).shuffle(20, seed=1), rows().shuffle(3, seed=2)).batch(BATCH)


@pipeline("cache in a function", INSIDE)
def _(files: Path) -> Source:
    return rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).cache(), cycle_length=2).batch(BATCH)


@pipeline("cache in a function, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).cache(), cycle_length=2).batch(BATCH)


@pipeline("random dataset in a function, other numbers each time", INSIDE)
def _(files: Path) -> Source:
    return rows(4).flat_map(lambda i: Dataset.random(seed=1, rerandomize_each_iteration=True).take(4)).batch(BATCH)


@pipeline("random dataset in a function, other numbers each time, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows(4).flat_map(lambda i: Dataset.random(seed=1, rerandomize_each_iteration=True).take(4)).batch(BATCH)


@pipeline("shuffle within windows, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows().window(8).flat_map(lambda window: window.shuffle(8, seed=1)).batch(BATCH)


@pipeline("shuffle of windows")
def _(files: Path) -> Source:
    return rows().window(4).shuffle(4, seed=1).flat_map(lambda window: window.batch(BATCH))


# Caches


@pipeline("cache in memory")
def _(files: Path) -> Source:
    return rows().cache().batch(BATCH)


@pipeline("cache in memory, endless", steps=3)
def _(files: Path) -> Source:
    return rows().cache().repeat().batch(BATCH)


@pipeline("cache, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows().cache().batch(BATCH)


@pipeline("cache before shuffle")
def _(files: Path) -> Source:
    return rows().cache().shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("cache after shuffle", TWICE)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).cache().batch(BATCH)


@pipeline("cache after shuffle, replayed", resume="replay")
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


@pipeline("cache in a file, replayed", UNFILLED, resume="replay")
def _(files: Path) -> Source:
    return rows().cache(str(files / "cache")).batch(BATCH)


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


@pipeline("snapshot", r"write a snapshot.*save\(\), and load\(\)")
def _(files: Path) -> Source:
    return rows().snapshot(str(files / "snapshot")).batch(BATCH)


# Maps


@pipeline("map")
def _(files: Path) -> Source:
    return rows().map(lambda x: x * x).batch(BATCH)


@pipeline("map, parallel")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).map(lambda x: x * x, num_parallel_calls=AUTOTUNE).batch(BATCH).prefetch(2)


@pipeline("map, parallel, in any order", ANY_ORDER)
def _(files: Path) -> Source:
    return rows().map(lambda x: x * x, num_parallel_calls=4, deterministic=False).batch(BATCH)


@pipeline("options that allow any order", ANY_ORDER)
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.deterministic = False
    return rows().map(lambda x: x * x, num_parallel_calls=4).batch(BATCH).with_options(options)


@pipeline("options that allow any order, before other stages", ANY_ORDER)
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.deterministic = False
    return rows().map(lambda x: x * x, num_parallel_calls=4).with_options(options).batch(BATCH)


@pipeline("parallel batches in any order", ANY_ORDER)
def _(files: Path) -> Source:
    return rows().batch(BATCH, num_parallel_calls=2, deterministic=False)


@pipeline("random numbers of each element")
def _(files: Path) -> Source:
    return rows().enumerate().map(lambda i, x: tf.random.stateless_uniform([2], seed=[x, i])).batch(BATCH)


@pipeline("random numbers of a stream", STREAM)
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.random.uniform([2], seed=1)).batch(BATCH)


@pipeline("random numbers of a stream, replayed", STREAM, resume="replay")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.random.uniform([2], seed=1)).batch(BATCH)


@pipeline("random numbers of a generator", RESOURCE)
def _(files: Path) -> Source:
    generator = tf.random.Generator.from_seed(1)
    return rows().map(lambda x: generator.uniform([2])).batch(BATCH)


@pipeline("random numbers of a generator, replayed", RESOURCE, resume="replay")
def _(files: Path) -> Source:
    generator = tf.random.Generator.from_seed(1)
    return rows().map(lambda x: generator.uniform([2])).batch(BATCH)


@pipeline("random numbers of Keras' global generator", r"stream|variable")
def _(files: Path) -> Source:
    return rows().map(lambda x: keras.random.uniform([2])).batch(BATCH)


@pipeline("random numbers of a Keras generator with a seed")
def _(files: Path) -> Source:
    return rows().map(lambda x: keras.random.uniform([2], seed=1)).batch(BATCH)


@pipeline("a Keras layer that draws", r"stream|variable")
def _(files: Path) -> Source:
    flip = keras.layers.RandomFlip(seed=1)
    return rows().map(lambda x: flip(tf.reshape(tf.range(12.0), [2, 2, 3]), training=True)).batch(BATCH)


@pipeline("a Keras layer that draws, replayed", r"stream|variable", resume="replay")
def _(files: Path) -> Source:
    flip = keras.layers.RandomFlip(seed=1)
    return rows().map(lambda x: flip(tf.reshape(tf.range(12.0), [2, 2, 3]), training=True)).batch(BATCH)


@pipeline("a variable that is read", r"TensorFlow does not save an iterator.*test_pipelines.py:\d+.*resume='replay'")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().map(lambda x: x * variable).batch(BATCH)


@pipeline("a variable that is read, replayed", resume="replay")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().shuffle(ROWS, seed=1).map(lambda x: x * variable).batch(BATCH)


@pipeline("a Keras layer that is only read, replayed", resume="replay")
def _(files: Path) -> Source:
    layer = keras.layers.Dense(2, kernel_initializer="ones")
    layer.build([None, 1])
    return rows().map(lambda x: layer(tf.cast([[x]], tf.float32))[0]).batch(BATCH)


@pipeline("a variable that is counted up", RESOURCE)
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().map(lambda x: x * variable.assign_add(1)).batch(BATCH)


@pipeline("a variable that is counted up, replayed", RESOURCE, resume="replay")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().map(lambda x: x * variable.assign_add(1)).batch(BATCH)


@pipeline("a table of constants")
def _(files: Path) -> Source:
    keys = tf.range(ROWS, dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, 2 * keys), -1)
    return rows().map(table.lookup).batch(BATCH)


@pipeline("a table that changes", RESOURCE)
def _(files: Path) -> Source:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)

    def count(x: tf.Tensor) -> tf.Tensor:
        before = table.lookup(x % 3)
        table.insert(x % 3, before + 1)
        return before

    return rows().map(count).batch(BATCH)


@pipeline(
    "a table that could change, and does not", r"in a table that can change.*test_pipelines.py:\d+.*StaticHashTable"
)
def _(files: Path) -> Source:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
    table.insert(tf.range(3, dtype=tf.int64), tf.range(3, dtype=tf.int64))
    return rows().map(lambda x: table.lookup(x % 3)).batch(BATCH)


@pipeline("a function with a condition and a loop")
def _(files: Path) -> Source:
    def collatz(x: tf.Tensor) -> tf.Tensor:
        steps = tf.constant(0)
        while x > 1:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
            steps += 1
        return steps

    return rows().map(collatz).batch(BATCH)


@pipeline("random numbers in a loop in a function", STREAM)
def _(files: Path) -> Source:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        total = 0.0
        for _ in tf.range(3):
            total += tf.random.uniform([])
        return total

    return rows().map(drawn).batch(BATCH)


@pipeline("an assertion in a function")
def _(files: Path) -> Source:
    def checked(x: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less(x, tf.constant(99, tf.int64))
        return x

    return rows().map(checked).batch(BATCH)


# Python


def tripled(x: np.ndarray) -> np.ndarray:
    return x * 3


@pipeline("numpy_function", PYTHON)
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64)).batch(BATCH)


@pipeline("numpy_function, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64)).batch(BATCH)


@pipeline("numpy_function without state")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64, stateful=False)).batch(BATCH)


@pipeline("py_function", PYTHON)
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.py_function(lambda y: y * 3, [x], tf.int64)).batch(BATCH)


@pipeline("py_function after shuffle, replayed", resume="replay")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return shuffled.map(lambda x: tf.py_function(lambda y: y * 3, [x], tf.int64)).batch(BATCH)


@pipeline("numpy_function with random numbers, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.numpy_function(lambda y: np.random.random(), [x], tf.float64)).batch(BATCH)


@pipeline("numpy_function with random numbers after shuffle, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    return shuffled.map(lambda x: tf.numpy_function(lambda y: np.random.random(), [x], tf.float64)).batch(BATCH)


@pipeline("numpy_function with random numbers without state", OTHERWISE)
def _(files: Path) -> Source:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(lambda y: np.random.random(), [x], tf.float64, stateful=False)

    return rows().map(drawn).batch(BATCH)


@pipeline("generator", GENERATOR)
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator, replayed", resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator of a file, replayed", resume="replay")
def _(files: Path) -> Source:
    if not (files / "numbers").exists():
        (files / "numbers").write_text("".join(f"{i}\n" for i in range(ROWS)))
    return numbered(lambda: map(int, (files / "numbers").read_text().split())).batch(BATCH)


@pipeline("generator with its own random numbers, replayed", resume="replay")
def _(files: Path) -> Source:
    def drawn() -> Iterator[int]:
        rng = np.random.default_rng(1)
        yield from rng.permutation(ROWS)

    return numbered(drawn).shuffle(3, seed=1).batch(BATCH)


@pipeline("generator with NumPy's global random numbers, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: iter(np.random.permutation(ROWS))).batch(BATCH)


@pipeline("generator with Python's global random numbers, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: (random.randrange(99) for _ in range(ROWS))).batch(BATCH)


@pipeline("generator with late random numbers, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: (i if i < 13 else random.randrange(9, 99) for i in range(ROWS))).batch(BATCH)


@pipeline("generator that sets the seed itself, replayed", OWN_STREAM, resume="replay")
def _(files: Path) -> Source:
    def drawn() -> Iterator[int]:
        random.seed(1)  # and so lets whatever else draws from it begin again
        yield from (random.randrange(99) for _ in range(ROWS))

    return numbered(drawn).batch(BATCH)


@pipeline("generator with a shared random generator, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    rng = np.random.default_rng(1)
    return numbered(lambda: iter(rng.permutation(ROWS))).batch(BATCH)


@pipeline("generator that counts its calls, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    calls: list[int] = []

    def counted() -> Iterator[int]:
        calls.append(1)
        yield from range(100 * len(calls), 100 * len(calls) + ROWS)

    return numbered(counted).batch(BATCH)


@pipeline("generator that can be read once, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    once = iter(range(3 * ROWS))
    return numbered(lambda: once).batch(BATCH)


@pipeline("generator, endless, replayed", resume="replay", steps=3)
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).batch(BATCH)


@pipeline("generator of the epoch, replayed", resume="replay")
def _(files: Path) -> Source:
    return lambda epoch: numbered(lambda: iter(np.random.default_rng(epoch).permutation(ROWS))).batch(BATCH)


@pipeline("generator behind a cache, replayed", resume="replay")
def _(files: Path) -> Source:
    return numbered(lambda: iter(range(ROWS))).cache().batch(BATCH)


@pipeline("generators in an interleave, replayed", resume="replay")
def _(files: Path) -> Source:
    def part(i: tf.Tensor) -> Dataset:
        return Dataset.from_generator(lambda n: iter(range(n * 4, n * 4 + 4)), tf.int64, args=[i])

    return rows(4).interleave(part, cycle_length=2).batch(BATCH)


# Several datasets in one


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


@pipeline("interleave in any order", ANY_ORDER)
def _(files: Path) -> Source:
    parts = rows(4).interleave(
        lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2, num_parallel_calls=2, deterministic=False
    )
    return parts.batch(BATCH)


@pipeline("shuffle of files, then interleave")
def _(files: Path) -> Source:
    parts = rows(4).shuffle(4, seed=1).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled", INSIDE)
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=1), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled, replayed", resume="replay")
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=1), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled by the global seed", INSIDE)
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of what is shuffled by the element's own seed", INSIDE)
def _(files: Path) -> Source:
    parts = rows(4).interleave(lambda i: Dataset.range(4 * i, 4 * i + 4).shuffle(4, seed=i), cycle_length=2)
    return parts.batch(BATCH)


@pipeline("interleave of a shuffle from outside", OUTSIDE)
def _(files: Path) -> Source:
    shuffled = rows(4).shuffle(4, seed=1)
    return rows(4).interleave(lambda i: shuffled.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a cache from outside")
def _(files: Path) -> Source:
    cached = rows(4).cache()
    return rows(4).interleave(lambda i: cached.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("flat_map of what is shuffled and repeated", INSIDE)
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


@pipeline("concatenate with a shuffle, replayed", resume="replay")
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16).shuffle(8, seed=1)).batch(BATCH)


@pipeline("concatenate, then shuffle")
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16)).shuffle(ROWS, seed=1).batch(BATCH)


@pipeline("concatenate with a shuffle", TWICE)
def _(files: Path) -> Source:
    return rows(8).concatenate(Dataset.range(8, 16).shuffle(8, seed=1)).batch(BATCH)


@pipeline("sample_from_datasets, seeded", NEVER_OVER)
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5], seed=1).batch(BATCH)


@pipeline("sample_from_datasets, seeded, replayed", resume="replay")
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5], seed=1).batch(BATCH)


@pipeline("sample_from_datasets until one is over")
def _(files: Path) -> Source:
    parts = [rows(), Dataset.range(50, 66)]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1, stop_on_empty_dataset=True).batch(BATCH)


@pipeline("sample_from_datasets of repeated ones")
def _(files: Path) -> Source:
    parts = [rows(8).repeat(), Dataset.range(8, 16).repeat()]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1).take(ROWS).batch(BATCH)


@pipeline("sample_from_datasets that shuffle", TWICE)
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


@pipeline("sample_from_datasets, no seed at all", UNSEEDED)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5]).batch(BATCH)


@pipeline("sample_from_datasets by the global seed", NEVER_OVER)
def _(files: Path) -> Source:
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], [0.5, 0.5]).batch(BATCH)


@pipeline("sample_from_datasets, another sample each time", TWICE)
def _(files: Path) -> Source:
    parts = [rows(8), Dataset.range(8, 16)]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1, rerandomize_each_iteration=True).batch(BATCH)


@pipeline("sample_from_datasets, another sample each time, replayed", resume="replay")
def _(files: Path) -> Source:
    parts = [rows(8), Dataset.range(8, 16)]
    return Dataset.sample_from_datasets(parts, [0.5, 0.5], seed=1, rerandomize_each_iteration=True).batch(BATCH)


@pipeline("sample_from_datasets with weights that are a dataset", NEVER_OVER)
def _(files: Path) -> Source:
    weights = Dataset.from_tensors([0.3, 0.7]).repeat()
    return Dataset.sample_from_datasets([rows(8), Dataset.range(8, 16)], weights, seed=1).batch(BATCH)


@pipeline("choose_from_datasets")
def _(files: Path) -> Source:
    choice = Dataset.range(2).repeat(8)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle, replayed", resume="replay")
def _(files: Path) -> Source:
    choice = Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle", TWICE)
def _(files: Path) -> Source:
    choice = Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1)
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("rejection_resample", STREAM)
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


@pipeline("random dataset, other numbers each time, replayed", resume="replay")
def _(files: Path) -> Source:
    return Dataset.random(seed=1, rerandomize_each_iteration=True).take(ROWS).batch(BATCH)


@pipeline("random dataset, no seed at all", UNSEEDED)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return Dataset.random().take(ROWS).batch(BATCH)


@pipeline("random dataset by the global seed")
def _(files: Path) -> Source:
    return Dataset.random().take(ROWS).batch(BATCH)


# Files


@pipeline("TFRecord files")
def _(files: Path) -> Source:
    return tf.data.TFRecordDataset([records(files, "a", count=6), records(files, "b", count=10)]).batch(BATCH)


@pipeline("TFRecord files, GZIP, parallel, shuffled")
def _(files: Path) -> Source:
    names = [records(files, name, "GZIP", count=8) for name in ("a", "b")]
    return tf.data.TFRecordDataset(names, "GZIP", num_parallel_reads=2).shuffle(8, seed=1).batch(BATCH)


@pipeline("TFRecord files by interleave")
def _(files: Path) -> Source:
    names = [records(files, name, count=8) for name in ("a", "b")]
    return Dataset.from_tensor_slices(names).interleave(tf.data.TFRecordDataset, cycle_length=2).batch(BATCH)


@pipeline("lines of text")
def _(files: Path) -> Source:
    return tf.data.TextLineDataset(texts(files, "a")).batch(BATCH)


@pipeline("files found by pattern")
def _(files: Path) -> Source:
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    found = Dataset.list_files(str(files / "*.txt"), seed=1)
    return found.interleave(tf.data.TextLineDataset, cycle_length=2).batch(BATCH)


@pipeline("files found by pattern, no seed at all", UNSEEDED)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    found = Dataset.list_files(str(files / "*.txt"))
    return found.interleave(tf.data.TextLineDataset, cycle_length=2).batch(BATCH)


@pipeline("files found by pattern, in their order")
def _(files: Path) -> Source:
    for name in "abcd":
        texts(files, f"{name}.txt", 4)
    return Dataset.list_files(str(files / "*.txt"), shuffle=False).flat_map(tf.data.TextLineDataset).batch(BATCH)


@pipeline("records of fixed length")
def _(files: Path) -> Source:
    (files / "fixed").write_bytes(bytes(range(32)))
    return tf.data.FixedLengthRecordDataset(str(files / "fixed"), 2).batch(BATCH)


@pipeline("records of fixed length, replayed", resume="replay")
def _(files: Path) -> Source:
    (files / "fixed").write_bytes(bytes(range(32)))
    return tf.data.FixedLengthRecordDataset(str(files / "fixed"), 2).batch(BATCH)


# Batches


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


@pipeline("groups that are shuffled", INSIDE)
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


@pipeline("unbatched shuffle after numpy_function, replayed", resume="replay")
def _(files: Path) -> Source:
    mapped = rows().batch(BATCH).map(lambda x: tf.numpy_function(tripled, [x], tf.int64))
    return mapped.map(lambda x: tf.ensure_shape(x, [BATCH])).unbatch().shuffle(5, seed=1).batch(BATCH)


@pipeline("numpy_function with random numbers after shuffled batches, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1).batch(BATCH)
    return shuffled.map(lambda x: tf.numpy_function(lambda y: y + random.randrange(99), [x], tf.int64))


@pipeline("not batched")
def _(files: Path) -> Source:
    return rows(4)


# Functions of the epoch


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


@pipeline("function of the epoch with seeds of the global one", r"another dataset each time it is called.*seed=epoch")
def _(files: Path) -> Source:
    return lambda epoch: rows().shuffle(ROWS).batch(BATCH)


@pipeline("function of the epoch without seeds", r"another dataset each time|" + UNSEEDED)
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


@pipeline("function of the epoch that shuffles by Python", r"another dataset each time it is called.*seed=epoch")
def _(files: Path) -> Source:
    return lambda epoch: Dataset.from_tensor_slices(np.random.permutation(ROWS)).batch(BATCH)


# Datasets of which Python does not know what they are made of


def chosen(choice: Dataset) -> Dataset:
    return Dataset.choose_from_datasets([rows(8), Dataset.range(8, 16)], choice).batch(BATCH)


@pipeline("choose_from_datasets by a shuffle, no seed at all", UNSEEDED)
def _(files: Path) -> Source:
    tf.random.set_seed(None)
    return chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16))


@pipeline("choose_from_datasets by a shuffle that is the same each time")
def _(files: Path) -> Source:
    return chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1, reshuffle_each_iteration=False))


@pipeline("choose_from_datasets by random numbers of a stream", HIDDEN_STREAM)
def _(files: Path) -> Source:
    return chosen(rows().map(lambda x: tf.random.uniform([], 0, 2, tf.int64)))


@pipeline("choose_from_datasets by random numbers of a stream, replayed", HIDDEN_STREAM, resume="replay")
def _(files: Path) -> Source:
    return chosen(rows().map(lambda x: tf.random.uniform([], 0, 2, tf.int64)))


@pipeline("choose_from_datasets by a generator", GENERATOR)
def _(files: Path) -> Source:
    return chosen(numbered(lambda: iter([0, 1] * 8)))


@pipeline("choose_from_datasets by a generator, replayed", resume="replay")
def _(files: Path) -> Source:
    return chosen(numbered(lambda: iter([0, 1] * 8)))


@pipeline("choose_from_datasets by a generator that draws, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return chosen(numbered(lambda: (random.randrange(2) for _ in range(16))))


@pipeline("choose_from_datasets by what is mapped in any order", ANY_ORDER)
def _(files: Path) -> Source:
    return chosen(rows().map(lambda x: x % 2, num_parallel_calls=2, deterministic=False))


@pipeline("choose_from_datasets by a shuffle of the epoch")
def _(files: Path) -> Source:
    return lambda epoch: chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=epoch))


@pipeline("choose_from_datasets by a shuffle of the epoch, replayed", resume="replay")
def _(files: Path) -> Source:
    return lambda epoch: chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=epoch))


@pipeline("choose_from_datasets by a shuffle that a function of the epoch keeps", r"function.*seed=epoch")
def _(files: Path) -> Source:
    shuffled = chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16, seed=1))
    return lambda epoch: shuffled.map(lambda x: x + epoch)


@pipeline(
    "choose_from_datasets by a shuffle of the global seed in a function of the epoch", r"another dataset each time"
)
def _(files: Path) -> Source:
    return lambda epoch: chosen(Dataset.range(16).map(lambda x: x % 2).shuffle(16))


@pipeline("interleave of a dataset from outside that draws", HIDDEN_STREAM)
def _(files: Path) -> Source:
    drawn = rows(4).map(lambda x: tf.random.uniform([], seed=1))
    return rows(4).interleave(lambda i: drawn, cycle_length=2).batch(BATCH)


@pipeline("interleave of a dataset from outside that draws, replayed", HIDDEN_STREAM, resume="replay")
def _(files: Path) -> Source:
    drawn = rows(4).map(lambda x: tf.random.uniform([], seed=1))
    return rows(4).interleave(lambda i: drawn, cycle_length=2).batch(BATCH)


@pipeline("interleave of a generator from outside", GENERATOR)
def _(files: Path) -> Source:
    generated = numbered(lambda: iter(range(4)))
    return rows(4).interleave(lambda i: generated.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a generator from outside, replayed", resume="replay")
def _(files: Path) -> Source:
    generated = numbered(lambda: iter(range(4)))
    return rows(4).interleave(lambda i: generated.map(lambda x: 10 * i + x), cycle_length=2).batch(BATCH)


@pipeline("interleave of a dataset from outside that counts", r"use a variable, table.*lambda epoch")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    counted = rows(4).map(lambda x: x * variable.assign_add(1))
    return rows(4).interleave(lambda i: counted, cycle_length=2).batch(BATCH)


@pipeline("a dataset that is passed on as a variant, shuffled", TWICE)
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    variant = tf.data.experimental.to_variant(shuffled)
    return tf.data.experimental.from_variant(variant, shuffled.element_spec).batch(BATCH)


@pipeline("a dataset that is passed on as a variant, shuffled, replayed", resume="replay")
def _(files: Path) -> Source:
    shuffled = rows().shuffle(ROWS, seed=1)
    variant = tf.data.experimental.to_variant(shuffled)
    return tf.data.experimental.from_variant(variant, shuffled.element_spec).batch(BATCH)


# Others


@pipeline("the time of day", OTHERWISE)
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.timestamp()).batch(BATCH)


@pipeline("the time of day, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.timestamp()).batch(BATCH)


@pipeline("the time of day after shuffle, replayed", OTHERWISE, resume="replay")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).map(lambda x: tf.timestamp()).batch(BATCH)


@pipeline("an iterator of another dataset", RESOURCE)
def _(files: Path) -> Source:
    others = iter(rows(99))
    return rows().map(lambda x: x + next(others)).batch(BATCH)


@pipeline("options that save another kind of state")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_symbolic_checkpoint = True
    return rows().shuffle(ROWS, seed=1).map(lambda x: 2 * x).batch(BATCH).with_options(options)


@pipeline("options that leave the state of Python aside", PYTHON)
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64)).batch(BATCH).with_options(options)


@pipeline("options without optimizations")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return rows().shuffle(ROWS, seed=1).map(lambda x: 2 * x).batch(BATCH).with_options(options)


@pipeline("a length that is promised after a filter")
def _(files: Path) -> Source:
    kept = rows(20).shuffle(20, seed=1).filter(lambda x: x % 5 != 0).batch(BATCH)
    return kept.apply(tf.data.experimental.assert_cardinality(4))


@pipeline("files read in a function")
def _(files: Path) -> Source:
    names = [texts(files, f"{name}.txt", 2) for name in "abcdefgh"]
    return Dataset.from_tensor_slices(names).shuffle(8, seed=1).map(tf.io.read_file, num_parallel_calls=2).batch(2)


def columns(files: Path, header: bool) -> str:
    lines = ["x,y"] * header + [f"{i},{i * i}" for i in range(ROWS)]
    (files / "a.csv").write_text("".join(f"{line}\n" for line in lines))
    return str(files / "a.csv")


@pipeline("columns of text")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, False), [tf.int32, tf.int32]).batch(BATCH)


@pipeline("columns of text with a header", r"CsvDataset with header=True.*skip\(1\).*resume='replay'")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, True), [tf.int32, tf.int32], header=True).batch(BATCH)


@pipeline("columns of text with a header, replayed", resume="replay")
def _(files: Path) -> Source:
    return tf.data.experimental.CsvDataset(columns(files, True), [tf.int32, tf.int32], header=True).batch(BATCH)


def csv_batches(files: Path, header: bool) -> Dataset:
    return tf.data.experimental.make_csv_dataset(
        columns(files, header), BATCH, ["x", "y"], header=header, num_epochs=1, shuffle_buffer_size=8, shuffle_seed=1
    )


@pipeline("columns of text by name", TWICE)
def _(files: Path) -> Source:
    return csv_batches(files, False)


@pipeline("columns of text by name, with a header", r"CsvDataset with header=True.*skip\(1\).*resume='replay'")
def _(files: Path) -> Source:
    return csv_batches(files, True)


@pipeline("columns of text by name, with a header, replayed", resume="replay")
def _(files: Path) -> Source:
    return csv_batches(files, True)


@pipeline("lines of text without the first, decoded")
def _(files: Path) -> Source:
    lines = tf.data.TextLineDataset(columns(files, True)).skip(1)
    return lines.map(lambda line: tf.io.decode_csv(line, [0, 0])).batch(BATCH)


@pipeline("Keras' time series, shuffled")
def _(files: Path) -> Source:
    series = np.arange(18.0)
    return keras.utils.timeseries_dataset_from_array(series, series, 3, batch_size=BATCH, shuffle=True, seed=1)


@pipeline("Keras' texts in directories")
def _(files: Path) -> Source:
    for kind in ("yes", "no"):
        (files / kind).mkdir(exist_ok=True)
        for i in range(8):
            texts(files / kind, f"{i}.txt", i)
    return keras.utils.text_dataset_from_directory(str(files), batch_size=BATCH, seed=1, verbose=False)


@pipeline("Keras' layers without state")
def _(files: Path) -> Source:
    look_up = keras.layers.StringLookup(vocabulary=["a-1", "a-3"])
    scale = keras.layers.Rescaling(0.5)
    return tf.data.TextLineDataset(texts(files, "a")).map(lambda x: scale(look_up(x))).batch(BATCH)


@pipeline("a layer that is adapted")
def _(files: Path) -> Source:
    normalise = keras.layers.Normalization()
    normalise.adapt(np.arange(32.0).reshape([16, 2]))
    return rows().map(lambda x: normalise(tf.cast([[x, x]], tf.float32))[0]).batch(BATCH)


class FilesKept(Hook):
    """Keeps the files that a pipeline has made by the end of each step."""

    every: Trigger = Every(steps=1)

    def __init__(self, files: Path, kept: Path) -> None:
        super().__init__()
        self._files, self._kept = files, kept

    def on_settled(self, moment: Moment) -> None:
        shutil.copytree(self._files, self._kept / str(moment.step))


class Killer(Hook):
    """Kills the process when a step is saved."""

    saves = True  # and so it comes after the checkpoint
    every: Trigger = Every(steps=1)

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def on_settled(self, moment: Moment) -> None:
        if moment.step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def start(
    directory: Path,
    name: str,
    every: Trigger = NEVER,
    *,
    hooks: Sequence[Hook] = (),
    exact: bool = True,
    changed: str = "refuse",
) -> tuple[Loop, tf.Variable]:
    """Returns a loop over a pipeline, all of it made as a script makes it when it starts, and all its batches so far.

    The batches are a variable: they are saved and restored, and so compared from the first one on.
    """
    (directory / "files").mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    given = PIPELINES[name]
    data = StreamData(given.make(directory / "files"), resume=given.resume, steps_per_epoch=given.steps)
    batches = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False, name="batches")

    def step(elements: object) -> dict[str, tf.Tensor]:
        tensors = tf.nest.flatten(elements, expand_composites=True)
        batch = tf.strings.join([tf.io.serialize_tensor(tensor) for tensor in tensors])
        batches.assign(tf.concat([batches, [batch]], axis=0))
        return {"x": tf.constant(0)}

    checkpoint = Checkpoint(directory / "checkpoints", every, keep=99, background=False, resume_changed=changed)
    return Loop(step, data, state={"batches": batches}, hooks=[*hooks, checkpoint], exact=exact), batches


def resumed(root: Path, name: str, *positions: int) -> list[str]:
    """Runs a pipeline without interruption, and then from what was saved after some of its steps; after all, if none.

    Returns:
        A line for each position from which the run went on with other batches.
    """
    directory, saved, kept = root / "run", root / "saved", root / "kept"
    every = At(*positions) if positions else Every(steps=1)
    loop, batches = start(directory, name, every, hooks=[FilesKept(directory / "files", kept)])
    loop.run(epochs=EPOCHS)
    (directory / "checkpoints").rename(saved)
    expected, wrong = batches.numpy().tolist(), []
    for step in positions or range(1, len(expected)):
        shutil.rmtree(directory)
        shutil.copytree(kept / str(step), directory / "files")
        (directory / "checkpoints").mkdir()
        for file in saved.glob(f"ckpt-{step}.*"):
            (directory / "checkpoints" / file.name).hardlink_to(file)
        loop, batches = start(directory, name)
        loop.run(epochs=EPOCHS)
        if (found := batches.numpy().tolist()) != expected:
            first = next(i for i, pair in enumerate(itertools.zip_longest(found, expected)) if pair[0] != pair[1])
            wrong.append(f"resumed after {step} of {len(expected)}: step {first + 1} is another one")
    return wrong


@pytest.fixture(autouse=True)
def _as_in_a_script() -> Iterator[None]:
    """Op determinism, which the other tests have, would hide here what scripts meet that do not have it."""
    disable_op_determinism()
    yield
    tf.config.experimental.enable_op_determinism()


EXACT = [name for name, given in PIPELINES.items() if given.refused is None]
REFUSED = [name for name, given in PIPELINES.items() if given.refused is not None]
QUICK = (  # the others are tried by `make test-long`
    "shuffle, seeded",
    "shuffle, no seed but the global one",
    "shuffle before batches of unknown number",
    "shuffle with a smaller last batch",
    "shuffle before repeat, replayed",
    "shuffle before endless repeat, replayed",
    "repeat before shuffle",
    "two shuffles, one the same each time",
    "the same shuffle used twice, replayed",
    "cache in memory",
    "cache before shuffle",
    "cache in a file that is filled before, then shuffle",
    "map, parallel",
    "numpy_function without state",
    "py_function after shuffle, replayed",
    "generator, replayed",
    "generator of the epoch, replayed",
    "generators in an interleave, replayed",
    "interleave, parallel, order not mentioned",
    "interleave of what is shuffled, replayed",
    "zip with a shuffle of unknown number",
    "sample_from_datasets, seeded, replayed",
    "sample_from_datasets of repeated ones",
    "choose_from_datasets",
    "choose_from_datasets by a shuffle, replayed",
    "choose_from_datasets by a generator, replayed",
    "random dataset, other numbers each time",
    "TFRecord files, GZIP, parallel, shuffled",
    "files found by pattern",
    "ragged batches of unknown number",
    "buckets by length",
    "windows",
    "groups",
    "errors that are ignored, replayed",
    "function of the epoch",
    "function of the epoch, cut",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_pipeline_that_is_taken_goes_on_with_the_same_batches(name: str, tmp_path: Path) -> None:
    assert resumed(tmp_path, name, 2, 6) == []  # in the middle of the first epoch, and of the second


@pytest.mark.long
@pytest.mark.parametrize("name", EXACT)
def test_a_pipeline_that_is_taken_goes_on_with_the_same_batches_from_every_step(name: str, tmp_path: Path) -> None:
    assert resumed(tmp_path, name) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_pipeline_that_is_not_taken_is_refused_before_the_first_step(name: str, tmp_path: Path) -> None:
    loop, batches = start(tmp_path, name)
    with pytest.raises(ValueError, match=re.compile(str(PIPELINES[name].refused), re.DOTALL)):
        loop.run(epochs=EPOCHS)
    assert batches.shape == [None]
    assert len(batches.numpy()) == 0


def life(directory: Path, name: str, step: int = 0) -> int:
    """Returns the exit status of a process that trains; negative for the signal that ended it."""
    return subprocess.run(
        [sys.executable, __file__, directory, name, str(step)], env=environment(), check=False
    ).returncode


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "shuffle, no seed but the global one",
        "cache in a file that is filled before, then shuffle",
        "generator behind a cache, replayed",
        "choose_from_datasets by a shuffle, replayed",
        "TFRecord files, GZIP, parallel, shuffled",
    ],
)
def test_processes_that_are_killed_see_the_same_batches_as_one_that_is_not(name: str, tmp_path: Path) -> None:
    assert life(tmp_path / "whole", name) == 0
    killed = [life(tmp_path / "killed", name, step) for step in (2, 4, 7)]
    assert killed == [-signal.SIGKILL] * 3
    assert life(tmp_path / "killed", name) == 0
    assert (tmp_path / "killed/batches.json").read_text() == (tmp_path / "whole/batches.json").read_text()


def test_with_exact_false_a_pipeline_that_would_be_refused_is_logged_and_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop, batches = start(tmp_path, "numpy_function with random numbers, replayed", exact=False)
    with caplog.at_level(logging.WARNING, "exactloop"):
        loop.run(epochs=1)
    assert len(batches.numpy()) == 4
    (message,) = [record.getMessage() for record in caplog.records if "could not be resumed" in record.getMessage()]
    assert re.search(OTHERWISE, message, re.DOTALL)


def test_what_has_to_be_read_for_the_audit_is_read_once_however_often_a_loop_is_run() -> None:
    calls = []

    def numbers() -> Iterator[int]:
        calls.append(1)
        yield from range(4)

    dataset = Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    loop = Loop(lambda batch: {"x": batch}, StreamData(dataset, resume="replay"), state={})
    for epoch in (1, 2, 3):
        loop.run(epochs=epoch)
    assert len(calls) == 2 + 3  # twice to compare, and once for each epoch


CHANGED = r"data: read again, the first 2 batches of the pass are not those that the run saw"


def changed(directory: Path, text: str) -> None:
    """Trains for an epoch and two steps, and then changes the file that a generator reads."""
    loop, _ = start(directory, "generator of a file, replayed", NEVER)
    loop.run(steps=6)
    (directory / "files/numbers").write_text(text)


def test_data_that_have_changed_between_two_lives_are_refused_before_anything_is_assigned(tmp_path: Path) -> None:
    changed(tmp_path, "".join(f"{i}\n" for i in [*range(7), 99, *range(8, ROWS)]))
    loop, batches = start(tmp_path, "generator of a file, replayed")
    with pytest.raises(ValueError, match=CHANGED):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (0, 0)


def test_data_that_end_before_the_place_of_the_run_are_refused_before_anything_is_assigned(tmp_path: Path) -> None:
    changed(tmp_path, "0\n1\n2\n3\n")
    loop, batches = start(tmp_path, "generator of a file, replayed")
    with pytest.raises(ValueError, match=r"epoch 2 ends before the 2 batches that the run saw of it"):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (0, 0)


def test_data_that_have_changed_are_a_warning_if_one_wants_to_go_on(tmp_path: Path) -> None:
    changed(tmp_path, "".join(f"{i + 1}\n" for i in range(ROWS)))
    loop, batches = start(tmp_path, "generator of a file, replayed", changed="warn")
    with pytest.warns(UserWarning, match=f"The run goes on with other numbers: {CHANGED}"):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (12, 12)


def test_without_the_digest_changed_data_would_be_noticed_at_the_end_of_the_pass_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = start(tmp_path / "whole", "generator of a file, replayed")
    whole.run(epochs=EPOCHS)
    changed(tmp_path / "cut", "".join(f"{i + 1}\n" for i in range(ROWS)))
    seek = StreamData.seek
    monkeypatch.setattr(Passes, "forget", lambda passes: None)
    monkeypatch.setattr(StreamData, "seek", lambda data, *at: seek(data, *at)[:0])
    loop, batches = start(tmp_path / "cut", "generator of a file, replayed")
    with pytest.raises(ValueError, match="yielded something else in a later pass"):
        loop.run(epochs=EPOCHS)
    same = [a == b for a, b in zip(batches.numpy(), expected.numpy(), strict=False)]
    assert same == [True] * 6 + [False] * 2


def main(directory: Path, name: str, step: int) -> None:
    loop, batches = start(directory, name, Every(steps=1))
    if step:
        loop.hooks.add(Killer(step))
    loop.run(epochs=EPOCHS)
    (directory / "batches.json").write_text(json.dumps([batch.hex() for batch in batches.numpy()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
