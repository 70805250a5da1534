"""Supervised learning as Keras has it: the same weights, losses and metrics as `fit`."""

import functools
import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Evaluation, Loop, supervised

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
    logs = Loop(train_step, data, state=state, evaluate=evaluation).run(epochs=2).logs
    assert logs == pytest.approx({name: values[-1] for name, values in history.items()}, rel=1e-5)
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]
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
    remedy = re.search(r"Write loss=(.*?)(, which weights.*)?\.$", str(refused.value))
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
