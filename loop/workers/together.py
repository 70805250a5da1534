"""A step on several workers: each runs it on its own rows, and what it leaves is made the same in all."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import keras
import tensorflow as tf

from loop.tensors import raw, unconverted, widened
from loop.tf_internals import Attribute, drawing_apart, gradients_through, moments_from
from loop.workers.cluster import Workers
from loop.workers.losses import of_all_rows
from loop.workers.rows import Part
from loop.workers.sums import TracedStep, traced

Values = Mapping[str, tf.Tensor]
Variable: TypeAlias = tf.Variable | keras.Variable
MEANS = Attribute(keras.metrics.Mean, "update_state")


class Joined(NamedTuple):
    """What comes of a step in all workers.

    Attributes:
        values: The values that it has returned: means over all rows.
        asked: Whether anybody wants the loop to return after it: bool `[]`.
    """

    values: Values
    asked: tf.Tensor


class Together:
    """Runs a step on this worker's rows, and makes equal in all workers what it has changed.

    One small sum at the end of the step has all of that: the values, times the rows that they are means over; what the
    metrics have added up since it began; the moving statistics, averaged by rows; and whether somebody wants to halt.
    In float64, in which a value that is equal everywhere stays what it is.

    Attributes:
        statistics: As below.
        averaged: The variables that are averaged by rows when a step ends: these, and some of the metrics.
        joined: These, and those that are added up.

    Args:
        workers: All of them.
        metrics: The variables of the step's metrics.
        statistics: What layers have computed from their rows without training it.
        applied: Called with an optimizer and gradients that are applied, in the graph; returns those to apply.
        results: Called with the values of the step; returns those that are results of metrics, when these are added up.
    """

    def __init__(
        self,
        workers: Workers,
        metrics: Sequence[Variable],
        statistics: Sequence[tf.Variable],
        applied: Callable[[TracedStep, keras.optimizers.Optimizer, list], list],
        results: Callable[[Values], Values],
    ) -> None:
        self._workers, self.statistics, self._results, self._applied = workers, statistics, results, applied
        self._sums = [raw(each) for each in metrics if is_added_up(each)]
        self.averaged = [*statistics, *(raw(each) for each in metrics if not is_added_up(each))]
        self.joined = [*self._sums, *self.averaged]

    @unconverted
    def begin(self, part: Part) -> "Begun":
        """Begins a step on these rows of this worker. This and what follows is traced into the compiled loop."""
        # Held, and set to zero: so what is added up at the end is this step's part alone.
        before = [each.read_value() for each in self._sums]
        with tf.control_dependencies(before):
            for each in self._sums:
                each.assign(tf.zeros_like(each))
        return Begun(TracedStep(self._workers, part), before)

    @unconverted
    @contextlib.contextmanager
    def tracing(self, begun: "Begun") -> Iterator[None]:
        """While in it, what is traced is a step on several workers: `average` and `total` add up, draws differ."""
        step = begun.step

        def moments(x: tf.Tensor, axes: Sequence[int], keepdims: bool) -> tuple[tf.Tensor, tf.Tensor]:
            return _moments(step, x, axes, keepdims)

        def masked(x: tf.Tensor, mask: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
            return _masked_moments(step, x, mask, axes)

        def applied(optimizer: keras.optimizers.Optimizer, gradients: list) -> list:
            return self._applied(step, optimizer, gradients)

        with (
            traced(step),
            drawing_apart(self._workers.rank),
            moments_from(moments, masked),
            of_all_rows(step),
            _means_by_rows(step),
            gradients_through(applied),
        ):
            yield

    @unconverted
    def join(self, begun: "Begun", values: Values | None, wish: tf.Tensor) -> Joined:
        """Ends the step that has returned these values.

        Args:
            begun: What `begin` returned.
            values: As above.
            wish: Whether this worker wants the loop to return: float64 `[]`, 0 or 1.
        """
        step = begun.step
        values = {name: tf.convert_to_tensor(value) for name, value in (values or {}).items()}  # or they are of Python
        # Sorted: each worker has to put the same value in the same place of the sum.
        names = sorted(values)
        rows, whole = (tf.cast(each, tf.float64) for each in (step.part.rows, step.part.whole))
        own = [tf.cast(widened(values[name]), tf.float64) * rows for name in names]
        own += [tf.cast(each.read_value(), tf.float64) for each in self._sums]
        own += [tf.cast(each.read_value(), tf.float64) * rows for each in self.averaged]
        found = iter(self._workers.collective.sum([wish, *(step.unless_empty(each) for each in own)], on_host=True))
        # A sum: anybody's wish is more than none.
        asked = next(found) > 0
        of_all = {name: _as_value(next(found) / whole, values[name].dtype) for name in names}
        for variable, then in zip(self._sums, begun.before, strict=True):
            variable.assign(then + tf.cast(next(found), variable.dtype))
        for variable in self.averaged:
            variable.assign(tf.cast(next(found) / whole, variable.dtype))
        measured = {name: tf.cast(each, of_all[name].dtype) for name, each in self._results(values).items()}
        return Joined({**of_all, **measured}, asked)


class Begun(NamedTuple):
    """A step that has begun: how it is traced, and what its metrics were before it."""

    step: TracedStep
    before: Sequence[tf.Tensor]


@contextlib.contextmanager
def _means_by_rows(step: TracedStep) -> Iterator[None]:
    """Has a metric that is the mean of the batches' values, a number each, count a batch once, and not in each worker:
    what it is given is taken for a mean over rows, as are the values of the step."""

    def updates(usual: Callable[..., None]) -> Callable[..., None]:
        def update_state(self: keras.metrics.Mean, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
            of_batch = sample_weight is None and tf.convert_to_tensor(values).shape.rank == 0
            usual(self, values, step.share if of_batch else sample_weight)

        return update_state

    with MEANS.filled(updates):
        yield


def _moments(step: TracedStep, x: tf.Tensor, axes: Sequence[int], keepdims: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance over the rows of all workers."""
    here, around = tf.nn.moments(x, axes, keepdims=True)
    # In float64, because squares are added up that differ little from the mean's; these are no more than there are
    # channels.
    here, around = tf.cast(here, tf.float64), tf.cast(around, tf.float64)
    count = tf.cast(tf.reduce_prod(tf.gather(tf.shape(x), axes)), tf.float64)
    sums, squares, of = step.sum([here * count, (around + here * here) * count, count])
    mean = sums / of
    variance = tf.maximum(squares / of - mean * mean, 0.0)
    found = (mean, variance) if keepdims else (tf.squeeze(mean, axes), tf.squeeze(variance, axes))
    return tf.cast(found[0], x.dtype), tf.cast(found[1], x.dtype)


