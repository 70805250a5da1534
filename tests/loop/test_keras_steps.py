"""Compiled models: the numbers of `fit`, and what it does not do: go on in mid-epoch, evaluate beside training."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from sums import in_order
from tiny import bits

from hooks import Checkpoint, restore
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment, keras_steps, supervised

Layers, Metrics = keras.layers, keras.metrics
ROWS = 23  # in batches of 8, and of 7 when evaluated: the last ones are smaller
RNG = np.random.default_rng(1)
X = RNG.normal(size=[ROWS, 4]).astype("float32")
Y = (X[:, :1] * X[:, 1:2] > 0).astype("float32")
WEIGHTS = RNG.random([ROWS]).astype("float32")
NAMED = {"a": X, "b": X[:, :2] ** 2}
BOTH = {"first": Y, "second": X.sum(axis=1, keepdims=True)}
WEIGHTED = {"first": WEIGHTS, "second": WEIGHTS[::-1].copy()}


def network(*layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input([4]), *layers, Layers.Dense(1, activation="sigmoid", dtype="float32")])


def functional() -> keras.Model:
    model = network(Layers.Dense(5, activation="relu", kernel_regularizer="l2"), Layers.Dropout(0.3))
    given = {"metrics": ["accuracy", Metrics.AUC(name="auc")], "weighted_metrics": ["mae", "accuracy"]}
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "binary_crossentropy", **given)
    return model


class Subclassed(keras.Model):
    """Built when it is first called, with a metric of its own, which it updates and returns in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.norm, self.head = Layers.Dense(4), Layers.BatchNormalization(), Layers.Dense(1)
        self.spread = Metrics.Mean(name="spread")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.norm(self.hidden(x), training=training))

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.spread.update_state(keras.ops.std(y_pred))
        return super().compute_metrics(x, y, y_pred, sample_weight)


def subclassed() -> keras.Model:
    model = Subclassed()
    model.compile("rmsprop", "mse", metrics=["mae"])
    return model


def of_dicts() -> keras.Model:
    """Two inputs and two outputs by name, with losses, weights and metrics of their own."""
    inputs = {"a": keras.Input([4], name="a"), "b": keras.Input([2], name="b")}
    hidden = Layers.Dense(4, activation="tanh")(Layers.Concatenate()([inputs["a"], inputs["b"]]))
    outputs = {
        "first": Layers.Dense(1, activation="sigmoid", name="first")(hidden),
        "second": Layers.Dense(1, name="second")(hidden),
    }
    model = keras.Model(inputs, outputs)
    losses, metrics = {"first": "binary_crossentropy", "second": "mse"}, {"first": ["accuracy"], "second": ["mae"]}
    model.compile("adam", losses, loss_weights={"first": 0.3, "second": 2.0}, metrics=metrics)
    return model


class Added(keras.layers.Layer):
    """Adds a loss for each example, and keeps a metric of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.size = Metrics.Mean(name="size")

    def call(self, x: Any) -> Any:
        self.add_loss(0.1 * keras.ops.mean(x**2, axis=-1))
        self.size.update_state(keras.ops.mean(abs(x)))
        return x


def added_losses() -> keras.Model:
    model = network(Layers.Dense(4, activity_regularizer="l1"), Added())
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.BinaryCrossentropy(label_smoothing=0.1))
    return model


def mixed() -> keras.Model:
    """In float16 as a whole: `compile` makes a LossScaleOptimizer of its own."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network(Layers.Dense(8, activation="relu"))
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    return model


