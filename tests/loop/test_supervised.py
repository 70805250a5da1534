"""Supervised learning as Keras has it: the same weights, losses and metrics as `fit`."""

import functools
import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Evaluation, Loop, Step, supervised

ROWS, WORDS = 23, 6  # in batches of 8, and of 7 when evaluated: the last ones are smaller
RNG = np.random.default_rng(1)
WEIGHTS = RNG.random([ROWS]).astype("float32")


class Squares(keras.layers.Layer):
    """Adds a loss for each example."""

    def call(self, x: object) -> object:
        self.add_loss(keras.ops.mean(x**2, axis=-1))
        return x


def dense() -> keras.Model:
    layers = [keras.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1"), Squares()]
    return keras.Sequential([keras.Input([4]), *layers, keras.layers.Dense(1, activation="sigmoid")])


def masked() -> keras.Model:
    layers = [keras.layers.Embedding(9, 3, mask_zero=True), keras.layers.SimpleRNN(3, return_sequences=True)]
    last = keras.layers.TimeDistributed(keras.layers.Dense(1, activation="sigmoid"))
    return keras.Sequential([keras.Input([WORDS], dtype="int32"), *layers, last])


def metrics(prefix: str) -> dict[str, keras.Metric]:
    kinds = [keras.metrics.BinaryAccuracy, keras.metrics.MeanAbsoluteError, keras.metrics.AUC]
    return {f"{prefix}{kind.__name__}": kind(name=f"{prefix}{kind.__name__}") for kind in kinds}


FEATURES, TEXTS = RNG.normal(size=[ROWS, 4]).astype("float32"), RNG.integers(0, 4, size=[ROWS, WORDS])
LABELS, TAGS = (RNG.random([ROWS, 1]) > 0.5).astype("float32"), (RNG.random([ROWS, WORDS, 1]) > 0.5).astype("float32")
CASES = {
    "no weights": (dense, (FEATURES, LABELS)),
    "weights": (dense, (FEATURES, LABELS, WEIGHTS)),
    "a mask": (masked, (TEXTS, TAGS)),
    "a mask and weights of words": (masked, (TEXTS, TAGS, RNG.random([ROWS, WORDS]).astype("float32"))),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_and_metrics_are_those_of_fit(case: str) -> None:
    build, batch = CASES[case]
    loss = keras.losses.BinaryCrossentropy()
    keras.utils.set_random_seed(1)
    theirs, plain, weighted = build(), [*metrics("").values()], [*metrics("weighted_").values()]
    theirs.compile(keras.optimizers.SGD(0.1), loss, metrics=plain, weighted_metrics=weighted)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    given = {"sample_weight": sample_weight, "validation_data": batch, "validation_batch_size": 7}
    history = theirs.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, **given).history

    keras.utils.set_random_seed(1)
    model, optimizer = build(), keras.optimizers.SGD(0.1)
    both = {"metrics": metrics(""), "weighted_metrics": metrics("weighted_")}
    train_step, eval_step = supervised(model, optimizer, loss, **both)
    evaluation = Evaluation(eval_step, ArrayData(batch, batch_size=7, shuffle=False))
    data, state = ArrayData(batch, batch_size=8, shuffle=False), {"model": model, "optimizer": optimizer}
    result = Loop(train_step, data, state=state, evaluate=evaluation).run(epochs=2)
    history["learning_rate"] = [0.1, 0.1]
    assert result.logs == pytest.approx({name: values[-1] for name, values in history.items()}, rel=1e-5)
    assert {*result.history} == {*history}
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]
    logs = result.logs
    assert (logs["MeanAbsoluteError"] == logs["weighted_MeanAbsoluteError"]) == (sample_weight is None)


