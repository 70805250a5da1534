"""What a compiled loop notes of its steps."""

from collections.abc import Sequence

import tensorflow as tf

# Steps in one call, which bounds the memory of what is recorded; the call costs nothing against them. A power of two,
# because what is left of an index modulo that are its lowest bits.
LONGEST = 2**13


class Record:
    """The values of the latest steps, in a ring in memory: the loop need not hand them on from step to step.

    Its methods are traced into the compiled loop.

    Attributes:
        rows: float32 `[LONGEST, values]`, or `[LONGEST]` of one value, which saves an operation in each step.

    Args:
        values: How many there are of a step.
    """

    def __init__(self, values: int) -> None:
        self._values = values
        shape = [LONGEST] if values == 1 else [LONGEST, values]
        self.rows = tf.Variable(tf.zeros(shape), trainable=False, name="record")

    def write(self, index: tf.Tensor, values: Sequence[tf.Tensor]) -> tf.Operation:
        """Takes in the values of step `index` of the pass, float32 `[]` each."""
        row = values[0] if self._values == 1 else tf.stack(values)
        return tf.raw_ops.ResourceScatterUpdate(resource=self.rows.handle, indices=_place(index), updates=row)

    def read(self, first: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
        """Returns the values of the steps from `first` to before `end`: float32 `[steps, values]`."""
        return tf.reshape(tf.gather(self.rows, _place(tf.range(first, end))), [-1, self._values])


def _place(index: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(index, LONGEST - 1)