class Gan(keras.Model):
    """As on keras.io: two networks, two optimizers, trackers that its `metrics` lists, noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = keras.Sequential([keras.Input([2]), Layers.Dense(4)])
        self.judge = keras.Sequential([keras.Input([4]), Layers.Dense(4, activation="relu"), Layers.Dense(1)])
        self.seeds = keras.random.SeedGenerator(7)

    def compile(self, d_optimizer: Any, g_optimizer: Any, loss_fn: Any) -> None:
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn
        self.d_loss, self.g_loss = Metrics.Mean(name="d_loss"), Metrics.Mean(name="g_loss")

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.d_loss, self.g_loss]

    def both(self, real: Any, noise: Any) -> tuple[Any, Any]:
        made = self.maker(noise)
        said, ones = self.judge(made), tf.ones([tf.shape(real)[0], 1])
        return self.loss_fn(ones, self.judge(real)) + self.loss_fn(0 * ones, said), self.loss_fn(ones, said)

    def results(self, d_loss: Any, g_loss: Any) -> dict[str, Any]:
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}

    def train_step(self, data: Any) -> dict[str, Any]:
        real, _ = data
        with tf.GradientTape(persistent=True) as tape:
            noise = keras.random.normal([tf.shape(real)[0], 2], seed=self.seeds)
            d_loss, g_loss = self.both(real, noise)
        for network, optimizer, value in (
            (self.judge, self.d_optimizer, d_loss),
            (self.maker, self.g_optimizer, g_loss),
        ):
            weights = network.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        return self.results(d_loss, g_loss)

    def test_step(self, data: Any) -> dict[str, Any]:
        real, _ = data
        return self.results(*self.both(real, tf.fill([tf.shape(real)[0], 2], 0.3)))


def gan() -> keras.Model:
    model = Gan()
    model.compile(
        keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    return model


class Sampling(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(5)

    def call(self, mean: Any, log_var: Any) -> Any:
        return mean + keras.ops.exp(0.5 * log_var) * keras.random.normal(keras.ops.shape(mean), seed=self.seeds)


class Vae(keras.Model):
    """As on keras.io: no loss for `compile`, trackers listed by `metrics`, a step that returns their results."""

    def __init__(self) -> None:
        super().__init__()
        x = keras.Input([4])
        self.encoder, self.sample = keras.Model(x, [Layers.Dense(2)(x), Layers.Dense(2)(x)]), Sampling()
        self.decoder = keras.Sequential([keras.Input([2]), Layers.Dense(4)])
        self.total, self.kl = Metrics.Mean(name="total_loss"), Metrics.Mean(name="kl_loss")

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.total, self.kl]

    def losses_of(self, x: Any, draws: bool = False) -> tuple[Any, Any]:
        mean, log_var = self.encoder(x)
        z = self.sample(mean, log_var) if draws else mean
        kl = -0.5 * tf.reduce_mean(1 + log_var - tf.square(mean) - tf.exp(log_var))
        return tf.reduce_mean(keras.losses.mean_squared_error(x, self.decoder(z))) + kl, kl

    def train_step(self, data: Any) -> dict[str, Any]:
        x, _ = data
        with tf.GradientTape() as tape:
            total, kl = self.losses_of(x, draws=True)
        grads = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        return self.measured(total, kl)

    def test_step(self, data: Any) -> dict[str, Any]:
        return self.measured(*self.losses_of(data[0]))

    def measured(self, total: Any, kl: Any) -> dict[str, Any]:
        self.total.update_state(total)
        self.kl.update_state(kl)
        return {"loss": self.total.result(), "kl_loss": self.kl.result()}


def vae() -> keras.Model:
    model = Vae()
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    return model


class Distiller(keras.Model):
    """A frozen teacher, `compute_loss` of its own, `get_metrics_result()` returned by its own step."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = network(Layers.Dense(3)), network(Layers.Dense(3))
        self.teacher.trainable = False
        self.distilled = Metrics.Mean(name="distilled")

    def compile(self, alpha: float, **given: Any) -> None:
        super().compile(**given)
        self.alpha = alpha

    def call(self, x: Any) -> Any:
        return self.student(x)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        value = keras.ops.mean((self.teacher(x, training=False) - y_pred) ** 2)
        self.distilled.update_state(value)
        return self.alpha * value + super().compute_loss(x, y, y_pred, sample_weight)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            elif metric.name == "compile_metrics":
                metric.update_state(y, self(x))
        return self.get_metrics_result()


def distiller() -> keras.Model:
    model = Distiller()
    model.compile(0.3, optimizer="adam", loss="mse", metrics=["mae"])
    return model


