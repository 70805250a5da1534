"""What one step is: the user's function, what it returns, and the usual one for supervised learning."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.fingerprint import fingerprint
from loop.sketch import sketch
from loop.types import Nest

Values: TypeAlias = Mapping[str, tf.Tensor]


class Step:
    """A step function together with the Keras metrics that it updates.

    Args:
        function: From a batch to `{name: value}`, scalars of shape `[]`. It is traced into the compiled loop, so its
            Python code runs when it is traced, not at each step. The gradient tape is its own affair.
        metrics: The metrics that the function updates, by the name under which their results are logged. A metric
            takes the place of the mean of a value of the same name. They are reset at the beginning of each epoch
            or evaluation, and saved in mid-epoch.
    """

    def __init__(
        self, function: Callable[[Nest], Values], *, metrics: Mapping[str, keras.Metric] | None = None
    ) -> None:
        if not callable(function):
            raise TypeError(f"A step must be a function from a batch to {{name: scalar}}. Received: {function!r}.")
        self.function, self.metrics = function, _metrics("Step", metrics)

    def __call__(self, batch: Nest) -> Values:
        return self.function(batch)

    @functools.cached_property
    def sketch(self) -> str:
        """What tells its Python from that of another one; as it is when a loop is first run."""
        return sketch((self.function, self.metrics))

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


class Trace:
    """A step traced once by itself: what it is called with, what it returns, what tells it from another.

    Tracing also builds what is built late: layers, optimizer slots. So the compiled loop is traced only once, and a
    checkpoint finds every variable in its place.

    Raises:
        TypeError: If the step does not return a non-empty mapping from names to numeric scalars, or a metric's result
            is not a scalar.
    """

    def __init__(self, step: Step, element_spec: Nest) -> None:
        def traced(batch: Nest) -> tuple[Values, Values]:
            return step(batch), {name: metric.result() for name, metric in step.metrics.items()}

        function = tf.function(traced).get_concrete_function(element_spec)
        values, results = function.structured_outputs
        _check_mapping(step, values)
        for name, value in {**values, **results}.items():
            _check_scalar(step, name, value)
        self.names: tuple[str, ...] = tuple(sorted(values))
        self._returned = (*self.names, *sorted(results))
        self.logged: tuple[str, ...] = tuple(sorted({*values, *results}))
        self._function = function

    def fingerprint(self, held: Mapping[int, str], constants: Iterable[tf.Variable]) -> dict[str, object]:
        """Returns what tells the step from another one, in JSON values.

        Args:
            held: The paths in the training state of the variables, tables and iterators in it, by the id of the handle.
            constants: Variables that are only read and not in the training state.
        """
        function = self._function
        return fingerprint(
            function.graph, function.captured_inputs, returned=self._returned, held=held, constants=constants
        )


def _metrics(owner: str, metrics: Mapping[str, keras.Metric] | None) -> dict[str, keras.Metric]:
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(f"{owner}(metrics=...) needs a dict, as in {{'accuracy': metric}}. Received: {metrics!r}.")
    wrong = {name: metric for name, metric in (metrics or {}).items() if not isinstance(metric, keras.Metric)}
    if wrong:
        raise TypeError(f"{owner}(metrics=...) takes keras.metrics.Metric objects by name. Received: {wrong!r}.")
    return dict(metrics or {})


def _check_mapping(step: Step, values: Values) -> None:
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise TypeError(
            f"Step {step.__name__!r} must return a dict of named scalars, such as {{'loss': loss}}. "
            f"Received: {'nothing (is a return missing?)' if values is None else repr(values)}."
        )


def _check_scalar(step: Step, name: str, value: tf.Tensor) -> None:
    if isinstance(value, tf.Tensor):
        numeric = value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
        if value.shape.rank == 0 and numeric:
            return
        value = f"shape {value.shape}, dtype {value.dtype.name}"
    raise TypeError(
        f"Step {step.__name__!r}: {name!r} must be a numeric scalar of shape []. Received: {value}. "
        "Reduce it in the step, for instance with tf.reduce_mean."
    )


def as_step(step: Step | Callable[[Nest], Values]) -> Step:
    """Returns a bare function as a `Step` without metrics, and a `Step` as it is."""
    return step if isinstance(step, Step) else Step(step)


def supervised(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    *,
    metrics: Mapping[str, keras.Metric] | None = None,
    clip_norm: float | None = None,
) -> tuple[Step, Step]:
    """Returns the train step and the evaluation step of supervised learning.

    A batch is `(x, y)` or `(x, y, sample_weight)`, as in Keras. Both steps return `loss`, with the model's own losses
    (regularisation) in it; the train step also returns `grad_norm`, before clipping, if it clips.

    Args:
        model: Called as `model(x, training=...)`.
        optimizer: Its `scale_loss` is used, so a `LossScaleOptimizer` works.
        loss: Called as `loss(y, prediction, sample_weight)`; its result is reduced over the batch.
        metrics: Metrics by name for the train step; the evaluation step gets copies of its own.
        clip_norm: The largest global norm of the gradients, a positive number. For another kind of clipping, or with
            loss scaling, give it to the optimizer (`global_clipnorm`, `clipnorm`, `clipvalue`).

    Raises:
        ValueError: If `clip_norm` is not positive, or the optimizer scales the loss and so the gradients.
    """
    if not callable(loss):
        raise TypeError(f"supervised(loss=...) needs a keras.losses.Loss or a function. Received: {loss!r}.")
    metrics = _metrics("supervised", metrics)
    own = {name: type(metric).from_config(metric.get_config()) for name, metric in metrics.items()}
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"supervised(clip_norm=...) must be positive. Received: {clip_norm!r}.")
    if clip_norm is not None and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "supervised(clip_norm=...) would clip scaled gradients. Give the inner optimizer global_clipnorm=..."
        )

    if model.built and not optimizer.built:
        optimizer.build(model.trainable_variables)  # or the first trace would build it, and so be done twice

    def forward(batch: Nest, training: bool, measured: Mapping[str, keras.Metric]) -> tf.Tensor:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        prediction = model(x, training=training)
        value = loss(y, prediction, sample_weight)
        if model.losses:
            value += tf.add_n(model.losses)
        for metric in measured.values():
            metric.update_state(y, prediction, sample_weight)
        return value

    def train_step(batch: Nest) -> Values:
        with tf.GradientTape() as tape:
            value = forward(batch, True, metrics)
            scaled = optimizer.scale_loss(value)
        variables = model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        values = {"loss": value}
        if clip_norm is not None:
            gradients, values["grad_norm"] = tf.clip_by_global_norm(gradients, clip_norm)
        optimizer.apply(gradients, variables)
        return values

    def eval_step(batch: Nest) -> Values:
        return {"loss": forward(batch, False, own)}

    return Step(train_step, metrics=metrics), Step(eval_step, metrics=own)
