"""What a script changes in Python after the steps were compiled is never left out without a word."""

import types
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, At, Evaluation, Event, Every, Loop, supervised

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
        "item": (lambda: mine.table.update(delta=3), "a dict: item 'delta' was 1.0, is 3 now"),
        "threshold": (lambda: setattr(mine, "epochs", 5), "Trainer: epochs was 0, is 5 now"),
    }
    return (loop, *kinds[name])


OF_PYTHON = ["global", "attribute", "attribute of the class", "options", "item", "threshold"]


def changed_layer(name: str) -> Kind:
    dropout, scaled, norm = keras.layers.Dropout(0.5), Scaled(2.0), keras.layers.Normalization()
    dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), name="dense")
    batch_norm = keras.layers.BatchNormalization(name="bn")
    norm.adapt(X)
    kinds: dict[str, tuple[keras.layers.Layer, Change, str]] = {
        "rate": (dropout, lambda: setattr(dropout, "rate", 0.1), "rate was 0.5, is 0.1 now"),
        "momentum": (batch_norm, lambda: setattr(batch_norm, "momentum", 0.1), "layer 'bn' (BatchNormalization): "
                     "momentum was 0.99, is 0.1 now"),
        "frozen batch norm": (batch_norm, lambda: setattr(batch_norm, "trainable", False), "trainable was True"),
        "activation": (dense, lambda: setattr(dense, "activation", tf.nn.relu), "activation is another function now"),
        "statistics": (norm, lambda: norm.adapt(2 * X), "(Normalization): mean is another EagerTensor now"),
        "of its own": (scaled, lambda: scaled.set_scale(3.0), "(Scaled): scale was 2.0, is 3.0 now"),
        "an array of its own": (scaled, lambda: scaled.weights_of_classes.fill(7), "weights_of_classes was"),
        "policy": (dense, lambda: setattr(dense, "dtype_policy", "mixed_bfloat16"), "dtype_policy was float32"),
    }  # fmt: skip
    layer, change, told = kinds[name]
    return trainer(layer)[1], change, told


OF_LAYERS = ["rate", "momentum", "frozen batch norm", "activation", "statistics", "of its own", "an array of its own",
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


def test_a_tf_function_of_the_program_does_not_hide_a_change() -> None:
    mine = Trainer([])
    loop = over(tf.function(mine.step), weight=mine.weight)
    refused((loop, lambda: setattr(mine, "beta", 0.5), "Trainer: beta was 1.0, is 0.5 now"))


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
    with pytest.raises(RuntimeError, match=r"a list: length was 1, is 2 now"):
        loop.run(steps=2)