class Kind(NamedTuple):
    """A way to make a model, and the arrays with which it is trained."""

    make: Callable[[], keras.Model]
    arrays: tuple[Any, ...] = (X, Y)


KINDS = {
    "gan": Kind(gan),
    "functional, weights": Kind(functional, (X, Y, WEIGHTS)),
    "subclassed": Kind(subclassed),
    "dicts": Kind(of_dicts, (NAMED, BOTH)),
    "dicts, weights": Kind(of_dicts, (NAMED, BOTH, WEIGHTED)),
    "added losses": Kind(added_losses),
    "mixed precision": Kind(mixed),
    "vae": Kind(vae),
    "distiller": Kind(distiller),
}


def made(make: Callable[[], keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(1)
    return make()


def loop_of(model: keras.Model, arrays: Any, hooks: Sequence[Hook] = (), **more: Any) -> Loop:
    train_step, eval_step = keras_steps(model)
    evaluation = Evaluation(eval_step, ArrayData(arrays, batch_size=7, shuffle=False))
    data = ArrayData(arrays, batch_size=8, shuffle=False)
    return Loop(train_step, data, state={"model": model}, evaluate=evaluation, hooks=hooks, **more)


def fitted(kind: Kind) -> tuple[keras.Model, dict[str, list[float]]]:
    model = made(kind.make)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(kind.arrays)
    given = {"sample_weight": sample_weight, "validation_data": kind.arrays, "validation_batch_size": 7}
    with in_order():
        return model, model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, **given).history


@pytest.mark.parametrize("kind", KINDS)
def test_weights_losses_and_metrics_are_those_of_fit(kind: str) -> None:
    theirs, history = fitted(KINDS[kind])
    model = made(KINDS[kind].make)
    loop = loop_of(model, KINDS[kind].arrays)
    assert loop.audit() == []
    found = loop.run(epochs=3).history
    rates = {name for name in found if name.startswith("learning_rate")}
    assert {*found} - rates == {*history}
    for name, values in history.items():
        assert found[name] == pytest.approx(values, abs=1e-6), name
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]


@pytest.mark.long
def test_xla_computes_what_fit_computes_with_it() -> None:
    arrays = KINDS["functional, weights"].arrays

    def make() -> keras.Model:
        model = functional()
        model._jit_compile = (
            True  # because Keras lets it be where operations are to be deterministic, as in these tests
        )
        return model

    theirs, history = fitted(Kind(make, arrays))
    model = made(make)
    loop = loop_of(model, arrays)
    assert loop.audit() == []
    found = loop.run(epochs=3).history
    assert {name: found[name] for name in history} == {n: pytest.approx(v, abs=1e-6) for n, v in history.items()}
    assert [v.numpy().tobytes() for v in model.weights] == [v.numpy().tobytes() for v in theirs.weights]


class Tiny(keras.Model):
    """One weight, by default with a mean, a value that is none, and several at once."""

    def __init__(self) -> None:
        super().__init__()
        self.w = self.add_weight(name="w", initializer="ones")
        self.mean = Metrics.Mean(name="mean")
        self.best = self.add_weight(name="best", initializer="zeros", trainable=False)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.w * x

    def train_step(self, data: Any) -> dict[str, Any]:
        value = tf.reduce_mean(data) * self.w
        self.mean.update_state(value)
        self.w.assign_add(0.5)
        return {"mean": self.mean.result(), "value": value, "several": {"pair": tf.stack([value, 2 * value])}}

    def test_step(self, data: Any) -> dict[str, Any]:
        self.mean.update_state(tf.reduce_mean(data) - self.w)
        return {"mean": self.mean.result()}


NUMBERS = np.arange(7.0, dtype="float32")  # in batches of 2: four steps an epoch, of which the last has one


def tiny(**given: Any) -> Tiny:
    model = Tiny()
    model.compile(**given)
    return model