def test_names_and_metrics_are_each_given_once() -> None:
    accuracy, other = keras.metrics.BinaryAccuracy(), keras.metrics.BinaryAccuracy()

    def steps(**given: object) -> object:
        return supervised(dense(), keras.optimizers.SGD(), keras.losses.MeanSquaredError(), **given)

    both = {"metrics": {"a": accuracy}, "weighted_metrics": {"a": other}}
    for given, message in [
        (both, r"two values as 'a' \(metrics=... and weighted_metrics=...\).* such as 'weighted_a'"),
        ({"metrics": {"loss": accuracy}}, "two values as 'loss', which is one of its own.* such as 'weighted_loss'"),
        ({"weighted_metrics": {"grad_norm": accuracy}, "clip_norm": 1.0}, "two values as 'grad_norm'"),
        ({"metrics": {"a": accuracy}, "weighted_metrics": {"b": accuracy}}, r"updated twice.*\['b'\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            steps(**given)
    with pytest.raises(TypeError, match=r"weighted_metrics=...\) needs a dict.*Received: \["):
        steps(weighted_metrics=[accuracy])
    train_step, eval_step = steps(metrics={"grad_norm": accuracy}, weighted_metrics={"a": other})
    assert [*train_step.metrics] == [*eval_step.metrics] == ["grad_norm", "a"]
    assert train_step.metrics["a"] is other


def given_to_fit(loss: object) -> float:
    """Returns the loss of `fit` over the weighted rows, in one batch."""
    keras.utils.set_random_seed(1)
    model = one()
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model.fit(FEATURES, LABELS, sample_weight=WEIGHTS, batch_size=ROWS, verbose=0).history["loss"][0]


def one() -> keras.Model:
    return keras.Sequential([keras.Input([4]), keras.layers.Dense(1)])


def of_supervised(loss: object) -> float:
    keras.utils.set_random_seed(1)
    model, optimizer = one(), keras.optimizers.SGD(0.0)
    step, _ = supervised(model, optimizer, loss)
    data = ArrayData((FEATURES, LABELS, WEIGHTS), batch_size=ROWS)
    return Loop(step, data, state={"model": model, "optimizer": optimizer}).run(epochs=1).logs["loss"]


def two(y: object, p: object) -> object:
    return keras.ops.mean((y - p) ** 2, axis=-1)


def focal(y: object, p: object, gamma: float = 2.0) -> object:
    return keras.ops.mean(abs(y - p) ** gamma, axis=-1)


def by_keyword(y: object, p: object, *, sample_weight: object = None) -> object:
    return keras.losses.MeanSquaredError()(y, p, sample_weight)


def late(y: object, p: object, gamma: float = 2.0, sample_weight: object = None) -> object:
    return keras.losses.MeanSquaredError()(y, p, sample_weight)


@functools.wraps(focal)
def decorated(*args: object, **kwargs: object) -> object:
    return focal(*args, **kwargs)


class Called:
    def __call__(self, y: object, p: object, alpha: float = 0.5) -> object:
        return two(y, p)


@pytest.mark.parametrize(
    "loss", [two, focal, by_keyword, late, decorated, functools.partial(keras.losses.binary_crossentropy), Called()]
)
def test_a_loss_that_would_lose_the_weights_is_refused_with_what_works(loss: object) -> None:
    with pytest.raises(TypeError, match=r"is called as loss\(y, prediction, sample_weight\)") as refused:
        supervised(one(), keras.optimizers.SGD(), loss)
    remedy = re.search(r"Write loss=(.*?)(, which Keras weights.*)?\.$", str(refused.value))
    assert remedy is not None
    name = getattr(loss, "__name__", "loss")
    written = eval(remedy[1], {**globals(), "loss": loss, name: loss})  # noqa: S307
    expected = loss if "lambda self" in remedy[1] else keras.losses.MeanSquaredError()
    assert of_supervised(written) == pytest.approx(given_to_fit(expected), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, p, w: by_keyword(y, p, sample_weight=w),
        lambda y, p, w=None: by_keyword(y, p, sample_weight=w),
        lambda y, p, weights=None: by_keyword(y, p, sample_weight=weights),
        lambda *args: keras.losses.MeanSquaredError()(*args),
        functools.partial(lambda scale, y, p, w: scale * by_keyword(y, p, sample_weight=w), 1.0),
        functools.partial(keras.losses.MeanSquaredError()),
        tf.function(lambda y, p, sample_weight=None: by_keyword(y, p, sample_weight=sample_weight)),
    ],
)
def test_a_loss_that_takes_the_weights_third_gets_them(loss: Callable[..., object]) -> None:
    supervised(one(), keras.optimizers.SGD(), loss)
    y, p, w = LABELS, LABELS + 1 + FEATURES[:, :1], WEIGHTS
    assert float(loss(y, p, w)) == pytest.approx(float(keras.losses.MeanSquaredError()(y, p, w)))


def ran(
    model: keras.Model, loss: object, data: object, optimizer: keras.optimizers.Optimizer | None = None
) -> dict[str, float]:
    """Returns the logs of an epoch."""
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    step, _ = supervised(model, optimizer, loss)
    return Loop(step, data, state={"model": model, "optimizer": optimizer}).run(epochs=1).logs


def rows(arrays: object) -> ArrayData:
    return ArrayData(arrays, batch_size=ROWS)


def outputs(kind: type) -> keras.Model:
    x = keras.Input([4])
    both = {"a": keras.layers.Dense(1)(x), "b": keras.layers.Dense(1)(x)}
    return keras.Model(x, both if kind is dict else [*both.values()])


MSE = keras.losses.MeanSquaredError()
MISTAKES = {
    "several losses": (one, [MSE, MSE], (FEATURES, LABELS), r"takes one loss.*Write loss=lambda y, p, w: first"),
    "losses by name": (one, {"a": MSE}, (FEATURES, LABELS), r"takes one loss.*Write loss=lambda y, p, w: first"),
    "a metric": (one, keras.metrics.MeanSquaredError(), (FEATURES, LABELS), r"Write keras.losses.MeanSquaredError\(\)"),
    "a list of outputs": (
        lambda: outputs(list),
        MSE,
        (FEATURES, (LABELS, LABELS)),
        "one output.*lambda y, p, w: first",
    ),
    "outputs by name": (lambda: outputs(dict), MSE, (FEATURES, {"a": LABELS, "b": LABELS}), "with keys for a dict"),
    "two outputs, one y": (lambda: outputs(list), MSE, (FEATURES, LABELS), "one output.*lambda y, p, w: first"),
    "no reduction": (
        one,
        keras.losses.MeanSquaredError(reduction="none"),
        (FEATURES, LABELS),
        r"scalar of shape \[\]. Received: shape \(.*,\). Give the loss reduction='sum_over_batch_size', or return",
    ),
    "a vector": (one, lambda y, p, w: two(y, p), (FEATURES, LABELS), r"or return tf.reduce_mean\(...\) from it"),
    "four": (one, MSE, (FEATURES, FEATURES, LABELS, WEIGHTS), r"needs batches \(x, y\).*\(\(a, b\), y\)"),
    "names": (
        one,
        MSE,
        {"x": FEATURES, "y": LABELS},
        r"Write ArrayData\(\(x, y\), ...\).*\(batch\['x'\], batch\['y'\]\)",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_supervised_does_not_take_is_named_with_what_it_takes(case: str) -> None:
    build, loss, arrays, message = MISTAKES[case]
    with pytest.raises((TypeError, ValueError), match=message):
        ran(build(), loss, rows(arrays))


@pytest.mark.parametrize(("kind", "keys"), [(list, (0, 1)), (dict, ("a", "b"))])
def test_the_losses_of_two_outputs_are_added_by_a_function(kind: type, keys: tuple[object, object]) -> None:
    first = second = MSE
    a, b = keys
    y = {"a": LABELS, "b": LABELS} if kind is dict else (LABELS, LABELS)
    logs = ran(outputs(kind), lambda y, p, w: first(y[a], p[a], w) + second(y[b], p[b], w), rows((FEATURES, y)))
    assert logs["loss"] > 0


def test_a_metric_that_a_step_returns_is_named() -> None:
    metric = keras.metrics.Mean()

    def step(batch: object) -> dict[str, object]:
        metric.update_state(batch[0])
        return {"m": metric}

    with pytest.raises(TypeError, match=r"'m' is a metric. Write Step\(step, metrics=\{'m': metric\}\), and leave"):
        Loop(step, rows((FEATURES,)), state={}).run(epochs=1)
    written = Step(lambda batch: metric.update_state(batch[0]), metrics={"m": metric})
    with pytest.raises(TypeError, match=r"read-only: a loop knows a step's metrics.*Step\(function, metrics="):
        written.metrics["other"] = metric
    assert Loop(written, rows((FEATURES,)), state={}).run(epochs=1).logs["m"] == pytest.approx(FEATURES.mean())


@pytest.mark.parametrize("scaled", [False, True])
def test_averages_that_nobody_uses_are_told_and_the_remedy_does_what_fit_does(
    scaled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def averaging(**given: int) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, **given)
        return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer

    keras.utils.set_random_seed(1)
    theirs = one()
    theirs.compile(averaging(), MSE)
    theirs.fit(FEATURES, LABELS, batch_size=8, epochs=1, shuffle=False, verbose=0)
    keras.utils.set_random_seed(1)
    model, optimizer = one(), averaging()
    ran(model, MSE, ArrayData((FEATURES, LABELS), batch_size=8, shuffle=False), optimizer)
    said = [record.getMessage()[:36] for record in caplog.records if record.name == "exactloop"]
    assert said == ["The optimizer averages the variables"]
    optimizer.finalize_variable_values(model.trainable_variables)  # as the message says
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]
    caplog.clear()
    supervised(one(), averaging(ema_overwrite_frequency=2), MSE)
    assert [record for record in caplog.records if record.name == "exactloop"] == []
