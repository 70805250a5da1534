"""Losses of Keras that are no means over rows, as one process has them for the whole batch."""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from loop.tf_internals import losses_through, rows_of_losses_through
from loop.workers.sums import TracedStep

OF_ROWS = ("sum_over_batch_size", "mean")  # what is a mean over rows, unless some of what is in them is masked
PAIRS = (
    "This loss compares each row of a batch with all others, and each of several workers sees its own rows alone. "
    "Train with it in one process; or compare the rows with others that all workers have, as in "
    "keras.losses.circle(labels, embeddings, ref_labels=..., ref_embeddings=...)."
)
Weigh = Callable[[tf.Tensor | None, tf.Tensor | None, tf.DType, str], tf.Tensor | None]
Reduce = Callable[..., tf.Tensor]


@contextlib.contextmanager
def of_all_rows(step: TracedStep) -> Iterator[None]:
    """While in it, Keras' losses are traced as those of the whole batch. See `Reduced`.

    What a loss itself adds up over rows, as Dice and Tversky do unless `axis` leaves them apart, is added up over all
    workers there.
    """

    def added(sums: tf.Tensor) -> tf.Tensor:
        return step.sum([sums])[0]

    def compared() -> None:
        raise ValueError(PAIRS)

    with (
        losses_through(lambda reduce, weigh: Reduced(step, reduce, weigh)),
        rows_of_losses_through(added, compared),
    ):
        yield


class Reduced:
    """Reduces the values of a loss to a number, as Keras does, over the rows of all workers.

    A mean over rows is left as it is: `average` makes of it that of all. Sums, and means over what a mask or weights
    leave, are added up here, by parts: one more sum in each step, and one for its gradient.

    Args:
        step: The step that is traced.
        reduce: How Keras does it.
        weigh: How Keras makes one weight of sample weights and a mask.
    """

    def __init__(self, step: TracedStep, reduce: Reduce, weigh: Weigh) -> None:
        self._step, self._reduce, self._weigh = step, reduce, weigh

    def __call__(
        self,
        values: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        reduction: str | None = OF_ROWS[0],
        dtype: str | None = None,
    ) -> tf.Tensor:
        values = tf.convert_to_tensor(values)
        of_rows = reduction in OF_ROWS and mask is None
        if reduction in (None, "none") or of_rows or values.shape.rank == 0:
            return self._reduce(values, sample_weight, mask, reduction, dtype)
        each = self._reduce(values, sample_weight, mask, "none", dtype)
        # Sum and count apart, because a mean of means would weigh rows of a short part more.
        parts = [tf.reduce_sum(each)]
        if reduction == "mean_with_sample_weight":
            weights = self._weigh(sample_weight, mask, each.dtype, "sum")
            parts.append(tf.reduce_sum(tf.ones_like(each) if weights is None else tf.cast(weights, each.dtype)))
        elif mask is not None and reduction in OF_ROWS:  # of masks that have less dimensions than values, a mean each
            inner = tf.cast(tf.size(each) // tf.maximum(tf.size(mask), 1), each.dtype)
            parts.append(tf.reduce_sum(tf.cast(mask, each.dtype)) * inner)
        found = self._step.sum(parts)
        return found[0] if len(found) == 1 else tf.math.divide_no_nan(*found)
