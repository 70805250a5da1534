"""Gradients of several batches, which are applied together."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from loop.tensors import unconverted

Gradients = list[tf.Tensor | None]


class Window(tf.Module):
    """The batches since gradients were last applied: the sum of their gradients, by examples.

    It goes on from one epoch to the next, and from one run to the next, because where a run is cut must change nothing.
    So what the last batches of a run have left is there when it goes on; it is a part of the state.

    Args:
        length: After how many batches the gradients are applied.
    """

    def __init__(self, length: int) -> None:
        super().__init__(name="window")
        self.length = length
        # int64 `[]` and float64 `[]`, in which a whole number of examples is exact.
        self.batches = tf.Variable(0, dtype=tf.int64, trainable=False, name="batches")
        self.examples = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="examples")
        self.sums: list[tf.Variable] = []

    @unconverted
    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the sums; once."""
        if not self.sums:
            # Outside of the graph that is traced, where no variable can be made.
            with tf.init_scope():
                self.sums = [tf.Variable(tf.zeros(v.shape, _wide(v)), trainable=False, name="sum") for v in variables]

    @unconverted
    def add(self, gradients: Gradients, examples: tf.Tensor, apply: Callable[[Gradients], None]) -> Gradients:
        """Adds the gradients of a batch; with the last of a window, calls `apply` with the mean over all examples.

        Args:
            gradients: Of the mean over the examples of a batch, for each variable; None where there is none.
            examples: How many the batch has: `[]`.
            apply: What to do with the gradients; traced within a condition, so everything has to be built.

        Returns:
            The mean so far.
        """
        count = tf.cast(examples, tf.float64)
        # By examples, so that a short last batch counts for as many as it has.
        total = self.examples.assign_add(count)
        sums = [
            None
            if gradient is None
            else own.assign_add(tf.cast(tf.convert_to_tensor(gradient), own.dtype) * tf.cast(count, own.dtype))
            for own, gradient in zip(self.sums, gradients, strict=True)
        ]
        means = [each if each is None else each / tf.cast(tf.maximum(total, 1.0), each.dtype) for each in sums]

        def at_the_end() -> None:
            apply(means)
            for variable in (self.batches, self.examples, *self.sums):
                variable.assign(tf.zeros_like(variable))

        # The batches are counted here alone, whatever step it is: a window may begin in any epoch.
        tf.cond(tf.equal(self.batches.assign_add(1), self.length), at_the_end, lambda: None)
        return means


def _wide(variable: keras.Variable) -> str:
    # Sums of many small numbers: in 8 or 11 bits, most would be lost.
    return "float32" if variable.dtype in ("float16", "bfloat16") else variable.dtype
