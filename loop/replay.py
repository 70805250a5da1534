"""Reading data again that were read before."""

from collections.abc import Iterator

import tensorflow as tf

from loop.digest import Seen
from loop.pipeline import has_callbacks, reshuffling
from loop.randomness import HostRandomness

TRIED = 8  # elements that are read twice to see whether they come again


def read_again(iterator: tf.data.Iterator, count: int, seen: Seen) -> bool:
    """Reads that many batches and digests them. Returns whether there were as many."""

    @tf.function
    def read(iterator: tf.data.Iterator, count: tf.Tensor) -> None:
        for _ in tf.range(count):
            seen.update(next(iterator))

    try:
        read(iterator, tf.constant(count, tf.int64))
    except tf.errors.OutOfRangeError:
        return False
    return True


def comes_again(dataset: tf.data.Dataset) -> bool:
    """Returns whether what comes out of Python is the same when the beginning of a dataset is read twice."""
    host = HostRandomness()
    before = host.serialize()  # a generator may draw from the process's own streams
    try:
        return all(_beginning(part) == _beginning(part) for part in _still(dataset) if has_callbacks(part))
    finally:
        host.deserialize(before)


def _still(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields what a dataset is made of, as far up as nothing is shuffled anew in each pass."""
    if not reshuffling(dataset, once=False):
        yield dataset
    else:
        for source in dataset._inputs():
            yield from _still(source)


def _beginning(dataset: tf.data.Dataset) -> list[int]:
    seen, digests = Seen(), []
    for element in dataset.take(TRIED):
        seen.update(element)
        digests.append(int(seen.digest))
    return digests
