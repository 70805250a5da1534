"""What one step is: the user's function, what it returns, and the usual one for supervised learning."""

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.errors.calls import BY_POSITION, explained
from loop.errors.instead import instead_of_step
from loop.errors.keras_arguments import check_batch, check_ema, check_loss, check_parts, check_prediction
from loop.errors.kinds import shown
from loop.errors.readonly import ReadOnly
from loop.exact.sketch import sketch
from loop.metric_copies import copies
from loop.model_metrics import ModelMetrics
from loop.scaling import check_optimizer, scales
from loop.tensors import Nest

Values: TypeAlias = Mapping[str, tf.Tensor]


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
        self.of_model: ModelMetrics | None = None

    def __call__(self, batch: Nest) -> Values:
        return self.function(batch)

    @property
    def running(self) -> bool:
        """Whether it returns results so far, of which the latest counts and not the mean, as a model's own steps do."""
        return self.of_model is not None

    def measured(self) -> Mapping[str, keras.Metric]:
        """Returns its metrics by name, those of a model as soon as they are made."""
        return self.of_model.named() if self.of_model else self.metrics

    def variables(self) -> dict[str, list[tf.Variable | keras.Variable]]:
        """Returns those of its metrics, by the names of these; all are there once it is traced."""
        own = {name: list(metric.variables) for name, metric in self.metrics.items()}
        return self.of_model.variables() if self.of_model else own

    def reset(self) -> None:
        """Resets its metrics, for a new epoch or evaluation."""
        for metric in self.metrics.values():
            metric.reset_state()
        if self.of_model:
            self.of_model.reset()

    def check(self) -> None:
        """Raises `RuntimeError` if a model whose step it is was compiled again."""
        if self.of_model:
            self.of_model.check()

    @functools.cached_property
    def sketch(self) -> str:
        """What tells its Python from that of another one; as it is when a loop is first run."""
        return sketch((self.function, self.metrics))

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


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
