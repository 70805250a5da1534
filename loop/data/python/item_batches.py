"""Items of a source, read by their numbers, and put together to batches."""

import hashlib
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from loop.data.objects.keyed import key_streams
from loop.data.python.ahead import Making
from loop.data.python.indexable import Source
from loop.data.python.items import FilledRows, as_arrays, as_batch, leaves_of
from loop.digest import digest
from loop.state.randomness import host, untouched
from loop.tensors import Nest

TRIAL = 0  # the seed of what is drawn by items that are tried
TRIED = 8  # items that are read again before the first step
MANY, SECONDS = 64, 1.0  # of items that are batches, so many are read for their shapes, at most for so long


class Items:
    """The items of a source.

    Attributes:
        draw: Whether one of those that were sampled was seen to draw from the streams of Python or NumPy.
        first: Digests of those that are tried, as they were then.

    Args:
        source: The source.
        batched: Whether each item is a batch already.
    """

    def __init__(self, source: Source, *, batched: bool) -> None:
        self._source, self._batched, self.draw = source, batched, False
        self._tried, self.first = list[int](), list[str]()

    def sample(self) -> dict[int, Nest]:
        """Reads some, far from one another, for what they are like: those that are tried, and more for a while.

        Only as batches they may vary in length, so that many have to be seen.
        """
        with untouched():
            key_streams(TRIAL, 0, 0)
            self._read(0)  # and whatever is made when the first item is read, such as an order
            found = self._sampled(len(self._source))
        self._tried = list(found)[:TRIED]
        self.first = [_digest(found[number]) for number in self._tried]
        return found

    def _sampled(self, count: int) -> dict[int, Nest]:
        # From one end to the other, as sources may be sorted by length.
        far = np.linspace(0, count - 1, min(count, MANY if self._batched else TRIED)).astype(int).tolist()
        begun, found = time.monotonic(), dict[int, Nest]()
        # The first and the last one, then others far apart: time may be over soon.
        for number in sorted(far, key=lambda n: (n not in (far[0], far[-1]), n % 7, n)):
            key_streams(TRIAL, 0, number)
            before = host()
            found[number] = self._read(number)
            self.draw = self.draw or host() != before
            if time.monotonic() - begun > SECONDS and len(found) > 1:
                break
        return found

    def _read(self, number: int) -> Nest:
        arrays = as_arrays(self._source[number], f"Item {number}")
        return tf.nest.map_structure(np.array, arrays)  # copies: a source may use one array for the next item, too

    def digests(self) -> list[str]:
        """Returns digests of the items that are tried, as they are now."""
        found = []
        with untouched():
            for number in self._tried:
                key_streams(TRIAL, 0, number)
                found.append(_digest(self._read(number)))
        return found

    def batch(self, numbers: Sequence[int], spec: Nest, key: tuple[int, int] | None) -> Making[Nest]:
        """Makes a batch, with a yield after each item.

        Args:
            numbers: Those of its items; if each is a batch already, there is one.
            spec: What it is to be.
            key: Of what they draw from the streams of Python and NumPy; None, if they draw nothing.
        """
        rows = None if numbers else FilledRows.none(spec)
        read: Nest = None
        batch: Nest = None
        for row, item in enumerate(numbers):
            if key is not None:
                key_streams(*key, item)
            read, name = self._source[item], f"Item {item}"
            if self._batched:
                batch = as_batch(read, leaves_of(read, name), spec, name)
            else:
                rows = rows or FilledRows(read, name, len(numbers))
                rows.put(row, read, name)
            yield
        where = f"The batch that begins with item {numbers[0]}" if numbers else "A batch of no items"
        return batch if rows is None else as_batch(read if numbers else spec, rows.leaves, spec, where)


def _digest(item: Nest) -> str:
    return short([digest(leaf) for leaf in tf.nest.flatten(item)])


def short(digests: list[str]) -> str:
    """Returns one digest of several."""
    return hashlib.sha256(repr(digests).encode()).hexdigest()[:16]
