"""What one step is: the user's function, what it returns, and the usual one for supervised learning."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.errors.calls import BY_POSITION, explained
from loop.errors.instead import instead_of_step, of_tracing
from loop.errors.keras_arguments import check_batch, check_ema, check_loss, check_parts, check_prediction
from loop.errors.kinds import shown
from loop.errors.readonly import ReadOnly
from loop.errors.tracebacks import add_note
from loop.exact.fingerprint import fingerprint
from loop.exact.sketch import sketch
from loop.metric_copies import copies
from loop.scaling import check_optimizer, scales
from loop.tensors import Nest, unconverted

Values: TypeAlias = Mapping[str, tf.Tensor]
WIDE = (tf.float64, tf.int32, tf.int64, tf.uint32, tf.uint64)  # what float32 does not hold
BARE = ("float4_e2m1fn", "int2", "uint2")  # TensorFlow holds them, and has no operation for them
OF_ALL = {"average": "macro", "class_aggregation": "uniform_average"}  # arguments of Keras' metrics of several classes


@explained({"loss": "write it in the function, which returns its value"})
class Step:
    """A step function together with the Keras metrics that it updates.

    Args:
        function: From a batch to `{name: value}`, scalars of shape `[]`, real, integer or bool. Those that float32 does
            not hold are logged as float64, which holds integers up to 2^53. It is traced into the compiled loop, so its
            Python code runs when it is traced, not at each step. The gradient tape is its own affair. With metrics it
            may return nothing.
        metrics: The metrics that the function updates, by the name under which their results are logged. A metric
            takes the place of the mean of a value of the same name. They are reset at the beginning of each epoch
            or evaluation, and saved in mid-epoch.
    """

    def __init__(
        self, function: Callable[[Nest], Values], *, metrics: Mapping[str, keras.Metric] | None = None
    ) -> None:
        if instead := instead_of_step(function):
            raise TypeError(f"A step must be a function from a batch to {{name: scalar}}. {instead}")
        self.function, self.metrics = function, ReadOnly(_metrics("Step", metrics))
        self.metrics.why = (
            "a loop knows a step's metrics from the start. Give all of them to Step(function, metrics={...})."
        )

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

    Attributes:
        narrow: The names of the values that float32 holds, sorted.
        wide: Those of the others, sorted.
        logged: The names of all values and metrics, sorted.
        graph: What was traced.
        results: Returns the results of the metrics, scalars by name.

    Raises:
        TypeError: If the step does not return a mapping from names to numeric scalars, or nothing although it has no
            metrics, or a metric's result is not a scalar.
    """

    def __init__(self, step: Step, element_spec: Nest) -> None:
        def traced(batch: Nest) -> tuple[Values, Values]:
            values = step.function(batch)
            _check_no_metrics(step, values)
            return values, {name: metric.result() for name, metric in step.metrics.items()}

        try:
            function = tf.function(traced).get_concrete_function(element_spec)
            values, results = function.structured_outputs
            values = {} if values is None and step.metrics else values
            _check_mapping(step, values)
        except Exception as error:
            for note in of_tracing(step.function, element_spec, error):
                add_note(error, note)
            raise
        for name, value in values.items():
            _check_scalar(step, name, value, "Reduce it in the step, for instance with tf.reduce_mean.")
        for name, value in results.items():
            _check_scalar(step, name, value, _remedy(step.metrics[name]))
        self.narrow: tuple[str, ...] = tuple(sorted(name for name in values if values[name].dtype not in WIDE))
        self.wide: tuple[str, ...] = tuple(sorted({*values} - {*self.narrow}))
        self._returned = (*sorted(values), *sorted(results))
        self.logged: tuple[str, ...] = tuple(sorted({*values, *results}))
        self._function, self.graph = function, function.graph
        # Compiled, because an eager result may have other bits.
        now = tf.function(lambda: {name: metric.result() for name, metric in step.metrics.items()})
        self.results: Callable[[], dict[str, tf.Tensor]] = now.get_concrete_function() if step.metrics else dict

    def __call__(self, batch: Nest) -> Values:
        """Returns the values of the step as it was traced; in a graph, one operation, which TensorFlow expands."""
        values, _ = self._function(batch)
        return values or {}

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


