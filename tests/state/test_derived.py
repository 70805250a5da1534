"""What layers derive from their variables is derived again from what was restored, or the run is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, restore
from loop import ArrayData, Loop, Step, TrainingState, supervised

X = (np.random.default_rng(1).normal(size=[12, 2]) * [1, 10] + [5, -3]).astype(np.float32)
Layers = keras.layers


def normalization(adapted: bool) -> keras.Layer:
    layer = Layers.Normalization(name="normalization")
    layer.build([None, 2])
    if adapted:
        layer.adapt(X)
    return layer


class Loads(Layers.Layer):
    """Derives a factor when it is loaded, keeps names of its own in the store, and trains a weight besides."""

    def __init__(self, scale: float) -> None:
        super().__init__(name="loads")
        self.scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(scale), trainable=False)
        self.weight = self.add_weight(shape=(), initializer="ones")
        self.factor = np.float32(1 / scale)
        self.built = True

    def save_own_variables(self, store: dict) -> None:
        store["scale"], store["weight"] = self.scale, self.weight

    def load_own_variables(self, store: dict) -> None:
        self.scale.assign(store["scale"])
        self.weight.assign(store["weight"])
        self.factor = np.float32(1 / store["scale"])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.factor * self.weight


class Finalizes(Layers.Layer):
    """Derives a list of numbers from a plain variable, as layers do that are adapted."""

    def __init__(self, scale: float) -> None:
        super().__init__(name="finalizes")
        self.scale = tf.Variable([scale, scale], trainable=False)
        self.built = True
        self.finalize_state()

    def finalize_state(self) -> None:
        self.factors = (1 / self.scale).numpy().tolist()

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.factors


class Listed(keras.Model):
    """Holds layers in a list and in a dict, which TensorFlow does not look into."""

    def __init__(self, adapted: bool) -> None:
        super().__init__(name="listed")
        self.steps = [normalization(adapted), Layers.Dense(1)]
        self.more = {"loads": Loads(4.0 if adapted else 1.0)}

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.steps[1](self.more["loads"](self.steps[0](x)))


class Module(tf.Module):
    def __init__(self, layer: keras.Layer) -> None:
        super().__init__()
        self.layers = [layer]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return self.layers[0](x)


def nested(adapted: bool) -> keras.Model:
    inner = keras.Sequential([keras.Input([2]), normalization(adapted)])
    return keras.Sequential([keras.Input([2]), inner, Layers.Dense(1)])


def frequencies(adapted: bool) -> keras.Layer:
    weights = [4.0, 5.0, 6.0] if adapted else [1.0, 1.0, 1.0]
    return Layers.IntegerLookup(vocabulary=[1, 2, 3], idf_weights=weights, output_mode="tf_idf")


MODELS: dict[str, Callable[[bool], Any]] = {
    "a layer": normalization,
    "in a nested model": nested,
    "in a list": Listed,
    "in a module": lambda adapted: Module(normalization(adapted)),
    "of one's own, loaded": lambda adapted: Loads(4.0 if adapted else 1.0),
    "of one's own, finalized": lambda adapted: Finalizes(4.0 if adapted else 1.0),
    "frequencies": frequencies,
}


def called(model: Any) -> bytes:
    x = tf.constant([[1, 3]], tf.int64) if isinstance(model, Layers.IntegerLookup) else tf.constant(X)
    return model(x).numpy().tobytes()


@pytest.mark.parametrize("kind", MODELS)
def test_a_script_that_restores_computes_with_what_was_saved(kind: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model, total = MODELS[kind](True), tf.Variable(0.0)
    expected = called(model)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": total.assign_add(tf.reduce_mean(x))}

    data = ArrayData(X, batch_size=4, seed=1)
    Loop(step, data, state={"model": model, "total": total}, hooks=[Checkpoint(tmp_path)]).run(steps=1)
    for adapted in (True, False):
        other = MODELS[kind](adapted)
        assert (called(other) == expected) is adapted or kind in ("in a nested model", "in a list")
        assert restore(tmp_path, {"model": other}) == 1
        assert called(other) == expected


@pytest.mark.more
def test_a_function_that_was_traced_before_is_traced_again(tmp_path: Path) -> None:
    start(tmp_path, adapted=True).run(steps=3)
    expected = network(True)
    restore(tmp_path, {"model": expected})
    model = network(False)
    model.predict(X, verbose=0)
    restore(tmp_path, {"model": model})
    assert model.predict(X, verbose=0).tobytes() == expected.predict(X, verbose=0).tobytes()
    kept = model.predict_function
    restore(tmp_path, {"model": model})  # which changes nothing
    assert model.predict_function is kept


def test_layers_that_change_their_weights_on_loading_keep_what_was_restored() -> None:
    dense = Layers.Dense(2)
    dense.build([None, 2])
    dense.enable_lora(1)
    for variable in dense.weights:
        variable.assign(tf.ones_like(variable) * 3)
    loads = Loads(4.0)
    state = TrainingState({"model": [dense, loads]})
    loads.scale.assign(0.1)
    before = [v.numpy().tobytes() for v in state.variables.values()]
    state.derived.again()
    assert [v.numpy().tobytes() for v in state.variables.values()] == before
    assert loads.factor == np.float32(1 / np.float32(0.1))


def test_values_that_are_shown_for_a_while_are_derived_from_too() -> None:
    layer = Loads(4.0)
    state = TrainingState({"layer": layer})
    (path,) = [path for path in state.variables if path.endswith("scale")]
    state.override({path: tf.constant(8.0)})
    state.override({path: tf.constant(16.0)})
    assert layer.factor == np.float32(1 / 16)
    state.revert()
    assert [float(layer.scale), layer.factor] == [4.0, np.float32(1 / 4)]


def network(adapted: bool, on: np.ndarray = X) -> keras.Model:
    layer = normalization(False)
    if adapted:
        layer.adapt(on)
    return keras.Sequential([keras.Input([2]), layer, Layers.Dense(1)])


def start(
    directory: Path,
    *,
    adapted: bool,
    on: np.ndarray = X,
    restored: Callable[[keras.Model], object] = lambda model: None,
    changed: str = "refuse",
) -> Loop:
    keras.utils.set_random_seed(1)
    model, optimizer = network(adapted, on), keras.optimizers.SGD(0.01)
    restored(model)
    step: Step = supervised(model, optimizer, keras.losses.MeanSquaredError())[0]
    state = {"model": model, "optimizer": optimizer}
    hooks = [Checkpoint(directory, resume_changed=changed)]
    return Loop(step, ArrayData((X, X[:, :1]), batch_size=4, seed=1), state=state, hooks=hooks)


def bits(loop: Loop) -> dict[str, bytes]:
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds"}


@pytest.mark.more
def test_a_run_whose_traced_values_would_be_others_is_refused_with_the_cause_and_a_remedy(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", adapted=True)
    whole.run(steps=5)
    directory = tmp_path / "cut"
    start(directory, adapted=True).run(steps=2)
    start(directory, adapted=True).run(steps=3)  # as it adapts at each start
    for on, adapted, changed in ((X, False, "refuse"), (X, False, "warn"), (X[1:], True, "refuse")):
        loop = start(directory, adapted=adapted, on=on, changed=changed)
        with pytest.raises(ValueError, match="Nothing was restored") as error:
            loop.run(steps=5)
        cause = "layer 'normalization' computes with values that it derives from its variables, which in the checkpoint"
        lines = str(error.value).splitlines()
        assert [line for line in lines if line.startswith(" ")] == [f"  {cause} are others"]
        before = bits(loop)
        loop.hooks.remove("checkpoint")
        loop.audit()
        assert bits(loop) == before
    (call,) = re.findall(r"restore\('(.*)', \{'model': model\}\)", str(error.value))
    again = start(directory, adapted=False, restored=lambda model: restore(call, {"model": model}))
    again.run(steps=4)
    start(directory, adapted=True).run(steps=5)  # the other remedy
    last = start(directory, adapted=True)
    last.run(steps=5)
    assert bits(last) == bits(whole)


def test_rows_that_were_added_up_in_another_order_are_no_other_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Threads may decide on it, as in `interleave(deterministic=False)`, also in a process that has a seed."""
    whole = start(tmp_path / "whole", adapted=True)
    whole.run(steps=5)
    start(tmp_path / "cut", adapted=True).run(steps=2)
    assert caplog.messages == []
    cut = start(tmp_path / "cut", adapted=True, on=np.nextafter(X, np.float32(np.inf)))
    cut.run(steps=5)
    (said,) = caplog.messages
    assert said.startswith("Layer 'normalization' derives other values in this process than when the run began, which")
    assert bits(cut) == bits(whole)
    with pytest.raises(ValueError, match="Nothing was restored"):
        start(tmp_path / "cut", adapted=True, on=X * np.float32(1.001)).run(steps=6)


