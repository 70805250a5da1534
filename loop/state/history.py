"""The values of the epochs, over all the runs that a training was cut into."""

import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from loop.tensors import put, read, write


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

    def since(self) -> int:
        """Returns the step at the end of the latest epoch."""
        return int(read(self.end))

    def add(self, logs: Mapping[str, float], step: int) -> None:
        """Takes the values of an epoch. Takes a copy of what there is."""
        known = self._known()
        names = [*known, *(name for name in logs if name not in known)]
        if len(names) > len(known):
            put(self.names, tf.constant(np.frombuffer(json.dumps(names).encode(), np.uint8)))
        # [0, 2] of no values at all.
        cells = np.array([(names.index(name), value) for name, value in logs.items()]).reshape(-1, 2)
        put(self.cells, tf.constant(np.concatenate([read(self.cells).numpy(), cells])))
        write(self.end, step)

    def _known(self) -> list[str]:
        return json.loads(read(self.names).numpy().tobytes() or "[]")  # before the first epoch there are no bytes

    def result(self) -> dict[str, list[float]]:
        """Returns the lists by name."""
        names = self._known()
        indices, values = self.cells.numpy().T  # sync: reads all of it, where a run ends
        return {name: values[indices == i].tolist() for i, name in enumerate(names)}
