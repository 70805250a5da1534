"""What a compiled loop notes of its steps."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from loop.tensors import widened

# Steps in one call, which bounds the memory of what is recorded; the call costs nothing against them.
LONGEST = 2**13
HALTED = 2**30  # what the index of a step is put ahead by to end a call, which has fewer steps


class ValueRing:
    """The values of the steps of a call, in a table in memory: the loop need not hand them on from step to step.

    A row is of words of 32 bits, so that one operation writes it whatever is in it: a word for each value that float32
    holds, one for the number of examples where that varies, which is an int32, and two for each other value, which is a
    float64. The table is of float32, and what is in a word is only copied.

    Attributes:
        variables: The table: float32 `[LONGEST, words]`, or `[LONGEST]` of one word, which saves an operation in each
            step; of none there is no table.

    Args:
        narrow: The names of the values that float32 holds.
        wide: Those of the others.
        sized: Whether the number of examples is noted as well.
    """

    def __init__(self, narrow: tuple[str, ...], wide: tuple[str, ...], *, sized: bool) -> None:
        self._narrow, self._wide, self._sized = narrow, wide, sized
        self._names = sorted([*narrow, *wide])
        self._words = len(narrow) + sized + 2 * len(wide)
        shape = [LONGEST] if self._words == 1 else [LONGEST, self._words]
        table = [tf.Variable(tf.zeros(shape), trainable=False, name="record")] if self._words else []
        self.variables: list[tf.Variable] = table

    # What follows is traced into the compiled loop.

    def row(self, values: Mapping[str, tf.Tensor], size: tf.Tensor | None) -> list[tf.Tensor]:
        """Returns what there is to write of a step: its values, and the number of examples, int32 `[]`, if noted."""
        narrow = [tf.cast(widened(values[name]), tf.float32) for name in self._narrow]
        narrow += [] if size is None else [tf.bitcast(size, tf.float32)]
        return [*narrow, *(tf.cast(values[name], tf.float64) for name in self._wide)]

    def write(self, index: tf.Tensor, row: list[tf.Tensor]) -> None:
        """Takes in the row of step `index` of the call."""
        count = len(row) - len(self._wide)
        parts = [row[0] if self._words == 1 else tf.stack(row[:count])] if count else []
        parts += [tf.reshape(tf.bitcast(tf.stack(row[count:]), tf.float32), [-1])] if self._wide else []
        for table in self.variables:
            updates = parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)
            tf.raw_ops.ResourceScatterUpdate(resource=table.handle, indices=index, updates=updates)

    def read(self, count: tf.Tensor) -> tf.Tensor:
        """Returns the rows of the first `count` steps of the call: float32 `[steps, words]`."""
        if not self.variables:
            return tf.zeros([count, 0])
        return tf.reshape(tf.gather(self.variables[0], tf.range(count)), [-1, self._words])

    def values(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what is in rows: float32 `[steps, narrow]` and float64 `[steps, wide]`."""
        words = rows[:, len(self._narrow) + self._sized :]
        wide = tf.bitcast(tf.reshape(words, [-1, len(self._wide), 2]), tf.float64) if self._wide else words
        return rows[:, : len(self._narrow)], tf.cast(wide, tf.float64)

    def sizes(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the numbers of examples in rows, if noted: int32 `[steps, 1]`."""
        return tf.bitcast(rows[:, len(self._narrow) : len(self._narrow) + 1], tf.int32)

    # What follows is not.

    def columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns what is in rows by name, sorted: `[steps]`, float32 or, of what that does not hold, float64."""
        found = dict(zip(self._narrow, rows.T, strict=False))
        if not self._wide:
            return found
        words = np.ascontiguousarray(rows[:, len(self._narrow) + self._sized :])
        found |= zip(self._wide, words.view(np.float64).T, strict=True)
        return {name: found[name] for name in self._names}
