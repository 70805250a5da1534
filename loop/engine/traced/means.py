"""Means of the values of steps."""

import operator

import numpy as np
import tensorflow as tf

from loop.tensors import Nest
from loop.tf_internals import read_variables

HEAD = -(2**27)  # as a mask of 64 bits: sign, exponent and the upper 26 bits of what a float64 says


class Means(tf.Module):
    """Means of values, weighted by the number of examples in each batch, and summed step by step in float64.

    A sum of float64 values, or of large integers, would be rounded at each step. So each of those is cut in two, whose
    sums are exact for 2^26 examples and more: the mean of what is always the same is that, to the last bit.

    Args:
        narrow: The names of the values that float32 holds.
        wide: Those of the others.
    """

    def __init__(self, narrow: tuple[str, ...], wide: tuple[str, ...]) -> None:
        super().__init__(name="means")
        self._names, self._narrow = (*narrow, *wide), len(narrow)
        sums = tf.zeros([len(narrow) + 2 * len(wide)], tf.float64)
        # In their order: of narrow values, of the heads of wide ones, of their rests.
        self.sums = tf.Variable(sums, trainable=False, name="sums")
        self.weight = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="weight")

    def add(
        self, narrow: tf.Tensor, wide: tf.Tensor, weights: tf.Tensor, *, afresh: tf.Tensor, latest: bool = False
    ) -> tf.Tensor:
        """Adds steps, and returns all sums and the weight: float64 `[sums + 1]`. Traced into the compiled loop's end.

        `tf.cumsum` adds one row after the other, and so the sums do not depend on where the compiled loop halted; a
        `reduce_sum` would add them in another order.

        Args:
            narrow: float32 `[steps, narrow]`.
            wide: float64 `[steps, wide]`.
            weights: `[steps, 1]`, of any dtype.
            afresh: Whether they are the first ones of a pass, and what was added before is forgotten: bool `[]`.
            latest: Whether only the latest value counts, because it is the result so far of a metric: it is then the
                mean of all examples so far.
        """
        with tf.device("CPU"):
            weights, values = tf.cast(weights, tf.float64), tf.cast(narrow, tf.float64)
            if self._narrow < len(self._names):
                head = tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(wide, tf.int64), HEAD), tf.float64)
                rest = tf.where(tf.equal(head, wide), tf.zeros_like(wide), wide - head)  # of infinity, there is none
                values = tf.concat([values, head, rest], axis=1)
            before = tf.concat([self.sums, [self.weight]], axis=0)
            # Not 0 * before, which is NaN where a sum was infinite.
            before = tf.where(afresh, tf.zeros_like(before), before)
            weights = before[-1] + tf.cumsum(weights) if latest else weights
            # [steps, sums + 1]: the weights add up as the values do. Products are exact, as the sums are.
            weighted = tf.concat([values * weights, weights], axis=1)
            rows = tf.concat([before[tf.newaxis], weighted], axis=0)
            sums = (rows if latest else tf.cumsum(rows))[-1]
        self.sums.assign(sums[:-1])
        self.weight.assign(sums[-1])
        return sums

    def result(self, sums: tf.Tensor | None = None) -> dict[str, float] | None:
        """Returns the means so far by name, sorted; None before the first step.

        Args:
            sums: What `add` has returned last, if that is at hand: to read variables takes as long as two small steps.
        """
        # In Python, which is quicker than NumPy where there are few.
        *found, weight = (self._read() if sums is None else sums.numpy()).tolist()
        if not weight:
            return None
        means = [each / weight for each in found]
        count = len(self._names)
        # Heads and rests, each exact until here.
        means[self._narrow : count] = map(operator.add, means[self._narrow : count], means[count:])
        return dict(sorted(zip(self._names, means, strict=False)))

    def _read(self) -> np.ndarray:
        sums, weight = read_variables([self.sums, self.weight])
        return np.append(sums.numpy(), weight.numpy())


def examples_in(spec: Nest) -> int | None:
    """Returns the leading dimension of a batch's first tensor, by type spec: 1 of a scalar, None if it varies."""
    shape = tf.nest.flatten(spec)[0].shape
    return 1 if shape.rank == 0 else None if shape.rank is None else shape[0]