@pytest.mark.more
def test_what_is_trained_and_what_is_loaded_in_a_way_of_its_own_is_no_difference(tmp_path: Path) -> None:
    def life(scale: float, steps: int) -> None:
        layer = Loads(scale)

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            layer.weight.assign(layer.weight * 0.5)
            return {"loss": tf.reduce_mean(layer(x))}

        data = ArrayData(X, batch_size=4, seed=1)
        Loop(step, data, state={"layer": layer}, hooks=[Checkpoint(tmp_path)]).run(steps=steps)

    life(4.0, 2)
    life(4.0, 3)
    with pytest.raises(ValueError, match="layer 'loads' computes with values that it derives from its variables"):
        life(8.0, 4)


@pytest.mark.more
def test_to_adapt_or_restore_after_a_loop_was_traced_is_refused(tmp_path: Path) -> None:
    start(tmp_path, adapted=True).run(steps=2)
    loop = start(tmp_path / "new", adapted=False)
    loop.run(steps=1)
    model = loop._parts.given["model"]
    assert isinstance(model, keras.Model)
    model.layers[0].adapt(X)
    with pytest.raises(RuntimeError, match=r"Layer 'normalization' derives other values .* than when"):
        loop.run(steps=2)
    loop = start(tmp_path / "other", adapted=False)
    loop.audit()
    restore(tmp_path, {"model": loop._parts.given["model"]})
    with pytest.raises(RuntimeError, match="Call adapt, or restore, before the loop is first used, or make it anew"):
        loop.run(steps=2)
    loop = start(tmp_path / "third", adapted=True)
    loop.run(steps=1)
    loop._parts.given["model"].layers[0].adapt(X)  # which changes nothing
    assert loop.run(steps=2).step == 2


def test_a_layer_that_cannot_load_what_it_saves_is_a_warning(tmp_path: Path) -> None:
    class Stubborn(Loads):
        def load_own_variables(self, store: dict) -> None:
            raise NotImplementedError("not at all")

    state = TrainingState({"layer": Stubborn(4.0)})
    with pytest.warns(UserWarning, match="Layer 'loads' cannot load what it saves itself: NotImplementedError"):
        state.derived.again()


@pytest.mark.more
def test_a_resumed_run_evaluates_and_goes_on(tmp_path: Path) -> None:
    """TensorFlow notes on a layer that it has restored it, which is no other value."""
    start(tmp_path, adapted=True).run(steps=2)
    loop = start(tmp_path, adapted=True)
    loop.run(steps=3)
    assert loop.run(steps=4).step == 4
