"""Reading data again that were read before."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from loop.data.pipelines.errors import InLinesOf
from loop.digest import BatchDigest, short
from loop.state.randomness import host, untouched
from loop.tensors import Nest, put, read

TRIED = 8  # elements that are read twice in any case to see whether they come again
LONGEST, SECONDS = 10_000, 1.0  # at most so many are, in that time: all, if there are not more
END = 0
ANOTHER = "yield something else when they are read a second time"


class Reading(NamedTuple):
    """What comes of reading a dataset twice.

    Attributes:
        wrong: What is wrong with it; empty if nothing is.
        beginning: A digest of its first `TRIED` elements.
    """

    wrong: str
    beginning: int


def read_again(iterator: tf.data.Iterator, count: int, seen: BatchDigest) -> bool:
    """Reads that many batches and digests them. Returns whether there were as many."""

    @tf.function
    def read(iterator: tf.data.Iterator, count: tf.Tensor) -> None:
        for _ in tf.range(count):
            seen.update(next(iterator))

    try:
        # One call for all: it costs Python nothing for each of what may be thousands of batches.
        read(iterator, tf.constant(count, tf.int64))
    except tf.errors.OutOfRangeError:
        return False
    return True


class Reader:
    """Reads passes, and digests them by a function that is traced once for each kind of batch: it takes 0.2 s.

    Args:
        apart: What is entered while a pass is read, so that it leaves nothing behind.
    """

    def __init__(self, apart: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
        self._seen, self._apart = BatchDigest(), apart
        self._updates = dict[str, Callable[[Nest], None]]()  # by the text of a spec

    def read_twice(self, make: Callable[[], tf.data.Dataset]) -> Reading:
        """Reads a pass twice: to its end, if that comes soon, because a generator may change when it is there.

        Args:
            make: Makes the pass, each time one that nobody has begun to read.
        """
        first, second = make(), make()  # before either is read: nothing of one is in the other
        with untouched(), InLinesOf(first):
            before = host()  # Python's and NumPy's streams
            read = self._digests(first, LONGEST, SECONDS)
            # The second reading is as long as the first one, however long that takes, or the digests could not meet.
            wrong = "" if read == self._digests(second, len(read)) else ANOTHER
            if not wrong and host() != before:
                wrong = (
                    "draw from the process's own random numbers, or seed them: what is saved of these depends on how "
                    "far they have read ahead"
                )
            return Reading(wrong, _combined(read))

    def beginning(self, dataset: tf.data.Dataset) -> int:
        """Returns the digest of the first `TRIED` elements of a dataset."""
        with untouched():
            return _combined(self._digests(dataset, TRIED))

    def differs_with_others(self, make: Callable[[], tf.data.Dataset], variables: Sequence[tf.Variable]) -> bool:
        """Returns whether the first elements depend on the values of variables, which have the same ones afterwards."""
        kept = [read(variable) for variable in variables]
        before = self.beginning(make())
        try:
            for variable in variables:
                put(variable, _other(read(variable)))
            return self.beginning(make()) != before
        finally:
            for variable, value in zip(variables, kept, strict=True):
                put(variable, value)

    def _digests(self, dataset: tf.data.Dataset, count: int, seconds: float | None = None) -> list[int]:
        """Returns digests after each of up to so many elements, as far as they come in that time; of `TRIED` in any.

        After the last one there is, `END`: whoever reads on to see whether there is more lets a generator see its end.
        """
        spec = dataset.element_spec
        if repr(spec) not in self._updates:
            self._updates[repr(spec)] = tf.function(self._seen.update, input_signature=[spec])
        update, digests, begun = self._updates[repr(spec)], list[int](), time.monotonic()
        self._seen.reset()
        with self._apart():
            for element in dataset:
                update(element)
                digests.append(int(self._seen.digest))  # sync: reads one number
                late = seconds is not None and len(digests) >= TRIED and time.monotonic() - begun > seconds
                if late or len(digests) == count:
                    return digests
        return [*digests, END]


def _other(value: tf.Tensor) -> tf.Tensor:
    if value.dtype == tf.bool:
        return ~value
    return tf.strings.join([value, "'"]) if value.dtype == tf.string else value + tf.ones_like(value)


def _combined(digests: list[int]) -> int:
    return int(short(digests[:TRIED]), 16)
