"""The usual steps of supervised learning, of which Keras' users know the arguments."""

import math
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from loop.errors.calls import BY_POSITION, explained
from loop.errors.elsewhere import ELSEWHERE
from loop.errors.keras_arguments import check_batch, check_ema, check_parts, warn_of_methods
from loop.steps import Step, Values
from loop.supervision.accumulate import Window
from loop.supervision.class_weights import checked, weights_of
from loop.supervision.layer_metrics import metrics_of_layers
from loop.supervision.losses import OF_OUTPUT, Losses, WeightedLoss, Weights
from loop.supervision.measures import Given, Measure, measures, update
from loop.supervision.metric_copies import copies
from loop.supervision.scaling import check_optimizer, scales
from loop.tensors import Nest, unconverted
from loop.tf_internals import is_built
from loop.workers.sums import average, rows_of_all

Measures = Mapping[str, Measure]
OF_FIT = ("train_step", "test_step", "compute_loss", "compute_metrics")
OWN = (
    "supervised(model, ...) trains model %r by the loss that it is given, and calls none of the model's own: %s. To "
    "train as fit does, compile it, and write train_step, eval_step = keras_steps(model)."
)


@explained(
    ELSEWHERE
    | {
        BY_POSITION: "write metrics={'accuracy': keras.metrics.SparseCategoricalAccuracy()}",
        "loss_fn": "write loss=...",
        **dict.fromkeys(("clipnorm", "max_norm", "gradient_clip_val"), "write clip_norm=..."),
        **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches"), "write accumulate=..."),
        "sample_weight": "write ArrayData((x, y, sample_weight), batch_size=32)",
        **dict.fromkeys(
            ("validation_data", "validation_split"), "write Loop(..., evaluate=Evaluation(eval_step, data))"
        ),
        "steps_per_execution": "leave it out: all steps up to the next halt run in one call anyway",
        "jit_compile": "write Loop(..., jit_compile=True)",
        "run_eagerly": "leave it out: the loop compiles the steps",
    }
)
def supervised(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Losses,
    *,
    loss_weights: Weights | None = None,
    metrics: Given | None = None,
    weighted_metrics: Given | None = None,
    class_weight: Mapping[int, float] | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[Step, Step]:
    """Returns the train step and the evaluation step of supervised learning.

    A batch is `(x, y)` or `(x, y, sample_weight)`, as in Keras. Both steps return `loss`, with the model's own losses
    (regularisation) in it, and of several outputs the loss of each, as `name_loss`, before it is weighted; the train
    step also returns `grad_norm`, before clipping, if it clips.

    What is for several outputs is given in a dict by their names, or in a list in their order, as are labels and sample
    weights. The names are the keys of a model that returns a dict, and those of the layers of a functional model that
    returns a list.

    Args:
        model: Called as `model(x, training=...)`.
        optimizer: Its `scale_loss` is used, so a `LossScaleOptimizer` works; layers that compute in float16 need one.
        loss: A loss of Keras; its name, such as "mse"; or a function `loss(y, prediction)` that returns a value for
            each example. Of several outputs one for each, or one of these for all. A function of three arguments,
            `loss(y, prediction, sample_weight)`, gets all outputs at once, and returns a scalar.
        loss_weights: What the losses are multiplied with before they are added.
        metrics: Metrics for the train step, updated without sample weights; the evaluation step gets copies of its own.
            Those that layers of the model update by themselves are logged as well, as in `fit`.
            Objects of Keras, names such as "accuracy", or functions `metric(y, prediction)`: in a dict by the names
            under which they are logged, in a list, or by output.
        weighted_metrics: More of them, updated with the sample weights, if the batch has some.
        class_weight: The weights of examples by their class, as in `fit`, for the train step alone; 1 for others.
        accumulate: Applies the gradients of so many batches at once: those of the mean over all of their examples.
            Batches are counted on from epoch to epoch and from run to run; what the last ones of a run have left waits
            for the next. `grad_norm` is that of the mean so far.
        clip_norm: The largest global norm of the gradients, a positive number. For another kind of clipping, or with
            loss scaling, give it to the optimizer (`global_clipnorm`, `clipnorm`, `clipvalue`).
        class_names: By which the results of metrics with one for each class are logged; see `Step`.

    Raises:
        ValueError: If `clip_norm` or `accumulate` is not positive, or the optimizer scales the loss and so the
            gradients; if layers compute in float16 and the optimizer does not scale the loss; if two values would have
            one name; if Keras does not know a name; if the optimizer accumulates, too.
        TypeError: If something is no loss or metric, or a metric cannot be copied with its arguments.
    """
    check_parts(model, optimizer, loss)
    warn_of_methods(model, OF_FIT, OWN)
    # All arguments are checked here, where they were written, and not when a loop traces the step.
    losses = WeightedLoss(model, loss, loss_weights)
    names = losses.outputs
    plain = measures("metrics", metrics, names)
    weighted = measures("weighted_metrics", weighted_metrics, names, [*plain])
    own = ["loss", *(["grad_norm"] if clip_norm is not None else [])]
    of_outputs = [OF_OUTPUT.format(name) for name in names if len(names) > 1]
    _check_apart(plain, weighted, [*own, *of_outputs])
    # Objects of its own, or an evaluation in mid-epoch would mix its rows into the epoch's results.
    evaluated, evaluated_weighted = _copied(plain), _copied(weighted)
    _check_numbers(optimizer, accumulate, clip_norm)
    of_classes = None if class_weight is None else checked(class_weight)
    check_optimizer(model, optimizer)
    check_ema(optimizer)
    window = Window(accumulate) if accumulate > 1 else None

    def build() -> None:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        if window:
            window.build(model.trainable_variables)

    if is_built(model):
        build()  # or the first trace would do it, and so be done twice

    @unconverted  # a function of the program's own that is called in it is converted
    def forward(batch: Nest, training: bool, measured: Measures, with_weights: Measures) -> Values:
        # While it is traced, and so not in each step.
        check_batch(batch, loss)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        # As in `fit`: weights of classes are for training, so that results of evaluations can be compared.
        if training and of_classes is not None:
            sample_weight = weights_of(of_classes, y, sample_weight)
        prediction = model(x, training=training)
        value, values = losses(y, prediction, sample_weight)
        if model.losses:
            # `add_loss` takes tensors of any shape, and the loss is one number.
            sums = [each if each.shape.rank == 0 else tf.reduce_sum(each) for each in model.losses]
            value += tf.add_n([tf.cast(each, value.dtype) for each in sums])
        update(measured, names, y, prediction)
        update(with_weights, names, y, prediction, sample_weight)
        return {"loss": value, **values}

    @unconverted
    def train_step(batch: Nest) -> Values:
        with tf.GradientTape() as tape:
            values = dict(forward(batch, True, plain, weighted))
            scaled = optimizer.scale_loss(values["loss"])
        check_optimizer(model, optimizer)  # again: layers may have been made by the call
        variables = model.trainable_variables
        # Of several workers: before anything looks at their norm, which has to be the same in all.
        gradients = average(tape.gradient(scaled, variables))
        if window is None:
            if clip_norm is not None:
                gradients, values["grad_norm"] = tf.clip_by_global_norm(gradients, clip_norm)
            optimizer.apply(gradients, variables)
            return values

        # Clipped is the mean of a window, and not each batch: as if the batches were one.
        def apply(means: list[tf.Tensor | None]) -> None:
            optimizer.apply(means if clip_norm is None else tf.clip_by_global_norm(means, clip_norm)[0], variables)

        build()
        means = window.add(gradients, rows_of_all(batch), apply)
        return values if clip_norm is None else {**values, "grad_norm": tf.linalg.global_norm(means)}

    @unconverted
    def eval_step(batch: Nest) -> Values:
        return forward(batch, False, evaluated, evaluated_weighted)

    given = {name: each.metric for name, each in {**plain, **weighted}.items()}
    # As in `fit`, which resets and logs them too. Both steps have the same ones, since the layers update these.
    of_layers = metrics_of_layers(model, [*given, *own, *of_outputs])
    train = Step(train_step, metrics={**given, **of_layers}, class_names=class_names)
    # By this it is in the state: a run that is cut within a window goes on within it.
    train.kept = window
    copied = {name: each.metric for name, each in {**evaluated, **evaluated_weighted}.items()}
    evaluate = Step(eval_step, metrics={**copied, **of_layers}, class_names=class_names)
    train.shared = evaluate.shared = frozenset(of_layers)
    return train, evaluate


def _copied(found: Measures) -> dict[str, Measure]:
    made = copies({name: each.metric for name, each in found.items()})
    return {name: Measure(made[name], each.output) for name, each in found.items()}


def _check_apart(plain: Measures, weighted: Measures, own: Sequence[str]) -> None:
    """Raises `ValueError` if a metric would hide another value, or be updated twice."""
    for name in sorted({*own, *weighted} & {*plain} | {*own} & {*weighted}):
        raise ValueError(
            f"supervised(...) would log two values as {name!r}"
            f"{', which is one of its own' if name in own else ' (metrics=... and weighted_metrics=...)'}. "
            f"Give the metric another name, such as {f'weighted_{name}'!r}."
        )
    named = [(name, each.metric) for name, each in (*plain.items(), *weighted.items())]
    twice = [name for i, (name, metric) in enumerate(named) if any(metric is other for _, other in named[:i])]
    if twice:
        raise ValueError(f"A metric would be updated twice in each step. Give {twice} objects of their own.")


def _check_numbers(optimizer: keras.optimizers.Optimizer, accumulate: int, clip_norm: float | None) -> None:
    if clip_norm is not None and not 0 < clip_norm < math.inf:  # clipped at infinity, gradients are NaN
        raise ValueError(
            f"supervised(clip_norm=...) must be positive and finite. Received: {clip_norm!r}. To clip nothing, leave "
            "it out."
        )
    if clip_norm is not None and scales(optimizer):
        raise ValueError(
            "supervised(clip_norm=...) would clip scaled gradients. Leave it out, and give the inner optimizer, where "
            f"there is one, global_clipnorm={clip_norm:g}."
        )
    if accumulate < 1:
        raise ValueError(f"supervised(accumulate=...) must be positive. Received: {accumulate!r}.")
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    if accumulate > 1 and inner.gradient_accumulation_steps:
        raise ValueError(
            f"supervised(accumulate={accumulate}) and the optimizer's gradient_accumulation_steps="
            f"{inner.gradient_accumulation_steps} would both accumulate. Leave one of them out."
        )
