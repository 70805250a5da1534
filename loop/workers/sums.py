"""What a step adds up over all workers: gradients, and sums over rows."""

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence

import tensorflow as tf

from loop.tensors import Nest, examples
from loop.workers.cluster import Workers
from loop.workers.rows import Part

log = logging.getLogger("exactloop")
SLICES = (
    "Gradients come as slices, one for each time that a row was looked up, as those of an Embedding do. Over several "
    "workers, they are made dense and averaged. In one process, Keras' optimizers that keep squares, such as Adam, add "
    "up the squares of slices, and so train a row otherwise that is looked up twice in a batch. For the same numbers "
    "there, write gradients = [tf.convert_to_tensor(gradient) for gradient in gradients] before they are applied."
)
_tracing: list["TracedStep"] = []  # the step that is being traced for several workers, if one is


class TracedStep:
    """A step while it is traced for several workers.

    Attributes:
        averaged: The numbers of the operations that have added up gradients; see `Collective`.

    Args:
        workers: All of them.
        part: This worker's rows.
    """

    def __init__(self, workers: Workers, part: Part) -> None:
        self.workers, self.part = workers, part
        self.averaged = set[int]()
        static = isinstance(part.rows, int) and isinstance(part.whole, int)
        self.share = tf.constant(part.rows / part.whole, tf.float64) if static else part.rows / part.whole
        self._is_even = static and part.whole % workers.count == 0  # all have equally many rows
        self._is_never_empty = isinstance(part.rows, int) and part.rows > 0

    def weighted(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns a tensor times the share of the batch that this worker has: zeros if that is none."""
        share = tf.cast(self.share, tensor.dtype)
        # What an empty part has is NaN as often as not. In one pass: this is as large as the model.
        return tensor * share if self._is_never_empty else tf.math.multiply_no_nan(tensor, share)

    def average(self, gradients: Nest) -> Nest:
        given = [each for each in tf.nest.flatten(gradients) if each is not None]
        if any(isinstance(each, tf.IndexedSlices) for each in given):
            _warn_of_slices()
        tensors = [tf.convert_to_tensor(each) for each in given]
        # To weight them first takes as long as a tenth of what else is done with a large one; half would overflow.
        mean = self._is_even and all(each.dtype in (tf.float32, tf.float64) for each in tensors)
        weighted = tensors if mean else [self.weighted(each) for each in tensors]
        # The numbers that come between are those of these gradients: `averaged.py` looks for them.
        before = self.workers.collective.number
        # Of the shapes of their variables, if TensorFlow knows.
        means = self.workers.collective.sum(weighted, of_any_shape=True, mean=mean)
        self.averaged.update(range(before + 1, self.workers.collective.number + 1))
        found = iter(means)
        flat = [None if each is None else next(found) for each in tf.nest.flatten(gradients)]
        return tf.nest.pack_sequence_as(gradients, flat)

    def total(self, x: Nest) -> Nest:
        flat = [tf.convert_to_tensor(each) for each in tf.nest.flatten(x)]
        return tf.nest.pack_sequence_as(x, self.sum(flat))

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Adds up what the losses of all workers may depend on: what is trained is the mean of these, by rows.

        So the gradient is that of all losses; `average` multiplies it with the share that it is divided by here.
        """

        @tf.custom_gradient
        def added(*given: tf.Tensor) -> tuple[list[tf.Tensor], object]:
            def backward(*upstream: tf.Tensor) -> list[tf.Tensor]:
                of_all = self.workers.collective.sum([self.weighted(each) for each in upstream])
                return [tf.math.divide_no_nan(each, tf.cast(self.share, each.dtype)) for each in of_all]

            return self.workers.collective.sum([self.unless_empty(each) for each in given]), backward

        found = added(*tensors)
        return [*found] if isinstance(found, list | tuple) else [found]

    def unless_empty(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns a tensor, or zeros if this worker has no rows: what an empty part has is NaN as often as not."""
        return tensor if self._is_never_empty else tf.where(self.share > 0, tensor, tf.zeros_like(tensor))


@functools.cache
def _warn_of_slices() -> None:
    log.warning(SLICES)


@contextlib.contextmanager
def traced(step: TracedStep) -> Iterator[None]:
    """While in it, `average` and `total` add up over all workers."""
    _tracing.append(step)
    try:
        yield
    finally:
        _tracing.pop()


def now_traced() -> TracedStep | None:
    """Returns the step that is being traced for several workers, if one is."""
    return _tracing[-1] if _tracing else None


def average(gradients: Nest) -> Nest:
    """Returns the means of tensors over all workers, weighted by how many rows of the batch each has.

    For the gradients of a loss that is a mean over rows, before they are clipped, looked at or applied: a worker sees
    its own rows, and its gradients are those of its own mean. `supervised` and `keras_steps` call it by themselves; a
    step of your own writes

        gradients = average(tape.gradient(loss, variables))

    In one process without a cluster, and outside of a step, it returns what it is given. To call it again with what it
    has returned changes nothing.

    Args:
        gradients: A nest of tensors, equal in structure and shapes in all workers; None stays None.

    Returns:
        The nest, with equal bits in all workers.
    """
    step = now_traced()
    return gradients if step is None else step.average(gradients)


def total(x: Nest) -> Nest:
    """Returns the sums of tensors over all workers: what one process would have for all rows of the batch.

    For a loss that is not a mean over rows, such as one with masks or weights: every sum over rows goes through it, and
    the gradients through `average`, as always:

        with tf.GradientTape() as tape:
            loss = total(tf.reduce_sum(mask * each)) / total(tf.reduce_sum(mask))
        gradients = average(tape.gradient(loss, variables))

    Then the loss is the same number in all workers, that of the whole batch. Also for values that a step returns: a
    value is a mean over rows unless it went through here, and a whole number of this worker's rows that did not is
    refused.

    In one process without a cluster, and outside of a step, it returns what it is given.

    Args:
        x: A nest of tensors, equal in structure and shapes in all workers.

    Returns:
        The nest, with equal bits in all workers.
    """
    step = now_traced()
    return x if step is None else step.total(x)


def rows_of_all(batch: Nest) -> tf.Tensor:
    """Returns how many rows the batch has of which the step that is traced sees a part: int32 `[]`."""
    step = now_traced()
    return examples(batch) if step is None else tf.cast(step.part.whole, tf.int32)
