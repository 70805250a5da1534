"""The orders of rows that a dataset is made of, such as names of files, which a program may have shuffled before.

Whoever writes `random.shuffle(files)` in a process without a seed has another order in the next one. So there the order
is in the checkpoint, and the next start puts the same rows into it.
"""

import hashlib
import itertools
import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from loop.exact.pipeline import stages
from loop.tf_internals import kind_of, tensors_of

NAME = "order"  # begins the names of notes, of which each is a number that has three places in it
MOST, LARGEST = 2**13, 2**28  # rows of all lists, and bytes of one
BITS, TOGETHER = 16, 3
SAMPLE, SHUFFLED = 1_000, (0.3, 0.7)  # rows; the part of them that come before the one ahead, where they are shuffled
log = logging.getLogger("exactloop")
NOT_NOTED = (
    "The data are made of more than %s rows that have been shuffled, it seems, in a process without a seed: a process "
    "that shuffles them otherwise cannot resume this run. Call keras.utils.set_random_seed(1) before they are shuffled."
)


def noted(
    dataset: tf.data.Dataset, replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({})
) -> dict[str, int]:
    """Returns the orders as numbers; nothing, if there are many rows.

    Args:
        dataset: The dataset.
        replaced: By stage, another one that stands in its place.
    """
    lists = [replaced.get(stage, stage) for stage in _lists(dataset)]
    if sum(map(_length, lists)) > MOST:
        if any(_looks_shuffled(tensor) for each in lists for tensor in tensors_of(each)):
            log.warning(NOT_NOTED, f"{MOST:,}")
        return {}
    places = [place for each in lists for place in np.argsort(_sorted(each)).tolist()]
    parts = [places[i : i + TOGETHER] for i in range(0, len(places), TOGETHER)]
    return {f"{NAME} {i}": sum(place << BITS * j for j, place in enumerate(part)) for i, part in enumerate(parts)}


def as_noted(dataset: tf.data.Dataset, notes: Mapping[str, int]) -> Mapping[tf.data.Dataset, tf.data.Dataset]:
    """Returns by stage what stands in its place, so that rows have the order of which there are notes."""
    parts = [notes[name] for i in range(len(notes)) if (name := f"{NAME} {i}") in notes]
    places = np.array([part >> BITS * j & (2**BITS - 1) for part in parts for j in range(TOGETHER)], np.int64)
    replaced, at = dict[tf.data.Dataset, tf.data.Dataset](), 0
    for stage in _lists(dataset):
        order, at = places[at : at + _length(stage)], at + _length(stage)
        if sorted(order.tolist()) != list(range(_length(stage))):
            return {}
        rows = [tf.gather(tensor, _sorted(stage)[order]) for tensor in tensors_of(stage)]
        replaced[stage] = tf.data.Dataset.from_tensor_slices(tf.nest.pack_sequence_as(stage.element_spec, rows))
    return replaced


def _lists(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    for stage in stages(dataset):
        plain = all(type(spec) is tf.TensorSpec for spec in tf.nest.flatten(stage.element_spec))
        if kind_of(stage) == "TensorSlice" and plain and sum(map(_bytes, tensors_of(stage))) <= LARGEST:
            yield stage


def _length(stage: tf.data.Dataset) -> int:
    return int(tensors_of(stage)[0].shape[0])


def _bytes(tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements() * max(1, tensor.dtype.size)


def _sorted(stage: tf.data.Dataset) -> np.ndarray:
    """Returns where the rows are, in an order that depends on what they are alone."""
    columns = [tensor.numpy() for tensor in tensors_of(stage)]
    digests = [
        hashlib.blake2b(b"".join(_row(column[i]) for column in columns), digest_size=16).digest()
        for i in range(_length(stage))
    ]
    return np.argsort(np.array(digests, "S16"), kind="stable")


def _looks_shuffled(tensor: tf.Tensor) -> bool:
    """Returns whether rows are names of files or numbers of rows, all different, up and down."""
    if tensor.shape.rank != 1 or not (tensor.dtype == tf.string or tensor.dtype.is_integer):
        return False
    if tensor.dtype == tf.string:
        rows = [bytes(row) for row in tensor[:SAMPLE].numpy()]
        if not all(b"/" in row or b"\\" in row for row in rows) and len({_ending(row) for row in rows}) > 1:
            return False
    else:
        rows, every = tensor[:SAMPLE].numpy().tolist(), np.sort(tensor.numpy())
        if not np.array_equal(every, np.arange(every[0], every[0] + len(every))):
            return False
    down = sum(after < before for before, after in itertools.pairwise(rows)) / len(rows)
    return len({*rows}) == len(rows) and SHUFFLED[0] < down < SHUFFLED[1]


def _ending(name: bytes) -> bytes:
    _, dot, ending = name.rpartition(b".")
    return ending if dot and ending.isalnum() else name


def _row(row: object) -> bytes:
    text = row.tolist() if isinstance(row, np.ndarray) and row.dtype == object else row
    said = np.asarray(row).tobytes() if text is row else repr(text).encode()
    return len(said).to_bytes(8) + said  # or columns would run into one another
