"""What a case of a pipeline is, and what cases share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

ROWS, BATCH, EPOCHS = 16, 4, 3
Dataset = tf.data.Dataset
AUTOTUNE = tf.data.AUTOTUNE
Source = Dataset | Callable[[int], Dataset] | keras.utils.PyDataset


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
    resume: str | None = None
    steps: int | None = None


PIPELINES: dict[str, Pipeline] = {}


def pipeline(
    name: str, refused: str | None = None, *, resume: str | None = None, steps: int | None = None
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
PYTHON = r"call Python, whose place cannot be saved.*pipelines/\w+\.py:\d+.*resume='replay'"
GENERATOR = r"call Python, whose place cannot be saved.*resume='replay'"
RESOURCE = r"use a variable, table, generator or iterator.*pipelines/\w+\.py:\d+.*lambda epoch"
NOT_SAVED = r"TensorFlow does not save an iterator.*pipelines/\w+\.py:\d+.*resume='replay'"
OTHERWISE = r"yield something else when they are read a second time.*Let the generator or function begin anew"
CLOCK = r"read the clock.*pipelines/\w+\.py:\d+.*Measure time in a hook"
INSIDE = r"within a function, which cannot be saved.*pipelines/\w+\.py:\d+.*resume='replay'"
UNFILLED = r"would fill the cache '.*/files/cache', which a killed run leaves half filled.*Fill it before"
NEVER_OVER = r"sample from datasets until all are over.*resume='replay'"
HEADER = r"CsvDataset with header=True.*skip\(1\).*resume='replay'"


def tripled(x: np.ndarray) -> np.ndarray:
    return x * 3