def tiny_loop(model: Tiny, hooks: Sequence[Hook] = (), **more: Any) -> Loop:
    train_step, eval_step = keras_steps(model)
    evaluation = Evaluation(eval_step, ArrayData(NUMBERS, batch_size=3, shuffle=False))
    data = ArrayData(NUMBERS, batch_size=2, shuffle=False)
    return Loop(train_step, data, state={"model": model}, evaluate=evaluation, hooks=hooks, **more)


class Seen(Hook):
    """Notes what it is told at each step and evaluation."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[tuple[str, int], dict[str, float]] = {}

    def on_step_end(self, moment: Moment) -> None:
        self.logs[moment.event, moment.step] = dict(moment.logs)

    on_eval_end = on_epoch_end = on_step_end


@pytest.mark.more
def test_results_are_running_and_what_is_none_is_the_latest_as_in_fit(caplog: pytest.LogCaptureFixture) -> None:
    theirs, seen = tiny(), Seen()
    history = theirs.fit(NUMBERS, batch_size=2, epochs=2, shuffle=False, verbose=0).history
    loop = tiny_loop(tiny(), [seen])
    found = loop.run(epochs=2).history
    assert found["mean"] == pytest.approx(history["mean"])
    assert found["value"] == pytest.approx(history["value"])
    assert [seen.logs["step_end", step]["mean"] for step in (1, 2, 5)] == pytest.approx([0.5, 2.125, 1.5])
    assert seen.logs["step_end", 2]["pair/1"] == 2 * seen.logs["step_end", 2]["value"] == pytest.approx(7.5)
    told = [record.getMessage() for record in caplog.records if record.name == "exactloop"]
    assert len(told) == 1
    assert re.search(r"train_step of model 'tiny.*no result of a metric: value, pair/0, pair/1. As in fit", told[0])


@pytest.mark.more
def test_evaluations_leave_the_metrics_of_training_alone() -> None:
    """They are the same objects."""
    with_them, without = Seen(), Seen()
    model = tiny()
    loop, other = tiny_loop(tiny(), [with_them], eval_every=Every(steps=1)), tiny_loop(model, [without])
    loop.run(steps=6)
    other.run(steps=3)
    before = [np.asarray(v).tolist() for v in model.mean.variables]
    evaluated = other.evaluate()
    assert [np.asarray(v).tolist() for v in model.mean.variables] == before != [0.0, 0.0]
    other.run(steps=6)
    assert {at: logs for at, logs in with_them.logs.items() if at[0] == "step_end"} == {
        at: logs for at, logs in without.logs.items() if at[0] == "step_end"
    }
    assert evaluated == {"val_mean": pytest.approx(np.mean([1.0, 4.0, 6.0]) - 2.5)}
    assert with_them.logs["eval_end", 3] == evaluated


def test_evaluations_leave_a_metric_alone_that_only_training_updates() -> None:
    class Trains(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.trained, self.seen = keras.metrics.Mean(name="trained"), keras.metrics.Mean(name="seen")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x

        def train_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            self.trained.update_state(x)
            return {"trained": self.trained.result()}

        def test_step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            self.seen.update_state(x)
            return {"seen": self.seen.result()}

    model, x = Trains(), np.arange(8, dtype=np.float32)[:, None]
    model.compile("sgd")
    train_step, eval_step = keras_steps(model)
    evaluate = Evaluation(eval_step, ArrayData(x[:2], batch_size=2))
    data = ArrayData(x, batch_size=2, shuffle=False)
    loop = Loop(train_step, data, state={"model": model}, evaluate=evaluate, eval_every=Every(steps=3))
    loop.run(steps=3)
    assert (loop.evaluate(), float(model.trained.result())) == ({"val_seen": 0.5}, 2.5)
    history = loop.run(epochs=2).history
    assert (history["trained"], history["val_seen"]) == ([3.5, 3.5], [0.5, 0.5])


@pytest.mark.parametrize("cuts", [[3, 6, 9], pytest.param(range(1, 10), marks=pytest.mark.long)])
def test_a_run_that_is_cut_goes_on_in_the_middle_of_its_metrics(cuts: Sequence[int], tmp_path: Path) -> None:
    whole, cut = Seen(), Seen()
    ended = tiny_loop(tiny(), [whole], eval_every=Every(steps=2)).run(steps=9)
    for steps in cuts:
        checkpoint = Checkpoint(tmp_path, Every(steps=1), background=False)
        loop = tiny_loop(tiny(), [cut, checkpoint], eval_every=Every(steps=2))
        result = loop.run(steps=steps)
    assert cut.logs == whole.logs
    assert (result.logs, result.history) == (ended.logs, ended.history)


def test_what_cannot_be_run_is_refused_and_the_remedy_works(caplog: pytest.LogCaptureFixture) -> None:
    model = Tiny()
    for given, kind, message in [
        (network(), ValueError, r"is not compiled. Write model.compile\(optimizer='adam', loss='mse'\), say"),
        (Layers.Dense(1), TypeError, "needs a compiled keras.Model. Received: Dense"),
        (Tiny, TypeError, r"Write Tiny\(...\), and compile it"),
        (tiny(run_eagerly=True), ValueError, r"run_eagerly=True. Write model.run_eagerly = False before it"),
    ]:
        with pytest.raises(kind, match=message):
            keras_steps(given)
    with pytest.raises(TypeError, match=r"has no argument 'loss': write model.compile\(optimizer, loss"):
        keras_steps(model, loss="mse")
    model.compile(run_eagerly=True)
    model.run_eagerly = False
    keras_steps(model)
    assert not caplog.records
    keras_steps(tiny(steps_per_execution=4))
    assert [record.getMessage()[:21] for record in caplog.records] == ["steps_per_execution=4"]


def test_methods_of_a_model_that_nobody_calls_are_told(caplog: pytest.LogCaptureFixture) -> None:
    class Around(Tiny):
        def make_train_function(self, force: bool = False) -> Callable[..., object]:
            return super().make_train_function(force)

    around = Around()
    around.compile()
    keras_steps(around)
    supervised(Tiny(), keras.optimizers.SGD(), "mse")
    supervised(network(), keras.optimizers.SGD(), "mse")  # with nothing of its own
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "calls none of what it has around them: make_train_function." in said[0]
    assert "calls none of the model's own: train_step, test_step. To train as fit does, compile it" in said[1]


@pytest.mark.more
def test_a_model_that_is_compiled_again_is_noticed() -> None:
    model = tiny()
    loop = tiny_loop(model)
    loop.run(steps=1)
    model.compile("sgd")
    for go_on in (lambda: loop.run(steps=2), loop.evaluate):
        with pytest.raises(RuntimeError, match=r"was compiled again, or got another optimizer, after keras_steps"):
            go_on()
    assert tiny_loop(model).run(steps=2).step == 2


@pytest.mark.more
def test_weights_are_those_of_the_model_alone(tmp_path: Path) -> None:
    """Its optimizer is in the state through it, and is no weight; scripts that want weights need not compile."""
    model = network(Layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    loop = loop_of(model, (X, Y), [Checkpoint(tmp_path, background=False)])
    loop.run(epochs=1)
    assert {path for path in loop.state.variables if path.startswith("model/optimizer/_trainable")} == set()
    assert [id(v) for v in loop.state.weights().values()] == [id(v.value) for v in model.weights]
    plain = network(Layers.Dense(2))
    restore(tmp_path, {"model": plain})
    assert [v.numpy().tobytes() for v in plain.weights] == [v.numpy().tobytes() for v in model.weights]


class Accumulates(keras.Model):
    """As many have written it: sums of gradients in a list, and a random stream of TensorFlow's in a dict."""

    def __init__(self, length: int, *of_model: Any, **named: Any) -> None:
        super().__init__(*of_model, **named)
        self.length, self.batches = length, tf.Variable(0, trainable=False)
        self.sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self.trainable_variables]
        self.streams = {"noise": [tf.random.Generator.from_seed(1)]}

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        self.batches.assign_add(1)
        with tf.GradientTape() as tape:
            y_pred = self(x + self.streams["noise"][0].normal(tf.shape(x)), training=True)
            loss = self.compute_loss(x, y, y_pred)
        for own, gradient in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
            own.assign_add(gradient)
        tf.cond(self.batches % self.length == 0, self.apply, lambda: None)
        return self.compute_metrics(x, y, y_pred)

    def apply(self) -> None:
        self.optimizer.apply_gradients(zip(self.sums, self.trainable_variables, strict=True))
        for own in self.sums:
            own.assign(tf.zeros_like(own))