def _metrics(
    owner: str, metrics: Mapping[str, keras.Metric] | None, argument: str = "metrics"
) -> dict[str, keras.Metric]:
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            f"{owner}({argument}=...) needs a dict, as in {{'accuracy': metric}}. Received: {shown(metrics)}."
        )
    wrong = {name: metric for name, metric in (metrics or {}).items() if not isinstance(metric, keras.Metric)}
    if wrong:
        raise TypeError(
            f"{owner}({argument}=...) takes keras.metrics.Metric objects by name. Received: {shown(wrong)}."
        )
    return dict(metrics or {})


def _check_apart(metrics: Mapping[str, keras.Metric], weighted: Mapping[str, keras.Metric], own: list[str]) -> None:
    """Raises `ValueError` if a metric of supervised learning would hide another value, or be updated twice."""
    for name in sorted({*own, *weighted} & {*metrics} | {*own} & {*weighted}):
        raise ValueError(
            f"supervised(...) would log two values as {name!r}"
            f"{', which is one of its own' if name in own else ' (metrics=... and weighted_metrics=...)'}. "
            f"Give the metric another name, such as {f'weighted_{name}'!r}."
        )
    named = [*metrics.items(), *weighted.items()]
    twice = [name for i, (name, metric) in enumerate(named) if any(metric is other for _, other in named[:i])]
    if twice:
        raise ValueError(f"A metric would be updated twice in each step. Give {twice} objects of their own.")


def _check_mapping(step: Step, values: Values) -> None:
    some = isinstance(values, Mapping) and (values or step.metrics)
    if not some or not all(isinstance(name, str) for name in values):
        raise TypeError(
            f"Step {step.__name__!r} must return a dict of named scalars, such as {{'loss': loss}}. "
            f"Received: {'nothing (is a return missing?)' if values is None else shown(values)}."
        )


@unconverted
def _check_no_metrics(step: Step, values: Values) -> None:
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, keras.Metric):
            raise TypeError(
                f"Step {step.__name__!r}: {name!r} is a metric. Write Step({step.__name__}, metrics={{{name!r}: "
                "metric}), and leave it out of what the function returns."
            )


def _check_scalar(step: Step, name: str, value: tf.Tensor, remedy: str) -> None:
    if isinstance(value, tf.Tensor):
        numeric = value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
        numeric = numeric and value.dtype.name not in BARE
        if value.shape.rank == 0 and numeric:
            return
        if value.dtype.is_complex:
            remedy = "Return tf.math.real(value) and tf.math.imag(value) under names of their own, each reduced to []."
        elif not numeric:
            remedy = "Compute a number or a bool of it in the step, and return that."
        value = f"shape {value.shape}, dtype {value.dtype.name}"
    raise TypeError(
        f"Step {step.__name__!r}: {name!r} must be a numeric scalar of shape []. Received: {value}. {remedy}"
    )


def _remedy(metric: keras.Metric) -> str:
    """Returns what makes a scalar of a metric that has a result for each class, or several of another kind."""
    kind = type(metric).__name__
    for argument, of_all in OF_ALL.items():
        if vars(metric).get(argument, of_all) is None:
            return f"Give the metric {argument}={of_all!r}, as in {kind}({argument}={of_all!r})."
    return (
        f"Make a metric of it whose result is a scalar: a subclass of {kind} with def result(self): "
        "return keras.ops.mean(super().result()), say, or one for each component, with super().result()[0]."
    )


def as_step(step: Step | Callable[[Nest], Values]) -> Step:
    """Returns a bare function as a `Step` without metrics, and a `Step` as it is."""
    return step if isinstance(step, Step) else Step(step)