def _masked_moments(
    step: TracedStep, x: tf.Tensor, mask: tf.Tensor, axes: Sequence[int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns mean and variance over what a mask leaves of the rows of all workers, as Keras defines them."""
    weights = tf.cast(tf.broadcast_to(tf.cast(mask, tf.bool)[..., tf.newaxis], tf.shape(x)), x.dtype)
    kept = tf.where(weights > 0, x, tf.zeros_like(x))  # what is masked may be NaN
    count = tf.reduce_sum(weights, axes, keepdims=True)
    here = tf.math.divide_no_nan(tf.reduce_sum(kept, axes, keepdims=True), count)
    around = tf.reduce_sum(weights * tf.square(kept - here), axes, keepdims=True)
    # From here on in float64, as above.
    count, here, around = (tf.cast(tf.squeeze(each, axes), tf.float64) for each in (count, here, around))
    sums, squares, of = step.sum([here * count, around + here * here * count, count])
    mean = sums / (of + keras.backend.epsilon())
    variance = (squares - 2.0 * mean * sums + mean * mean * of) / (of + keras.backend.epsilon())
    return tf.cast(mean, x.dtype), tf.cast(tf.maximum(variance, 0.0), x.dtype)


def is_added_up(variable: Variable) -> bool:
    """Returns whether the parts of a metric's variable are added up, as those of all of Keras' own are."""
    equal = tf.VariableAggregation.MEAN, tf.VariableAggregation.ONLY_FIRST_REPLICA
    return getattr(variable, "aggregation", "sum") not in ("mean", "only_first_replica", *equal)


def _as_value(value: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns a mean in the dtype of what it is the mean of; of integers and truth values, as it is."""
    return tf.cast(value, dtype) if dtype.is_floating else value
