"""Supervised learning as Keras has it: the same weights, losses and metrics as `fit`."""

import functools
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from sums import in_order

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, Hook, Loop, Step, supervised

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
    with in_order():
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
    with pytest.raises(TypeError, match=r"weighted_metrics=...\) needs a dict.*Received: BinaryAccuracy"):
        steps(weighted_metrics=accuracy)
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


@pytest.mark.more
@pytest.mark.parametrize("loss", [by_keyword, late])
def test_a_loss_that_would_lose_the_weights_is_refused_with_what_works(loss: object) -> None:
    with pytest.raises(
        TypeError, match=r"is called as loss\(y, prediction\), or loss\(y, prediction, sample_weight"
    ) as refused:
        supervised(one(), keras.optimizers.SGD(), loss)
    remedy = re.search(r"Write loss=(.*?)\.$", str(refused.value))
    assert remedy is not None
    written = eval(remedy[1], {**globals(), loss.__name__: loss})  # noqa: S307
    assert of_supervised(written) == pytest.approx(given_to_fit(keras.losses.MeanSquaredError()), rel=1e-5)


FUNCTIONS = [two, focal, decorated, functools.partial(keras.losses.binary_crossentropy, from_logits=True), Called()]


@pytest.mark.parametrize(
    "loss", [two, *(pytest.param(each, marks=pytest.mark.more) for each in (*FUNCTIONS[1:], "mse", "crossentropy"))]
)
def test_functions_of_two_arguments_and_names_are_weighted_as_in_fit(loss: object) -> None:
    assert of_supervised(loss) == pytest.approx(given_to_fit(loss), rel=1e-5)


@pytest.mark.more
def test_a_function_with_one_value_is_refused_where_a_mask_would_be_applied_and_the_remedy_works() -> None:
    def masked(y: Any, p: Any, weights: object = None) -> Any:
        seen = keras.ops.cast(y != 0, "float32")
        return keras.ops.sum(keras.losses.sparse_categorical_crossentropy(y, p) * seen) / keras.ops.sum(seen)

    def network() -> keras.Model:
        layers = [keras.layers.Embedding(5, 3, mask_zero=True), keras.layers.Dense(5, activation="softmax")]
        return keras.Sequential([keras.Input([3]), *layers])

    words = np.array([[1, 2, 0], [3, 0, 0]])
    data = [rows((words, words)) for _ in range(2)]
    with pytest.raises(ValueError, match=r"nor the mask that layers such as Embedding\(mask_zero=True\) hand on"):
        ran(network(), lambda y, p: masked(y, p), data[0])
    model = network()
    values = ran(model, masked, data[1], keras.optimizers.SGD(0.0))
    assert values["loss"] == pytest.approx(float(masked(words, model(words))))


def test_a_function_with_one_value_is_refused_where_it_would_be_weighted() -> None:
    def whole(y: object, p: object) -> object:
        return keras.ops.mean((y - p) ** 2)

    assert ran(one(), whole, rows((FEATURES, LABELS)))["loss"] > 0
    with pytest.raises(ValueError, match=r"weights to a loss that has one value.*a third argument: loss\(y, pred"):
        of_supervised(whole)


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
    both = {"a": keras.layers.Dense(1, name="p")(x), "b": keras.layers.Dense(1, name="q")(x)}
    return keras.Model(x, both if kind is dict else [*both.values()])


def nested() -> keras.Model:
    x = keras.Input([4])
    return keras.Model(x, {"a": keras.layers.Dense(1)(x), "n": [keras.layers.Dense(1)(x)]})