@explained(
    {
        BY_POSITION: "write metrics={'accuracy': keras.metrics.SparseCategoricalAccuracy()}",
        "loss_fn": "write loss=...",
        **dict.fromkeys(("clipnorm", "max_norm", "gradient_clip_val"), "write clip_norm=..."),
        **dict.fromkeys(("jit_compile", "run_eagerly"), "leave it out: the loop compiles the steps"),
    }
)
def supervised(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    *,
    metrics: Mapping[str, keras.Metric] | None = None,
    weighted_metrics: Mapping[str, keras.Metric] | None = None,
    clip_norm: float | None = None,
) -> tuple[Step, Step]:
    """Returns the train step and the evaluation step of supervised learning.

    A batch is `(x, y)` or `(x, y, sample_weight)`, as in Keras. Both steps return `loss`, with the model's own losses
    (regularisation) in it; the train step also returns `grad_norm`, before clipping, if it clips.

    Args:
        model: Called as `model(x, training=...)`.
        optimizer: Its `scale_loss` is used, so a `LossScaleOptimizer` works; layers that compute in float16 need one.
        loss: Called as `loss(y, prediction, sample_weight)`; its result is reduced over the batch.
        metrics: Metrics by name for the train step, updated without sample weights; the evaluation step gets copies of
            its own.
        weighted_metrics: More of them, updated with the sample weights, if the batch has some.
        clip_norm: The largest global norm of the gradients, a positive number. For another kind of clipping, or with
            loss scaling, give it to the optimizer (`global_clipnorm`, `clipnorm`, `clipvalue`).

    Raises:
        ValueError: If `clip_norm` is not positive, or the optimizer scales the loss and so the gradients; if layers
            compute in float16 and the optimizer does not scale the loss; if two values would have one name.
        TypeError: If the loss does not take the sample weights third, or a metric cannot be copied with its arguments.
    """
    check_parts(model, optimizer, loss)
    metrics = _metrics("supervised", metrics)
    weighted_metrics = _metrics("supervised", weighted_metrics, "weighted_metrics")
    _check_apart(metrics, weighted_metrics, ["loss"] if clip_norm is None else ["loss", "grad_norm"])
    own, own_weighted = copies(metrics), copies(weighted_metrics)
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"supervised(clip_norm=...) must be positive. Received: {clip_norm!r}.")
    if clip_norm is not None and scales(optimizer):
        raise ValueError(
            "supervised(clip_norm=...) would clip scaled gradients. Leave it out, and give the inner optimizer, where "
            f"there is one, global_clipnorm={clip_norm:g}."
        )
    check_optimizer(model, optimizer)
    check_ema(optimizer)

    if model.built and not optimizer.built:
        optimizer.build(model.trainable_variables)  # or the first trace would build it, and so be done twice

    def forward(
        batch: Nest, training: bool, measured: Mapping[str, keras.Metric], weighted: Mapping[str, keras.Metric]
    ) -> tf.Tensor:
        check_batch(batch, loss)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        prediction = model(x, training=training)
        check_prediction(prediction, loss)
        value = loss(y, prediction, sample_weight)
        check_loss(value)
        if model.losses:
            sums = [each if each.shape.rank == 0 else tf.reduce_sum(each) for each in model.losses]
            value += tf.add_n([tf.cast(each, value.dtype) for each in sums])
        for metric in measured.values():
            metric.update_state(y, prediction)
        for metric in weighted.values():
            metric.update_state(y, prediction, sample_weight)
        return value

    def train_step(batch: Nest) -> Values:
        with tf.GradientTape() as tape:
            value = forward(batch, True, metrics, weighted_metrics)
            scaled = optimizer.scale_loss(value)
        check_optimizer(model, optimizer)  # again: layers may have been made by the call
        variables = model.trainable_variables
        gradients = tape.gradient(scaled, variables)
        values = {"loss": value}
        if clip_norm is not None:
            gradients, values["grad_norm"] = tf.clip_by_global_norm(gradients, clip_norm)
        optimizer.apply(gradients, variables)
        return values

    def eval_step(batch: Nest) -> Values:
        return {"loss": forward(batch, False, own, own_weighted)}

    return Step(train_step, metrics=metrics | weighted_metrics), Step(eval_step, metrics=own | own_weighted)