def accumulating() -> keras.Model:
    inputs = keras.Input([4])
    model = Accumulates(2, inputs, Layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.more
def test_variables_that_a_model_holds_in_lists_are_in_its_state(tmp_path: Path) -> None:
    def trained(steps: int, name: str) -> list[bytes]:
        model = made(accumulating)
        step, _ = keras_steps(model)
        data, hooks = ArrayData((X, Y), batch_size=8, shuffle=False), [Checkpoint(tmp_path / name)]
        Loop(step, data, state={"model": model}, hooks=hooks).run(steps=steps)
        return [v.numpy().tobytes() for v in (*model.weights, *model.sums, model.streams["noise"][0].state)]

    whole = trained(6, "whole")
    trained(3, "cut")  # in the middle of a sum
    assert trained(6, "cut") == whole


def test_optimizers_in_lists_are_named_and_the_remedy_works() -> None:
    class Listed(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.several = [keras.optimizers.SGD(0.1, momentum=0.9)]

        def train_step(self, data: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(data) * self.w
            self.several[0].apply(tape.gradient(value, [self.w]), [self.w])
            self.mean.update_state(value)
            return {"mean": self.mean.result()}

    model = Listed()
    model.compile()
    step, _ = keras_steps(model)
    found = Loop(step, ArrayData(NUMBERS, batch_size=2), state={"model": model}).audit()
    assert {finding.what.split(":")[1].strip().split("/")[0] for finding in found} == {"sgd"}
    assert "state={'model': ..., 'optimizer': ..." in found[0].instead
    state = {"model": model, "optimizer": model.several[0]}
    assert Loop(step, ArrayData(NUMBERS, batch_size=2), state=state).audit() == []


@pytest.mark.more
def test_callbacks_find_the_optimizer_and_know_what_is_better_of_the_metrics() -> None:
    class Rate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.model.optimizer.learning_rate = 0.5**epoch

    model = subclassed()
    stopping = keras.callbacks.EarlyStopping("val_mae", patience=1, min_delta=1e9)
    plateau = keras.callbacks.ReduceLROnPlateau(patience=99)  # of val_loss, of which the model keeps a mean
    result = loop_of(model, (X, Y), [Rate(), stopping, plateau]).run(epochs=9)
    assert (result.epoch, stopping.monitor_op, plateau.monitor_op) == (2, keras.ops.less, keras.ops.less)
    assert result.history["learning_rate"][1:] == [1.0]
    assert float(model.optimizer.learning_rate) == 0.5


@pytest.mark.long
def test_the_same_program_has_the_same_bits_however_often_it_is_made() -> None:
    """TensorFlow's optimizer of arithmetic adds three losses in another order from time to time."""
    ended = set[bytes]()
    for _ in range(12):
        loop = loop_of(made(vae), KINDS["vae"].arrays)
        loop.run(epochs=2)
        ended.add(b"".join(bits(loop).values()))
    assert len(ended) == 1


class SaysSo(keras.Model):
    """Built by its own word, before its layers are."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head, self.built = Layers.Dense(3), Layers.Dense(1), True

    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))


@pytest.mark.more
def test_a_model_that_says_too_early_that_it_is_built_is_trained() -> None:
    model = SaysSo()
    model.compile("sgd", "mse")
    found = loop_of(model, (X, Y)).run(epochs=2).history["loss"]
    assert found[1] < found[0]
    model, optimizer = SaysSo(), keras.optimizers.SGD()
    step, _ = supervised(model, optimizer, "mse")
    loop = Loop(step, ArrayData((X, Y), batch_size=8), state={"model": model, "optimizer": optimizer})
    found = loop.run(epochs=2).history["loss"]
    assert found[1] < found[0]