MSE = keras.losses.MeanSquaredError()
MISTAKES = {
    "several losses": (one, [MSE, MSE], (FEATURES, LABELS), "has losses by output, and the model returns one tensor"),
    "losses by name": (one, {"a": MSE}, (FEATURES, LABELS), "by output.*one tensor: float32 .*Give one loss"),
    "three losses": (
        lambda: outputs(list),
        [MSE, MSE, MSE],
        (FEATURES, (LABELS, LABELS)),
        r"needs a loss for output 'p'. Received: 3, for the outputs \['p', 'q'\]",
    ),
    "a loss of another output": (
        lambda: outputs(dict),
        {"a": MSE, "c": MSE},
        (FEATURES, {"a": LABELS, "b": LABELS}),
        r"has a loss for an output 'c', which is not there. Received: \['a', 'c'\], for the outputs \['a', 'b'\]",
    ),
    "no labels of an output": (
        lambda: outputs(dict),
        {"a": MSE, "b": MSE},
        (FEATURES, {"a": LABELS, "c": LABELS}),
        r"needs labels for output 'b'. Received: \['a', 'c'\]",
    ),
    "two outputs, one y": (
        lambda: outputs(list),
        MSE,
        (FEATURES, LABELS),
        "needs labels for output 'p'.*: one, for",
    ),
    "outputs within others": (
        nested,
        MSE,
        (FEATURES, {"a": LABELS, "n": (LABELS,)}),
        "takes losses of outputs in one list or dict.*deeper.*lambda y, p, w: first",
    ),
    "a metric": (one, keras.metrics.MeanSquaredError(), (FEATURES, LABELS), r"Write keras.losses.MeanSquaredError\(\)"),
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


@pytest.mark.more
@pytest.mark.parametrize("case", MISTAKES)
def test_what_supervised_does_not_take_is_named_with_what_it_takes(case: str) -> None:
    build, loss, arrays, message = MISTAKES[case]
    with pytest.raises((TypeError, ValueError), match=message):
        ran(build(), loss, rows(arrays))


@pytest.mark.more
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


@pytest.mark.more
@pytest.mark.parametrize(("scaled", "overwrites"), [(False, None), (True, None), (False, 2)])
def test_averages_that_nobody_uses_are_told_and_the_remedy_does_what_fit_does(
    scaled: bool, overwrites: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    def averaging() -> keras.optimizers.Optimizer:
        given = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": overwrites}
        optimizer = keras.optimizers.SGD(0.1, **given)
        return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer

    keras.utils.set_random_seed(1)
    theirs = one()
    theirs.compile(averaging(), MSE)
    with in_order():
        theirs.fit(FEATURES, LABELS, batch_size=8, epochs=1, shuffle=False, verbose=0)
    keras.utils.set_random_seed(1)
    model, optimizer = one(), averaging()
    ran(model, MSE, ArrayData((FEATURES, LABELS), batch_size=8, shuffle=False), optimizer)
    said = [record.getMessage()[:36] for record in caplog.records if record.name == "exactloop"]
    assert said == ["The optimizer averages the variables"]
    assert [v.numpy().tobytes() for v in model.weights] != [v.numpy().tobytes() for v in theirs.weights]
    optimizer.finalize_variable_values(model.trainable_variables)  # as the message says
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]
    caplog.clear()
    supervised(one(), keras.optimizers.SGD(0.1), MSE)
    assert [record for record in caplog.records if record.name == "exactloop"] == []


class Compiled(NamedTuple):
    """What is given to `compile` and to `supervised` alike, and the arrays."""

    build: Callable[[], keras.Model]
    given: dict[str, Any]
    arrays: tuple[Any, ...]
    of_fit: Mapping[str, Any] = types.MappingProxyType({})


def named_outputs() -> keras.Model:
    x = keras.Input([4])
    return keras.Model(
        x,
        {"first": keras.layers.Dense(1, activation="sigmoid")(x), "second": keras.layers.Dense(1, name="other")(x)},
    )


class Late(keras.Model):
    """Two outputs whose names nobody knows before it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = keras.layers.Dense(1, activation="sigmoid"), keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return {"first": self.first(x), "second": self.second(x)}


SUMS = FEATURES.sum(axis=1, keepdims=True)
ONE_HOT = np.eye(3, dtype="float32")[RNG.integers(0, 3, [ROWS])]
BY_NAME = {"first": LABELS, "second": SUMS}
OF_BOTH = {
    "loss": {"first": "binary_crossentropy", "second": two},
    "loss_weights": {"first": 0.3, "second": 2.0},
    "metrics": {"first": ["accuracy", "mae"], "second": "mse"},
    "weighted_metrics": {"first": ["accuracy"]},
}
COMPILED = {
    "names": Compiled(
        lambda: keras.Sequential([keras.Input([4]), keras.layers.Dense(3, activation="softmax")]),
        {"loss": "categorical_crossentropy", "metrics": ["accuracy", two, "top_k_categorical_accuracy"]},
        (FEATURES, ONE_HOT, WEIGHTS),
    ),
    "a weight": Compiled(
        one, {"loss": "mse", "loss_weights": 0.3, "weighted_metrics": ["mae"]}, (FEATURES, LABELS, WEIGHTS)
    ),
    "classes": Compiled(
        one,
        {"loss": "mse", "weighted_metrics": ["mae"]},
        (FEATURES, LABELS),
        {"class_weight": {0: 1.0, 1: 4.0}},
    ),
    "by name": Compiled(
        named_outputs, OF_BOTH, (FEATURES, BY_NAME, {"first": WEIGHTS, "second": WEIGHTS[::-1].copy()})
    ),
    "weights for all": Compiled(Late, OF_BOTH, (FEATURES, BY_NAME, WEIGHTS)),
    "in order": Compiled(
        lambda: outputs(list),
        {"loss": ["mae", "mse"], "loss_weights": [1.0, 0.5], "metrics": [["mae"], ["mae", "mse"]]},
        (FEATURES, (LABELS, SUMS)),
    ),
    "one for all": Compiled(
        lambda: outputs(list), {"loss": "mse", "metrics": ["mae", "mse"]}, (FEATURES, (LABELS, SUMS))
    ),
    "one of two": Compiled(
        named_outputs, {"loss": {"second": "mse"}, "metrics": {"second": ["mae"]}}, (FEATURES, BY_NAME)
    ),
}


@pytest.mark.more
@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of the output that has no loss
@pytest.mark.parametrize("case", COMPILED)
def test_what_compile_takes_gives_what_fit_gives(case: str) -> None:
    build, given, arrays, of_fit = COMPILED[case]
    keras.utils.set_random_seed(1)
    theirs = build()
    copied = {
        n: [keras.metrics.AUC(name="auc") if isinstance(v, keras.Metric) else v for v in g]
        if isinstance(g, list)
        else g
        for n, g in given.items()
    }
    theirs.compile(keras.optimizers.SGD(0.1), **copied)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(arrays)
    sizes = {"batch_size": 8, "validation_batch_size": 7}
    data = {"sample_weight": sample_weight, "validation_data": arrays}
    history = theirs.fit(x, y, epochs=2, shuffle=False, verbose=0, **sizes, **data, **of_fit).history

    keras.utils.set_random_seed(1)
    model, optimizer = build(), keras.optimizers.SGD(0.1)
    train_step, eval_step = supervised(model, optimizer, **given, **of_fit)
    evaluation = Evaluation(eval_step, ArrayData(arrays, batch_size=7, shuffle=False))
    state = {"model": model, "optimizer": optimizer}
    loop = Loop(train_step, ArrayData(arrays, batch_size=8, shuffle=False), state=state, evaluate=evaluation)
    found = loop.run(epochs=2).history
    assert {*found} - {"learning_rate"} == {*history}
    # Keras' means of these do not count the examples in a batch, and so are no parts of its loss.
    right = [name for name in history if not re.fullmatch("(val_)?(?!val_loss).*_loss", name)]
    assert {name: found[name] for name in right} == {n: pytest.approx(history[n], abs=1e-6) for n in right}
    assert [v.numpy() for v in model.weights] == [pytest.approx(v.numpy(), abs=1e-7) for v in theirs.weights]
    weights = given.get("loss_weights")
    factors = dict(zip("pq", weights, strict=True)) if isinstance(weights, list) else weights or {}
    parts = [name for name in history if name not in right and name[:4] != "val_"]
    total = sum(factors.get(name[:-5], 1.0) * np.array(found[name]) for name in parts)
    assert not parts or total == pytest.approx(np.array(found["loss"]), abs=1e-6)


class InOrder(Late):
    """The same in a list: outputs that have no names."""

    def call(self, x: Any) -> Any:
        return [*super().call(x).values()]


def named() -> keras.Model:
    x = keras.Input([4])
    return keras.Model(x, keras.layers.Dense(1, activation="sigmoid", name="d")(x))


ALONE = {
    "in lists": (named, {"loss": ["mse"], "loss_weights": [0.3], "metrics": [["mae", "mse"]]}),
    "by its name": (named, {"loss": {"d": "mse"}, "loss_weights": {"d": 0.3}, "metrics": {"d": ["mae", "mse"]}}),
    "its weight by name": (named, {"loss": "mse", "loss_weights": {"d": 0.3}, "weighted_metrics": {"d": ["mae"]}}),
    "no names": (InOrder, {"loss": ["mse", "mae"], "loss_weights": [0.3, 2.0], "metrics": [["mae"], ["mse", "mae"]]}),
}


@pytest.mark.parametrize("case", ALONE)
def test_what_is_given_for_one_output_or_for_some_without_names_is_used_as_compile_uses_it(case: str) -> None:
    build, given = ALONE[case]
    several = build is InOrder
    y = [LABELS, SUMS] if several else LABELS
    keras.utils.set_random_seed(1)
    theirs = build()
    theirs.compile(keras.optimizers.SGD(0.1), run_eagerly=True, **given)
    wanted = theirs.train_on_batch(FEATURES, y, return_dict=True)
    keras.utils.set_random_seed(1)
    model = build()
    step, _ = supervised(model, keras.optimizers.SGD(0.1), **given)
    found = step.function((tf.constant(FEATURES), tf.nest.map_structure(tf.constant, y)))
    found |= {name: metric.result() for name, metric in step.metrics.items()}
    if several:  # Keras calls them mae_loss, mae_1 and so on
        found = dict(zip(["loss", "mse_loss", "mae_loss", "mae", "mse", "mae_1"], found.values(), strict=True))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(wanted, abs=1e-6)
    assert [v.numpy() for v in model.weights] == [pytest.approx(v.numpy(), abs=1e-7) for v in theirs.weights]


LISTED = {
    "labels": ("mse", [LABELS], None),
    "labels and weights, of a class": (MSE, (LABELS,), [WEIGHTS]),
    "weights alone": ("binary_crossentropy", LABELS, [WEIGHTS]),
    "of a function": (two, LABELS, [WEIGHTS]),
}


@pytest.mark.parametrize("case", LISTED)
def test_labels_and_weights_of_the_only_output_may_be_alone_in_a_list(case: str) -> None:
    loss, y, weights = LISTED[case]
    given = {
        "loss": loss,
        "metrics": ["accuracy", keras.metrics.MeanSquaredError("error")],
        "weighted_metrics": ["mae"],
    }
    keras.utils.set_random_seed(1)
    theirs = named()
    theirs.compile(keras.optimizers.SGD(0.1), run_eagerly=True, **given)
    wanted = theirs.train_on_batch(FEATURES, y, sample_weight=weights, return_dict=True)
    keras.utils.set_random_seed(1)
    given["metrics"][1] = keras.metrics.MeanSquaredError("error")
    step, _ = supervised(model := named(), keras.optimizers.SGD(0.1), **given)
    batch = (FEATURES, y) if weights is None else (FEATURES, y, weights)
    found = step.function(tf.nest.map_structure(tf.constant, batch))
    found |= {name: metric.result() for name, metric in step.metrics.items()}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(wanted, abs=1e-6)
    assert [v.numpy() for v in model.weights] == [pytest.approx(v.numpy(), abs=1e-7) for v in theirs.weights]


def test_a_function_of_ones_own_gets_labels_as_they_are() -> None:
    def own(y: Any, prediction: Any) -> Any:
        return keras.ops.mean(abs(y[0] - prediction), axis=-1)

    step, _ = supervised(named(), keras.optimizers.SGD(0.1), own)
    assert step.function((tf.constant(FEATURES), [tf.constant(LABELS)]))["loss"].shape == ()


def test_a_metric_of_one_output_is_not_updated_with_all_of_them_as_one() -> None:
    batch = tf.constant(FEATURES), [tf.constant(LABELS), tf.constant(SUMS)]
    for metric in ("mae", "accuracy", keras.metrics.MeanSquaredError()):
        step, _ = supervised(InOrder(), keras.optimizers.SGD(), "mse", metrics=[metric])
        with pytest.raises(
            ValueError, match=r"which is of one output, and the model returns 2, .*loss=\['mse', 'mse'\]"
        ):
            step.function(batch)
    step, _ = supervised(InOrder(), keras.optimizers.SGD(), loss=["mse", "mse"], metrics=[["mae"], []])  # as advised
    step.function(batch)
    assert list(step.metrics) == ["0_mae"]

    def of_all(y: Any, prediction: Any) -> Any:
        return abs(y[0] - prediction[0]) + abs(y[1] - prediction[1])

    step, _ = supervised(InOrder(), keras.optimizers.SGD(), "mse", metrics=[of_all])
    step.function(batch)
    assert float(step.metrics["of_all"].result()) > 0


def test_weights_that_are_not_those_of_the_one_loss_are_refused() -> None:
    for weights in ({"d": 1.0, "e": 2.0}, {"e": 2.0}, [1.0, 2.0]):
        step, _ = supervised(named(), keras.optimizers.SGD(), "mse", loss_weights=weights)
        with pytest.raises(ValueError, match=r"needs one number for one loss. Received: .*2.0.\. Give a number"):
            step.function((tf.constant(FEATURES), tf.constant(LABELS)))


def test_weights_of_classes_take_the_place_of_other_weights() -> None:
    model, optimizer = one(), keras.optimizers.SGD()
    step, _ = supervised(model, optimizer, "mse", class_weight={1: 3})
    loop = Loop(step, rows((FEATURES, LABELS, WEIGHTS)), state={"model": model, "optimizer": optimizer})
    with pytest.raises(ValueError, match=r"takes the place of sample weights.*multiply these, in the data"):
        loop.run(epochs=1)


def accumulating(length: int, batch_size: int, hooks: Sequence[Hook] = (), **given: Any) -> Loop:
    keras.utils.set_random_seed(1)
    model, optimizer = one(), given.pop("optimizer", None) or keras.optimizers.SGD(0.1, momentum=0.9)
    step, _ = supervised(model, optimizer, "mse", accumulate=length, **given)
    data = ArrayData((FEATURES, LABELS, WEIGHTS), batch_size=batch_size, shuffle=False)
    return Loop(step, data, state={"model": model, "optimizer": optimizer}, hooks=hooks)


def weights_of(loop: Loop) -> list[Any]:
    return [v.numpy() for v in loop.state.weights().values()]


@pytest.mark.parametrize("given", [{}, pytest.param({"clip_norm": 0.05}, marks=pytest.mark.more)])
def test_accumulated_gradients_are_those_of_one_large_batch(given: dict[str, Any]) -> None:
    """The last of the three batches has seven rows, and counts for seven."""
    one_batch, three = accumulating(1, ROWS, **given), accumulating(3, 8, **given)
    assert three.audit() == []
    one_batch.run(steps=4)
    three.run(steps=14)
    before = weights_of(three)
    assert before == [pytest.approx(each, abs=1e-6) for each in weights_of(one_batch)]
    three.run(steps=15)
    assert [each.tolist() for each in weights_of(three)] != [each.tolist() for each in before]


@pytest.mark.parametrize("cuts", [[4, 10], pytest.param(range(1, 11), marks=pytest.mark.long)])
def test_a_window_goes_on_where_a_run_was_cut(cuts: Sequence[int], tmp_path: Path) -> None:
    """Three batches an epoch, and windows of four."""
    whole = accumulating(4, 8)
    ended = whole.run(steps=10)
    for steps in cuts:
        loop = accumulating(4, 8, [Checkpoint(tmp_path, Every(steps=1), background=False)])
        result = loop.run(steps=steps)
    assert (result.logs, result.history) == (ended.logs, ended.history)
    assert [v.tolist() for v in weights_of(loop)] == [v.tolist() for v in weights_of(whole)]
    assert [loop.state.variables[f"accumulated/{name}"].numpy() for name in ("batches", "examples")] == [2, 15]


@pytest.mark.more
def test_a_scaled_loss_is_accumulated_and_an_optimizer_that_accumulates_is_refused() -> None:
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    loop, plain = accumulating(2, 8, optimizer=scaling), accumulating(2, 8)
    loop.run(epochs=2)
    plain.run(epochs=2)
    assert int(scaling.iterations) == 3
    assert weights_of(loop) == [pytest.approx(each, abs=1e-6) for each in weights_of(plain)]
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps=2 would both accumulate. Leave one"):
        accumulating(2, 8, optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2))
    accumulating(1, 8, optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2))


def test_labels_of_other_structures_reach_a_function() -> None:
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0], [], [4.0]])
    x = tf.zeros([4, 4])

    def of_ragged(y: Any, p: Any) -> Any:
        return (tf.reduce_sum(y["r"], axis=1) - p[:, 0]) ** 2 + tf.reduce_sum(tf.sparse.to_dense(y["s"][0]), axis=1)

    sparse = tf.sparse.from_dense([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    data = tf.data.Dataset.from_tensor_slices((x, {"r": ragged, "s": (sparse,)})).batch(4)
    assert ran(one(), of_ragged, data)["loss"] == pytest.approx((1 + 25 + 0 + 16 + 3) / 4)
