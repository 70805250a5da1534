"""What a script changes in Python after the steps were compiled is never left out without a word."""

import dataclasses
import itertools
import logging
import types
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, supervised

Change = Callable[[], object]
X = np.random.default_rng(1).normal(size=[12, 3]).astype("float32")
OTHERWISE = "would be compiled otherwise now, because Python has changed since"
SCALE = 1.0


def over(step: Callable, evaluate: Evaluation | None = None, **state: object) -> Loop:
    return Loop(step, ArrayData(X, batch_size=4, seed=1), state=state, evaluate=evaluate)


class Scaled(keras.layers.Layer):
    """A layer of the program's own: `scale` is compiled into it, `calls` is its own affair."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.calls, self.unused = scale, 0, 0
        self.weights_of_classes = np.ones([3], "float32")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.calls += 1
        return x * self.scaled(self.weights_of_classes)

    def scaled(self, by: np.ndarray) -> np.ndarray:
        return self.scale * by

    def set_scale(self, scale: float) -> None:
        self.scale = scale


class Trainer:
    """A step that is a method."""

    bias = 0.0

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        self.layers, self.beta, self.options = layers, 1.0, types.SimpleNamespace(gamma=1.0)
        self.table, self.epochs = {"delta": 1.0}, 0
        self.weight = tf.Variable(tf.ones([3]))

    def step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        for layer in self.layers:
            x = layer(x, training=True)
        x *= SCALE * self.beta * self.options.gamma * self.table["delta"]
        if self.epochs > 2:
            x += 1.0
        self.weight.assign_add(tf.reduce_mean(x, axis=0) + self.bias)
        return {"loss": tf.reduce_sum(self.weight)}


def trainer(*layers: keras.layers.Layer) -> tuple[Trainer, Loop]:
    mine = Trainer(list(layers))
    return mine, over(mine.step, weight=mine.weight, layers=list(layers))


def set_global(value: float) -> None:
    globals()["SCALE"] = value


@pytest.fixture(autouse=True)
def scale() -> Iterator[None]:
    yield
    set_global(1.0)


Kind = tuple[Loop, Change, str]


def changed(name: str) -> Kind:
    """Returns a loop, a change that the compiled step would not follow, and how that is told."""
    mine, loop = trainer()
    kinds: dict[str, tuple[Change, str]] = {
        "global": (lambda: set_global(2.0), "global: SCALE was 1.0, is 2.0 now"),
        "attribute": (lambda: setattr(mine, "beta", 0.5), "Trainer: beta was 1.0, is 0.5 now"),
        "attribute of the class": (lambda: setattr(mine, "bias", 0.5), "Trainer: bias was 0.0, is 0.5 now"),
        "options": (lambda: setattr(mine.options, "gamma", 3), "SimpleNamespace: gamma was 1.0, is 3 now"),
        "item": (lambda: mine.table.update(delta=3), "Trainer: table, a dict: item 'delta' was 1.0, is 3 now"),
        "threshold": (lambda: setattr(mine, "epochs", 5), "Trainer: epochs was 0, is 5 now"),
    }
    return (loop, *kinds[name])


OF_PYTHON = ["global", "attribute", "attribute of the class", "options", "item", "threshold"]


def changed_layer(name: str) -> Kind:
    dropout, scaled = keras.layers.Dropout(0.5), Scaled(2.0)
    dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), name="dense")
    batch_norm = keras.layers.BatchNormalization(name="bn")
    kinds: dict[str, tuple[keras.layers.Layer, Change, str]] = {
        "rate": (dropout, lambda: setattr(dropout, "rate", 0.1), "rate was 0.5, is 0.1 now"),
        "momentum": (batch_norm, lambda: setattr(batch_norm, "momentum", 0.1), "layer 'bn' (BatchNormalization): "
                     "momentum was 0.99, is 0.1 now"),
        "frozen batch norm": (batch_norm, lambda: setattr(batch_norm, "trainable", False), "trainable was True"),
        "activation": (dense, lambda: setattr(dense, "activation", tf.nn.relu), "activation is another function now"),
        "of its own": (scaled, lambda: scaled.set_scale(3.0), "(Scaled): scale was 2.0, is 3.0 now"),
        "an array of its own": (scaled, lambda: scaled.weights_of_classes.fill(7), "weights_of_classes was"),
        "policy": (dense, lambda: setattr(dense, "dtype_policy", "mixed_bfloat16"), "dtype_policy was float32"),
    }  # fmt: skip
    layer, change, told = kinds[name]
    return trainer(layer)[1], change, told


OF_LAYERS = ["rate", "momentum", "frozen batch norm", "activation", "of its own", "an array of its own",
             "policy"]  # fmt: skip


def refused(kind: Kind) -> None:
    loop, change, told = kind
    loop.run(steps=1)
    change()
    with pytest.raises(RuntimeError, match=OTHERWISE) as caught:
        loop.run(steps=2)
    assert str(caught.value).startswith("The train step would be")
    assert told in str(caught.value)
    assert loop.step == 1


@pytest.mark.parametrize("name", OF_PYTHON)
def test_what_the_step_reads_in_python_and_is_changed_is_named(name: str) -> None:
    refused(changed(name))


@pytest.mark.parametrize("name", OF_LAYERS)
def test_what_is_changed_of_a_layer_is_named(name: str) -> None:
    refused(changed_layer(name))


def test_a_layer_that_is_adapted_anew_is_named_with_the_cause() -> None:
    norm = keras.layers.Normalization(name="norm")
    norm.adapt(X)
    loop = trainer(norm)[1]
    loop.run(steps=1)
    norm.adapt(2 * X)
    with pytest.raises(RuntimeError, match="Layer 'norm' derives other values from variables than when this loop"):
        loop.run(steps=2)


def test_a_tf_function_of_the_program_does_not_hide_a_change() -> None:
    mine = Trainer([])
    loop = over(tf.function(mine.step), weight=mine.weight)
    refused((loop, lambda: setattr(mine, "beta", 0.5), "Trainer: beta was 1.0, is 0.5 now"))


def test_nor_does_a_method_that_is_one() -> None:
    class Compiled(Trainer):
        step_compiled = tf.function(Trainer.step)

    mine = Compiled([])
    loop = over(mine.step_compiled, weight=mine.weight)
    refused((loop, lambda: setattr(mine, "beta", 0.5), "Compiled: beta was 1.0, is 0.5 now"))


def test_what_makes_no_difference_to_what_is_compiled_is_accepted() -> None:
    scaled, dropout = Scaled(2.0), keras.layers.Dropout(0.5)
    mine, loop = trainer(scaled, dropout)
    loop.run(steps=1)
    for epoch in range(1, 3):
        mine.epochs = epoch  # below the threshold
        scaled.calls = scaled.unused = 100 + epoch
        scaled(X)
        dropout(X, training=True)
        dropout.rate = 0.1
        dropout.rate = 0.5
        scaled.weights_of_classes = np.ones([3], "float32")
        mine.bias = 0.0
        assert loop.run(steps=loop.step + 2).step == 1 + 2 * epoch
    mine.epochs = 3
    with pytest.raises(RuntimeError, match="Trainer: epochs was 2, is 3 now"):
        loop.run(steps=9)
    mine.epochs = 1
    assert loop.run(steps=9).step == 9


def network(*, frozen: bool, all_slots: bool = True) -> tuple[keras.Model, keras.Layer, keras.Optimizer]:
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, activation="relu")], name="backbone")
    model = keras.Sequential([keras.Input([3]), backbone, keras.layers.Dense(1)], name="whole")
    backbone.trainable = not frozen
    optimizer = keras.optimizers.Adam(1e-2, name="mine")
    if all_slots:
        optimizer.build(model.variables)
    return model, backbone, optimizer


def fitted(model: keras.Model, optimizer: keras.Optimizer, **arguments: object) -> Loop:
    train_step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
    rows = (X, X[:, :1])
    evaluation = Evaluation(eval_step, ArrayData(rows, batch_size=4, shuffle=False))
    state = {"model": model, "optimizer": optimizer}
    return Loop(train_step, ArrayData(rows, batch_size=4, seed=1), state=state, evaluate=evaluation, **arguments)


UNFROZEN = "The train step would be compiled .*\n  model 'backbone' .Sequential.: trainable was False, is True now\nNo"


@pytest.mark.parametrize("all_slots", [True, False])
def test_unfreezing_between_two_runs_is_refused_and_undoing_it_goes_on(all_slots: bool) -> None:
    model, backbone, optimizer = network(frozen=True, all_slots=all_slots)
    loop = fitted(model, optimizer)
    loop.run(epochs=1)
    before = [weight.numpy().tobytes() for weight in model.weights]
    backbone.trainable = True
    assert loop.evaluate().keys() == {"val_loss"}  # which is what it was
    with pytest.raises(RuntimeError, match=UNFROZEN):
        loop.run(epochs=2)
    assert [weight.numpy().tobytes() for weight in model.weights] == before
    backbone.trainable = False
    optimizer.learning_rate = 0.5  # a variable
    assert loop.run(epochs=2).epoch == 2


@pytest.mark.more
def test_unfreezing_in_a_hook_is_refused() -> None:
    model, backbone, optimizer = network(frozen=True)
    loop = fitted(model, optimizer)

    @loop.on(Event.EPOCH_END)
    def unfreeze(moment: object) -> None:
        backbone.trainable = True

    with pytest.raises(RuntimeError, match=UNFROZEN):
        loop.run(epochs=2)
    assert loop.step == 3


AT_ONCE = (Event.SETUP, Event.RUN_BEGIN)
HEARD = [*AT_ONCE, Event.EPOCH_BEGIN, Event.STEP_END, Event.EVAL_END, Event.EPOCH_END, Event.SETTLED]


@pytest.mark.more
@pytest.mark.parametrize("event", HEARD)
def test_a_change_in_a_hook_is_refused_before_another_step_and_before_it_is_saved(tmp_path: Path, event: Event) -> None:
    for _ in range(2):  # who starts again comes to the same point
        mine = Trainer([])
        evaluation = Evaluation(lambda x: {"x": x[0, 0]}, ArrayData(X, batch_size=4, shuffle=False))
        loop = over(mine.step, evaluation, weight=mine.weight)
        loop.hooks.add(Checkpoint(tmp_path / "checkpoints", Every(steps=1)))
        trained: list[int] = []

        def change(*told: object, mine: Trainer = mine, loop: Loop = loop) -> None:
            if loop.step >= 3 or event in AT_ONCE:
                mine.beta = 0.5

        loop.on(event, **({"every": At(3)} if event is Event.STEP_END else {}))(change)
        loop.on(Event.STEP_END, every=Every(steps=1))(lambda moment, trained=trained: trained.append(moment.step))
        with pytest.raises(RuntimeError, match=r"Trainer: beta was 1.0, is 0.5 now"):
            loop.run(epochs=3)
        last = 0 if event in AT_ONCE else 3
        assert (max(trained, default=last), loop.step) == (last, last)


@pytest.mark.more
def test_training_in_parts_as_the_message_says_goes_on_after_any_kill(tmp_path: Path) -> None:
    def script(*, epochs: int, stop: int = 100) -> list[bytes]:
        model, backbone, optimizer = network(frozen=True, all_slots=False)
        fitted(model, optimizer, hooks=[Checkpoint(f"{tmp_path}/{epochs}/frozen")]).run(epochs=epochs, steps=stop)
        if stop > 6:
            backbone.trainable = True
            second = fitted(model, keras.optimizers.Adam(1e-3), hooks=[Checkpoint(f"{tmp_path}/{epochs}/all")])
            second.run(epochs=epochs, steps=stop - 6)
        return [weight.numpy().tobytes() for weight in model.weights]

    script(epochs=2, stop=8)
    cut = script(epochs=2)
    (tmp_path / "2").rename(tmp_path / "cut")
    assert script(epochs=2) == cut


@pytest.mark.more
def test_what_is_done_with_a_model_between_runs_and_in_hooks_is_accepted(tmp_path: Path) -> None:
    model, backbone, optimizer = network(frozen=True)
    loop = fitted(model, optimizer)

    @loop.on(Event.EPOCH_END)
    def use(moment: object) -> None:
        weights = model.get_weights()
        model.predict(X, verbose=0)
        model(X, training=True)
        model.save(f"{tmp_path}/model.keras")
        model.save_weights(f"{tmp_path}/model.weights.h5")
        model.load_weights(f"{tmp_path}/model.weights.h5")
        model.summary(print_fn=lambda *text, **more: None)
        model.set_weights(weights)
        keras.models.clone_model(model)
        model.compile(optimizer="sgd", loss="mse")
        model.evaluate(X, X[:, :1], verbose=0)
        assert not backbone.trainable
        backbone.trainable = True
        backbone.trainable = False
        optimizer.learning_rate = 0.1

    loop.run(epochs=1)
    use(None)
    assert loop.run(epochs=2).epoch == 2


def test_a_change_that_concerns_only_an_evaluation_is_named_with_it() -> None:
    threshold = types.SimpleNamespace(at=0.5)
    evaluation = Evaluation(lambda x: {"above": tf.reduce_mean(tf.cast(x > threshold.at, tf.float32))},
                            ArrayData(X, batch_size=4, shuffle=False))  # fmt: skip
    loop = over(Trainer([]).step, evaluation, weight=tf.Variable(0.0))
    loop.evaluate()
    threshold.at = 0.7
    with pytest.raises(RuntimeError, match=r"^Evaluation 'val' would be .*\n  SimpleNamespace: at was 0.5, is 0.7 now"):
        loop.evaluate()
    threshold.at = 0.5
    assert loop.evaluate().keys() == {"val_above"}


@pytest.mark.parametrize("name", ["weight_decay", "learning_rate"])
def test_what_is_changed_of_an_optimizer_is_named(name: str) -> None:
    model, _, optimizer = network(frozen=True)
    loop = fitted(model, optimizer)
    loop.run(steps=1)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    setattr(optimizer, name, schedule if name == "learning_rate" else 0.25)
    with pytest.raises(RuntimeError, match=rf"optimizer 'mine' \(Adam\): {name} was .*, is .* now"):
        loop.run(steps=2)


def test_a_layer_that_is_exchanged_in_a_list_is_named() -> None:
    mine, loop = trainer(keras.layers.Dropout(0.5))
    loop.run(steps=1)
    mine.layers.append(Scaled(3.0))
    with pytest.raises(RuntimeError, match=r"Trainer: layers, a list: length was 1, is 2 now"):
        loop.run(steps=2)


@dataclasses.dataclass(slots=True)
class Options:
    """A configuration that has no dict."""

    gamma: float = 1.0
    other: object = None


def of_options(options: object, *, read: Callable[[], float]) -> Loop:
    """Returns a loop over a step that multiplies by what is read of some options; each epoch has three steps."""
    weight = tf.Variable(tf.ones([3]))

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign_add(tf.reduce_mean(x, axis=0) * read())
        return {"loss": tf.reduce_sum(weight)}

    return over(step, weight=weight)


@pytest.mark.more
@pytest.mark.parametrize("last", [1, 4, 6, 20])
def test_a_value_that_changes_at_each_epoch_is_refused_at_the_first_that_matters(tmp_path: Path, last: int) -> None:
    config = types.SimpleNamespace(epoch=0)
    loop = of_options(config, read=lambda: 1.0 if config.epoch < last else 0.1)
    loop.hooks.add(Checkpoint(tmp_path, keep=99))
    loop.on(Event.EPOCH_BEGIN)(lambda moment: setattr(config, "epoch", moment.epoch))
    with pytest.raises(RuntimeError, match=f"SimpleNamespace: epoch was {last - 1}, is {last} now"):
        loop.run(epochs=last + 3)
    assert (loop.epoch, loop.step) == (last, 3 * last)


def counted(matters: Container[int], *hooks: Hook) -> tuple[Loop, list[int]]:
    """Returns a loop whose step reads a counter of all steps, of which some matter, and when it was traced."""
    config, traced = types.SimpleNamespace(step=0), list[int]()

    def read() -> float:
        traced.append(config.step)
        return 0.1 if config.step in matters else 1.0

    loop = of_options(config, read=read)
    for hook in hooks:
        loop.hooks.add(hook)
    loop.on(Event.STEP_END, every=Every(steps=1))(lambda moment: setattr(config, "step", moment.step))
    return loop, traced


def test_a_value_that_changes_at_each_step_is_told_once_and_looked_at_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop, traced = counted(range(0))
    assert loop.run(epochs=12).step == 36
    told = [
        record.getMessage()
        for record in caplog.records
        if record.name == "exactloop" and record.levelno == logging.WARNING
    ]
    assert [line.partition(" changes again and again")[0] for line in told] == ["SimpleNamespace: step"]
    assert sorted({step for step in traced if step > 20}) == list(range(21, 37))
    assert loop.spent["tracing"] > 0


@pytest.mark.parametrize("limit", [2, 22, 29])
def test_what_matters_in_mid_epoch_alone_is_never_trained_nor_saved(tmp_path: Path, limit: int) -> None:
    loop, _ = counted(range(limit, limit + 1), Checkpoint(tmp_path, Every(steps=1), keep=99))
    with pytest.raises(RuntimeError, match=f"SimpleNamespace: step was {limit - 1}, is {limit} now"):
        loop.run(epochs=12)
    assert loop.step == limit
    saved = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("ckpt-*.json"))
    assert saved[-1] == limit - 1
    loop, _ = counted(range(limit, limit + 1))  # where nobody saves
    with pytest.raises(RuntimeError, match=f"SimpleNamespace: step was {limit - 1}, is {limit} now"):
        loop.run(epochs=12)


def test_values_that_were_seen_to_be_harmless_are_not_traced_again() -> None:
    config, traced = types.SimpleNamespace(on=False), itertools.count()
    loop = of_options(config, read=lambda: float(config.on is None) + 0.0 * next(traced))
    loop.on(Event.EPOCH_END)(lambda moment: setattr(config, "on", not config.on))
    loop.run(epochs=2)
    before = next(traced)
    assert loop.run(epochs=9).epoch == 9
    assert next(traced) == before + 1


def test_a_history_that_only_hooks_write_is_not_looked_at() -> None:
    mine, loop = trainer(Scaled(2.0))
    mine.history, mine.best = [], {"loss": 1.0}

    @loop.on(Event.EPOCH_END)
    def note(moment: object) -> None:
        mine.history.append(moment.logs["loss"])
        mine.best["loss"] = moment.logs["loss"]

    loop.run(epochs=1)
    calls = mine.layers[0].calls
    assert loop.run(epochs=4).epoch == 4
    assert mine.layers[0].calls == calls


CONTAINERS: dict[str, dict] = {
    "a list": {"h": [3, 3]}, "a dict": {"o": {"lr": 1}}, "a tuple": {"p": (1, (2,))}, "an array": {"w": np.ones(2)},
    "an object": {"o": Options()}, "a set": {"s": {1}},
}  # fmt: skip


@pytest.mark.parametrize("beside", CONTAINERS)
def test_an_item_is_watched_whatever_is_beside_it(beside: str) -> None:
    config = {"c": 1.0, **CONTAINERS[beside]}
    loop = of_options(config, read=lambda: config["c"])
    refused((loop, lambda: config.update(c=3.0), ": config, a dict: item 'c' was 1.0, is 3.0 now"))


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [(2, 2.0, "was 2, is 2.0 now"), (1, True, "was 1, is True now"), (0.0, -0.0, "was 0.0, is -0.0 now"),
     ((1, 2), (1, 2.0), "was (1, 2), is (1, 2.0) now")],
)  # fmt: skip
def test_an_equal_value_of_another_type_is_another_value(then: object, now: object, said: str) -> None:
    config = {"k": then}
    loop = of_options(config, read=lambda: 1.0 if repr(config["k"]) == repr(then) else 3.0)
    refused((loop, lambda: config.update(k=now), f"item 'k' {said}"))


@pytest.mark.parametrize("matters", [True, False])
def test_one_that_a_hook_has_set_is_seen_at_the_end_of_the_epoch(matters: bool) -> None:
    config = {"k": 2}
    loop = of_options(config, read=lambda: 3.0 if matters and isinstance(config["k"], float) else 1.0)

    @loop.on(Event.STEP_END, every=At(1))
    def change(moment: Moment) -> None:
        config["k"] = 2.0

    if matters:
        with pytest.raises(RuntimeError, match=OTHERWISE):
            loop.run(epochs=1)
    else:
        assert loop.run(epochs=2).epoch == 2


class Alike:
    """A key that looks like others, and, if it is told to, has somebody add to the dict while it is looked at."""

    def __init__(self, adds: dict | None = None) -> None:
        self.adds = adds

    def __repr__(self) -> str:
        if self.adds is not None and len(self.adds) < 6:
            self.adds[Alike()] = 0.0
        return "Alike"


def test_items_whose_keys_look_the_same_are_watched_one_by_one() -> None:
    first, second = Alike(), Alike()
    config = {first: 1.0, second: 1.0}
    loop = of_options(config, read=lambda: config[second])
    refused((loop, lambda: config.update({second: 3.0}), "a dict: item Alike (2) was 1.0, is 3.0 now"))


def test_what_another_thread_adds_while_it_is_looked_at_is_looked_at_again() -> None:
    config: dict[object, float] = {"c": 1.0}
    config[Alike(config)] = 1.0
    loop = of_options(config, read=lambda: config["c"])
    refused((loop, lambda: config.update(c=3.0), "a dict: item 'c' was 1.0, is 3.0 now"))
    assert len(config) == 6


def held_in(name: str) -> Kind:
    """Returns a change of what is held by something else: something is put in its place, or written to in place."""
    array, options = np.ones([3], "float32"), Options(other=types.SimpleNamespace(gamma=1.0))
    config: dict[str, object] = {"list": [1.0, [2.0]], "tuple": (array, 1), "array": array, "renamed": 1.0}
    other = types.SimpleNamespace(gamma=3.0)
    kinds: dict[str, tuple[Callable, Change, str]] = {
        "nested": (
            lambda: config["list"][1][0],
            lambda: config["list"].__setitem__(1, [3.0]),
            "['list'], a list: item 1 is another",
        ),
        "in place": (
            lambda: config["array"][0],
            lambda: array.fill(3),
            "config, a dict: item 'array' was an array with",
        ),
        "in a tuple": (
            lambda: config["tuple"][0][0],
            lambda: array.fill(3),
            "['tuple'], a tuple: item 0 was an array",
        ),
        "key": (lambda: 2.0 if "renamed" in config else 1.0, lambda: config.update(new=config.pop("renamed")), "keys"),
        "object": (lambda: options.other.gamma, lambda: setattr(options, "other", other), "other is another object"),
        "slot": (lambda: options.gamma, lambda: setattr(options, "gamma", 3.0), "Options: gamma was 1.0, is 3.0 now"),
    }
    read, change, told = kinds[name]
    return of_options(config, read=read), change, told


@pytest.mark.parametrize("name", ["nested", "in place", "in a tuple", "key", "object", "slot"])
def test_what_others_hold_is_named(name: str) -> None:
    refused(held_in(name))


class Shifted(keras.metrics.Metric):
    """A metric that reads Python in its own methods, which Keras enters by their names."""

    def __init__(self, name: str = "shifted", **arguments: object) -> None:
        super().__init__(name=name, **arguments)
        self.total, self.by, self.of_result = self.add_weight(name="total", initializer="zeros"), 1.0, 1.0

    def update_state(self, y: tf.Tensor, value: tf.Tensor, sample_weight: object = None) -> None:
        self.total.assign_add(tf.reduce_sum(value) * self.by * SCALE)

    def result(self) -> tf.Tensor:
        return self.total * self.of_result


class Descent(keras.optimizers.SGD):
    pace = 1.0

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        self.assign_sub(variable, gradient * learning_rate * self.pace)


class Cooled(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self) -> None:
        self.heat = 1.0

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return 0.1 * self.heat * tf.ones([])


class Weighted(keras.losses.Loss):
    def __init__(self) -> None:
        super().__init__(name="weighted")
        self.factor = 1.0

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self.factor * (y_true - y_pred) ** 2


class Inner(keras.Layer):
    """A layer that Keras enters by `compute_output_spec`, `build` and, of a recurrent one, by `get_initial_state`."""

    start = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.state_size = 3

    def call(self, x: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        return x + states[0], [x]

    def get_initial_state(self, batch_size: object = None) -> list[tf.Tensor]:
        return [self.start * tf.ones([4, 3])]


def entered(name: str) -> Kind:
    """Returns a change of what is read in a method that only Keras, or `supervised`, calls."""
    metric, loss, schedule, cell = Shifted(), Weighted(), Cooled(), Inner()
    optimizer = Descent(schedule if name == "schedule" else 0.1)
    layers = [keras.layers.Reshape([1, 3]), keras.layers.RNN(cell)] if name == "cell" else []
    model = keras.Sequential([keras.Input([3], batch_size=4), *layers, keras.layers.Dense(1)])
    train_step, _ = supervised(model, optimizer, loss, metrics={"shifted": metric})
    loop = Loop(train_step, ArrayData((X, X[:, :1]), batch_size=4), state={"model": model, "optimizer": optimizer})
    kinds: dict[str, tuple[Change, str]] = {
        "metric": (lambda: setattr(metric, "by", 2.0), "by was 1.0, is 2.0 now"),
        "result": (lambda: setattr(metric, "of_result", 2.0), "of_result was 1.0, is 2.0 now"),
        "optimizer": (lambda: setattr(optimizer, "pace", 2.0), "pace was 1.0, is 2.0 now"),
        "schedule": (lambda: setattr(schedule, "heat", 2.0), "heat was 1.0, is 2.0 now"),
        "loss": (lambda: setattr(loss, "factor", 2.0), "factor was 1.0, is 2.0 now"),
        "cell": (lambda: setattr(cell, "start", 2.0), "start was 1.0, is 2.0 now"),
        "global": (lambda: set_global(2.0), "global: SCALE was 1.0, is 2.0 now"),
    }
    return (loop, *kinds[name])


@pytest.mark.more
@pytest.mark.parametrize("name", ["metric", "result", "optimizer", "schedule", "loss", "cell", "global"])
def test_what_is_read_in_methods_that_keras_enters_is_named(name: str) -> None:
    refused(entered(name))


def test_a_large_array_that_a_hook_writes_to_is_refused_at_the_end_of_the_epoch(tmp_path: Path) -> None:
    config = types.SimpleNamespace(table=np.ones([2000], "float32"))
    loop = of_options(config, read=lambda: config.table[0])
    loop.hooks.add(Checkpoint(tmp_path))
    loop.on(Event.STEP_END, every=At(5))(lambda moment: config.table.fill(2))
    with pytest.raises(RuntimeError, match="SimpleNamespace: table was an array with hash"):
        loop.run(epochs=4)
    assert loop.step == 6
    assert [path.stem for path in tmp_path.glob("ckpt-*.json")] == ["ckpt-3"]


class Resettable(Trainer):
    def reset(self) -> None:
        self.beta = 1.0

    def step(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        if self.epochs > 100:
            self.reset()
        return super().step(x)


def test_an_attribute_to_which_a_method_of_the_program_assigns_is_watched() -> None:
    mine = Resettable([])
    loop = over(mine.step, weight=mine.weight)
    refused((loop, lambda: setattr(mine, "beta", 0.5), "beta was 1.0, is 0.5 now"))


def test_a_change_between_runs_that_is_undone_leaves_no_trace() -> None:
    def bits(*, changes: bool) -> bytes:
        mine, loop = trainer()
        loop.run(steps=4)
        if changes:
            mine.beta = 0.5
            with pytest.raises(RuntimeError, match=r"Or undo the change; if a hook made it, take it out of the hook"):
                loop.run(steps=9)
            mine.beta = 1.0
        loop.run(steps=9)
        return bytes(mine.weight.numpy().tobytes())

    assert bits(changes=True) == bits(changes=False)


def test_a_change_by_a_hook_that_is_taken_out_of_it_is_gone_when_the_script_is_started_again(tmp_path: Path) -> None:
    def script(directory: str, *, changes: bool) -> bytes:
        mine, loop = trainer()
        loop.hooks.add(Checkpoint(tmp_path / directory))

        @loop.on(Event.EPOCH_END)
        def change(moment: object) -> None:
            if changes and moment.epoch == 2:
                mine.beta = 0.5

        loop.run(epochs=3)
        return bytes(mine.weight.numpy().tobytes())

    with pytest.raises(RuntimeError, match=OTHERWISE):
        script("changed", changes=True)
    assert script("changed", changes=False) == script("never", changes=False)


def counting(kind: str) -> tuple[Callable[[tf.Tensor], dict[str, tf.Tensor]], tf.Variable]:
    """Returns a step that trains at each second call of its Python, by a count of this kind, and a weight."""
    weight, numbers, of, count = tf.Variable(0.0), [0], types.SimpleNamespace(count=0), 0
    losses: list[tf.Tensor] = []

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        nonlocal count
        loss = tf.reduce_mean(x) * weight
        if kind == "in a list":
            numbers[0] += 1
        elif kind == "in an object":
            of.count += 1
        elif kind == "in a function":
            count += 1
        elif kind == "of a list":
            losses.append(loss)
        if (numbers[0] + of.count + count + len(losses)) % 2 == 0:
            weight.assign_add(1.0)
        return {"loss": loss}

    return step, weight


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("in a list", "in counting.<locals>.step: numbers, a list: item 0 was 0, is 1 now"),
        ("in an object", "SimpleNamespace: count was 0, is 1 now"),
        ("in a function", "in counting.<locals>.step: count was 0, is 1 now"),
        ("of a list", "in counting.<locals>.step: losses, a list: length was 0, is 1 now"),
        ("not at all", ""),
    ],
)
def test_what_a_step_counts_in_python_is_named(kind: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    step, weight = counting(kind)
    over(step, weight=weight).run(epochs=1)
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("A step changes in Python")]
    assert [line.split("made: ")[1].split(". ")[0] for line in told] == ([said] if said else [])


def test_layers_that_are_made_when_a_model_is_first_called_are_no_counts(caplog: pytest.LogCaptureFixture) -> None:
    class Late(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks, self.width, self.head = [], None, None

        def build(self, shape: tuple[int, ...]) -> None:
            self.width, self.head = shape[-1], keras.layers.Dense(1)
            self.blocks.append(keras.layers.Dense(2))

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.head(self.blocks[0](x)) / self.width

    model, optimizer = Late(), keras.optimizers.SGD(0.1)
    step, _ = supervised(model, optimizer, "mse", metrics=["mae"], accumulate=2)
    Loop(step, ArrayData((X, X[:, :1]), batch_size=4), state={"model": model, "optimizer": optimizer}).run(epochs=1)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
