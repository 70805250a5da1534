"""Means of the values of steps."""

import tensorflow as tf

from loop.types import Nest, read


class Means(tf.Module):
    """Means of values, weighted by the number of examples in each batch, and summed step by step in float64."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(name="means")
        self.names = names
        self.sums = tf.Variable(tf.zeros([len(names)], tf.float64), trainable=False, name="sums")
        self.weight = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="weight")

    def add(self, values: tf.Tensor, weights: tf.Tensor, *, afresh: tf.Tensor) -> None:
        """Adds steps: float32 `[steps, names]` and `[steps, 1]`. Traced into the compiled loop, where it ends.

        With `afresh`, bool `[]`, they are the first ones of a pass, and what was added before is forgotten.

        `tf.cumsum` adds one row after the other, and so the sums do not depend on where the compiled loop halted; a
        `reduce_sum` would add them in another order.
        """
        with tf.device("CPU"):
            weights = tf.cast(weights, tf.float64)
            weighted = tf.concat([tf.cast(values, tf.float64) * weights, weights], axis=1)
            before = tf.concat([self.sums, [self.weight]], axis=0)
            before = tf.where(afresh, tf.zeros_like(before), before)
            sums = tf.cumsum(tf.concat([before[tf.newaxis], weighted], axis=0))[-1]
        self.sums.assign(sums[:-1])
        self.weight.assign(sums[-1])

    def result(self) -> dict[str, float]:
        """Returns the means so far; nothing before the first step."""
        weight = float(read(self.weight))
        return dict(zip(self.names, (read(self.sums).numpy() / weight).tolist(), strict=True)) if weight else {}


def examples_in(spec: Nest) -> int | None:
    """Returns the leading dimension of a batch's first tensor, by type spec: 1 of a scalar, None if it varies."""
    shape = tf.nest.flatten(spec)[0].shape
    return 1 if shape.rank == 0 else None if shape.rank is None else shape[0]


def examples(batch: Nest) -> tf.Tensor:
    """Returns the leading dimension of a batch's first tensor, where it varies: float32 `[]`."""
    first = tf.nest.flatten(batch)[0]
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.float32)
    return tf.cast(first.dense_shape[0] if isinstance(first, tf.SparseTensor) else tf.shape(first)[0], tf.float32)
