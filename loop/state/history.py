"""The values of the epochs, over all the runs that a training was cut into."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from loop.tensors import put, read, write
from loop.tf_internals import given_up, read_variables


class KnownValues(NamedTuple):
    """What is in the variables of a history."""

    names: list[str]
    cells: np.ndarray
    end: int


class Mirror:
    """What is known of that, if anything is; of its own, because a `tf.Module` looks into whatever is set on it."""

    known: KnownValues | None = None


class History(tf.Module):
    """What `fit` returns: a list of the epochs' values for each name; shorter, if it was not measured in each epoch.

    Attributes:
        names: Of what there are values, a list in JSON: uint8 `[bytes]`. No texts, because many compare variables by
            their bytes, and those of a text are an address.
        cells: The values in the order in which they came, each with the index of its name: float64 `[cells, 2]`.
        end: The step at the end of the latest epoch: int64 `[]`.
    """

    def __init__(self) -> None:
        super().__init__(name="history")
        # Their shapes are open, because they grow.
        self.names = tf.Variable(tf.zeros([0], tf.uint8), shape=[None], trainable=False, name="names")
        self.cells = tf.Variable(tf.zeros([0, 2], tf.float64), shape=[None, 2], trainable=False, name="cells")
        self.end = tf.Variable(0, dtype=tf.int64, trainable=False, name="end")
        # In the course of a run, in which nobody else writes to them: to read three takes as long as a small step.
        self._mirror = Mirror()

    def load(self) -> None:
        """Takes over what has been restored."""
        self._mirror.known = None

    def since(self) -> int:
        """Returns the step at the end of the latest epoch."""
        return self._read().end

    def add(self, logs: Mapping[str, float], step: int) -> None:
        """Takes the values of an epoch. Takes a copy of what there is."""
        known, self._mirror.known = self._read(), None
        names = [*known.names, *(name for name in logs if name not in known.names)]
        if len(names) > len(known.names):
            put(self.names, tf.constant(np.frombuffer(json.dumps(names).encode(), np.uint8)))
        cells = np.empty([len(known.cells) + len(logs), 2])
        cells[: len(known.cells)] = known.cells
        for cell, (name, value) in enumerate(logs.items(), len(known.cells)):
            cells[cell] = names.index(name), value
        put(self.cells, given_up(cells, tf.float64))
        write(self.end, step)
        self._mirror.known = KnownValues(
            names, cells, step
        )  # last: an interrupt leaves what is in the variables to be read

    def _read(self) -> KnownValues:
        if self._mirror.known is None:
            names, cells, end = read_variables([self.names, self.cells, self.end])
            self._mirror.known = KnownValues(_listed(names), cells.numpy(), int(end))
        return self._mirror.known

    def result(self) -> dict[str, list[float]]:
        """Returns the lists by name."""
        names = _listed(read(self.names))
        indices, values = self.cells.numpy().T  # sync: reads all of it, where a run ends
        return {name: values[indices == i].tolist() for i, name in enumerate(names)}


def _listed(names: tf.Tensor) -> list[str]:
    return json.loads(names.numpy().tobytes() or "[]")  # before the first epoch there are no bytes
