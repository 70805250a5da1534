"""What a source with a state yields first, read to see it, and undone."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from loop.data.objects.kept_batches import kept
from loop.data.objects.progress import generators_of
from loop.data.objects.reached import variables_of, variables_reached
from loop.data.python.items import as_arrays
from loop.data.python.iterated import Iterated, Yields
from loop.state.plain import Encoded
from loop.state.randomness import random_streams, untouched
from loop.tensors import Nest, put, read

TRIED = 3  # batches that are read twice before the first step


class Tried:
    """Reads from a source, and takes it back to where it was.

    Args:
        given: The source, as it was given.
        iterated: The same.
    """

    def __init__(self, given: Yields, iterated: Iterated) -> None:
        self._given, self._iterated = given, iterated

    def first(self, count: int, epoch: int) -> tuple[list[Nest], Encoded]:
        """Returns what the source yields first, up to so many batches, and the state behind that, and undoes it.

        Args:
            count: How many.
            epoch: Of the pass that is open, to which it is taken back.

        Raises:
            ValueError: If it yields nothing.
        """
        with self._undone(epoch):
            self._iterated.renew(0)  # the first pass, whichever is open
            batches = list[Nest]()
            for _ in range(count):
                batches += map(_owned, self._iterated.next())
            if not batches:
                raise ValueError(f"StatefulData needs data. Received: {self._iterated.name}, which yields nothing.")
            return batches, self._iterated.get()

    def comes_again(self, epoch: int) -> bool:
        """Returns whether the source yields the same again when it is taken back, and goes on from the same state."""
        # Such as are not in the state would make later batches others.
        generators = generators_of(self._given)
        tried = [_bits(*self.first(TRIED, epoch)) for _ in range(2)]
        return tried[0] == tried[1] and generators_of(self._given) == generators

    def reached(self) -> list[tf.Variable]:
        """Returns the variables that the source may read."""
        given = self._given
        return variables_reached([given, *(getattr(given, name, None) for name in ("__next__", "__iter__"))])

    @contextlib.contextmanager
    def _undone(self, epoch: int) -> Iterator[None]:
        """Takes the source, random streams and the variables that it reaches back to where they were."""
        streams = [variable for stream in random_streams().values() for variable in variables_of(stream)]
        # An environment that plays may train something on its own, and draw from TensorFlow's streams.
        variables = [*self.reached(), *streams]
        held, was_open = [read(variable) for variable in variables], self._iterated.open
        state = self._iterated.get()
        with untouched():
            try:
                yield
            finally:
                self._iterated.put(state.decoded(), epoch, is_open=was_open)
                for variable, value in zip(variables, held, strict=True):
                    put(variable, value)


def _owned(batch: Nest) -> Nest:
    """Returns a batch as arrays of its own: a source may use them again."""
    return tf.nest.map_structure(np.array, as_arrays(batch, "The first batch"))


def _bits(batches: list[Nest], after: Encoded) -> tuple[object, ...]:
    return *(kept(array) for array in tf.nest.flatten(batches)), after
