"""What the script sets in variables, and which layers are trainable, is compared with the run that is to go on."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, restore
from hooks.checkpoint.record.manifest import canonical, content, decode
from loop import ArrayData, Every, Hook, Loop, Moment, Step, supervised

X = np.arange(6, dtype=np.float32).reshape(6, 1) / 6
Given = Callable[[Any], tuple[Mapping[str, object], tf.Variable | keras.Variable]]


def make_loop(
    directory: Path, rate: float = 0.01, *hooks: Hook, changed: str = "refuse", optimizer: Any = None
) -> tuple[Loop, Any]:
    """Returns a loop that trains one number by Keras' SGD and logs the rate in use, and the optimizer."""
    keras.utils.set_random_seed(1)
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build([None, 1])
    optimizer = optimizer or keras.optimizers.SGD(rate, momentum=0.9)
    optimizer.build(layer.trainable_variables)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x) - x))
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, layer.trainable_variables), layer.trainable_variables)
        return {"loss": loss, "rate": tf.identity(optimizer.learning_rate)}

    state = {"layer": layer, "optimizer": optimizer}
    checkpoint = Checkpoint(directory, Every(steps=1), resume_changed=changed)
    return Loop(step, ArrayData(X, batch_size=2, seed=1), state=state, hooks=[*hooks, checkpoint]), optimizer


def bits(loop: Loop) -> dict[str, bytes]:
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds"}


def test_a_changed_learning_rate_is_refused_with_both_values_or_used(tmp_path: Path) -> None:
    make_loop(tmp_path, 0.01)[0].run(steps=2)
    line = "optimizer.learning_rate was 0.01 when the checkpoint's run began and is 0.0001 in the program now"
    with pytest.raises(ValueError, match=rf"Nothing was restored:\n  {re.escape(line)}\n.*resume_changed='warn'"):
        make_loop(tmp_path, 0.0001)[0].run(steps=4)
    loop, optimizer = make_loop(tmp_path, 0.0001, changed="warn")
    with pytest.warns(UserWarning, match=re.escape(f"The run goes on with other numbers: {line}.")):
        assert loop.run(steps=4).logs["rate"] == np.float32(0.0001)  # in all of this epoch
    assert float(optimizer.learning_rate) == np.float32(0.0001)
    for steps in (5, 6):  # from now on, that is what the run began with
        assert make_loop(tmp_path, 0.0001)[0].run(steps=steps).step == steps
    with pytest.raises(ValueError, match=r"learning_rate was 0\.0001 when"):
        make_loop(tmp_path, 0.01)[0].run(steps=7)


class Halving(Hook):
    """Halves the rate at each step, from a first one that it sets itself, if it does."""

    every = Every(steps=1)

    def __init__(self, first: float | None = None) -> None:
        super().__init__()
        self._first = first

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.rate = loop._parts.given["optimizer"]
        if self._first is not None:
            self.rate.learning_rate = self._first

    def on_step_end(self, moment: Moment) -> None:
        self.rate.learning_rate.assign(self.rate.learning_rate / 2)


@pytest.mark.more
@pytest.mark.parametrize("first", [None, 0.5])
def test_a_rate_that_was_moved_since_is_no_difference(first: float | None, tmp_path: Path) -> None:
    whole = make_loop(tmp_path / "whole", 0.25, Halving(first))[0]
    whole.run(steps=5)
    for steps in (1, 3, 4, 5):
        cut, optimizer = make_loop(tmp_path / "cut", 0.25, Halving(first))
        cut.run(steps=steps)
    assert bits(cut) == bits(whole)
    # Who writes into the script what the run has come to changes nothing.
    assert make_loop(tmp_path / "cut", float(optimizer.learning_rate), Halving())[0].run(steps=6).step == 6


@pytest.mark.more
def test_a_rate_that_is_assigned_between_runs_is_no_setting(tmp_path: Path) -> None:
    def life(directory: Path, *totals: int) -> Loop:
        loop, optimizer = make_loop(directory, 0.01)
        for steps in totals:
            loop.run(steps=steps)
            optimizer.learning_rate = 0.25
        return loop

    whole = life(tmp_path / "whole", 2, 5)
    life(tmp_path / "cut", 2, 3)
    assert bits(life(tmp_path / "cut", 2, 5)) == bits(whole)


@pytest.mark.more
def test_what_is_set_before_the_first_run_counts_and_after_a_refusal_it_can_be_undone(tmp_path: Path) -> None:
    def loop_at(rate: float) -> tuple[Loop, Any]:
        loop, optimizer = make_loop(tmp_path, 1.0)
        loop.audit()  # traces
        optimizer.learning_rate = rate
        return loop, optimizer

    loop_at(0.5)[0].run(steps=2)
    loop, optimizer = loop_at(0.25)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.5 when .* and is 0\.25 in the program now"):
        loop.run(steps=3)
    optimizer.learning_rate = 0.5
    assert loop.run(steps=3).step == 3
    assert loop_at(0.5)[0].run(steps=4).step == 4


@pytest.mark.more
def test_what_a_script_restores_before_the_run_is_no_setting(tmp_path: Path) -> None:
    make_loop(tmp_path / "first", 0.25, Halving())[0].run(steps=3)
    assert make_loop(tmp_path / "first", 0.25)[1].learning_rate == 0.25

    def life(source: Path, rate: float, steps: int, changed: str = "refuse") -> float:
        loop, optimizer = make_loop(tmp_path / "second", rate, Halving(), changed=changed)
        if source.exists():
            restore(source, {"optimizer": optimizer})
        loop.run(steps=steps)
        return float(optimizer.learning_rate)

    assert life(tmp_path / "first", 0.25, 1) == 0.25 / 2**4  # warm
    assert life(tmp_path / "first", 0.25, 2) == 0.25 / 2**5
    assert life(tmp_path / "second", 0.25, 3) == 0.25 / 2**6  # from what this very run has saved
    with pytest.raises(ValueError, match=r"learning_rate was 0\.25 when .* and is 0\.125 in the program now"):
        life(tmp_path / "second", 0.125, 4)


def with_scale(rate: float) -> keras.optimizers.LossScaleOptimizer:
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rate), initial_scale=4.0)


@pytest.mark.more
def test_the_rate_of_an_optimizer_within_another_one_is_a_setting(tmp_path: Path) -> None:
    make_loop(tmp_path, optimizer=with_scale(0.5))[0].run(steps=1)
    make_loop(tmp_path, optimizer=with_scale(0.5))[0].run(steps=2)
    with pytest.raises(ValueError, match=r"optimizer/inner_optimizer\.learning_rate was 0\.5 when .* and is 0\.25 in"):
        make_loop(tmp_path, optimizer=with_scale(0.25))[0].run(steps=3)


class Scaled(keras.layers.Layer):
    def __init__(self, beta: float) -> None:
        super().__init__(name="scaled")
        self.beta = self.add_weight(shape=(), initializer=keras.initializers.Constant(beta), trainable=False)
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.beta


class Module(tf.Module):
    def __init__(self, value: object, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.value = tf.Variable(value, dtype=dtype, trainable=False)


def looped(directory: Path, given: Mapping[str, object], use: Callable[[], object], changed: str = "refuse") -> Loop:
    total = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": total.assign_add(tf.cast(use(), tf.float32) * tf.reduce_mean(x))}

    checkpoint = Checkpoint(directory, resume_changed=changed)
    return Loop(step, ArrayData(X, batch_size=2, seed=1), state={**given, "total": total}, hooks=[checkpoint])


def given_as(kind: str, value: Any) -> tuple[dict[str, object], Callable[[], object], Callable[[], list]]:
    """Returns a state with a setting in it, what a step reads of it, and what is its value."""
    if kind == "variable":
        variable = tf.Variable(float(value))
        return {"beta": variable}, variable.read_value, lambda: [float(variable)]
    if kind == "in a dict":
        variable = tf.Variable(value, dtype=tf.int64)
        return {"hyper": {"beta": variable}}, variable.read_value, lambda: [int(variable)]
    if kind == "in a module":
        module = Module(value == 1, tf.bool)
        return {"module": module}, module.value.read_value, lambda: [int(module.value)]
    if kind == "moved by the step":
        module = Module(value)
        return {"module": module}, lambda: module.value.assign(module.value * 0.5), lambda: []
    if kind == "weight of a layer":
        layer = Scaled(value)
        return {"layer": layer}, lambda: layer(tf.ones([])), lambda: [float(layer.beta)]
    if kind == "generator of TensorFlow":
        generator = tf.random.Generator.from_seed(value)
        return {"noise": generator}, lambda: generator.normal([]), lambda: []
    if kind == "seed generator":
        stream = keras.random.SeedGenerator(value)
        return {"noise": stream}, lambda: keras.random.normal([], seed=stream), lambda: []
    dropout = keras.layers.Dropout(0.5, seed=value, name="dropout")
    return {"dropout": dropout}, lambda: tf.reduce_sum(dropout(tf.ones([4]), training=True)), lambda: []


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("variable", r"beta was 1\.0 when .* and is 2\.0 in"),
        ("in a dict", "hyper/beta was 1 when .* and is 2 in"),
        ("in a module", "module/value was True when .* and is False in"),
        ("moved by the step", r"module/value was 1\.0 when .* and is 2\.0 in"),
        ("weight of a layer", r"layer/beta was 1\.0 when .* and is 2\.0 in"),
        ("generator of TensorFlow", "the seed of 'noise' was 1 when .* and is 2 in"),
        ("seed generator", "the seed of 'noise' was 1 when .* and is 2 in"),
        ("seed of a layer", "the seed of 'dropout' was 1 when .* and is 2 in"),
    ],
)
def test_other_settings_in_variables(kind: str, line: str, tmp_path: Path) -> None:
    def loop(value: int, changed: str = "refuse") -> tuple[Loop, Callable[[], list]]:
        given, use, now = given_as(kind, value)
        return looped(tmp_path, given, use, changed), now

    loop(1)[0].run(steps=2)
    loop(1)[0].run(steps=3)
    with pytest.raises(ValueError, match=line):
        loop(2)[0].run(steps=4)
    other, now = loop(2, "warn")
    with pytest.warns(UserWarning, match=line):
        other.run(steps=4)
    assert now() in ([], [2], [0])  # 0: of the truth of `value == 1`
    assert loop(2)[0].run(steps=5).step == 5


@pytest.mark.more
def test_a_new_seed_begins_a_new_stream(tmp_path: Path) -> None:
    def life(seed: int, steps: int, changed: str = "refuse") -> list[int]:
        stream = keras.random.SeedGenerator(seed)
        other = keras.random.SeedGenerator(5)
        looped(tmp_path, {"n": [stream, other]}, lambda: keras.random.normal([], seed=stream), changed).run(steps=steps)
        return stream.state.numpy().tolist()

    assert [life(7, 2), life(7, 3)] == [[7, 2], [7, 3]]
    with pytest.warns(UserWarning, match="the seed of 'n' was 7"):
        assert life(8, 4, "warn") == [8, 1]


@pytest.mark.more
def test_what_no_step_reads_is_no_setting(tmp_path: Path) -> None:
    def life(started: float, steps: int) -> float:
        variable = tf.Variable(started)
        looped(tmp_path, {"started": variable}, lambda: 1.0).run(steps=steps)
        return float(variable)

    assert [life(1.0, 2), life(2.0, 3)] == [1.0, 1.0]


@pytest.mark.more
def test_what_is_drawn_is_no_setting(tmp_path: Path) -> None:
    def life(steps: int) -> Loop:
        rng = np.random.default_rng()  # another one in each process
        dropout = keras.layers.Dropout(0.5, seed=int(rng.integers(10**6, 10**9)))  # as some layers do it themselves
        trained = tf.Variable(rng.normal(), dtype=tf.float32)
        prelu = keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(rng.normal()), shared_axes=[1])
        prelu.build([None, 1])
        stream, generator = (
            keras.random.SeedGenerator(),
            tf.random.Generator.from_state(rng.integers(1, 2**60, size=3), "philox"),
        )

        def use() -> tf.Tensor:
            trained.assign_add(1.0)
            noise = keras.random.normal([], seed=stream) + generator.normal([])
            return tf.reduce_sum(dropout(prelu(tf.ones([2, 1])), training=True)) + noise + trained

        given = {"dropout": dropout, "trained": trained, "prelu": prelu, "noise": [stream, generator]}
        loop = looped(tmp_path, given, use)
        loop.run(steps=steps)
        return loop

    for steps in (1, 2, 3):
        assert life(steps).step == steps


@pytest.mark.more
def test_of_a_manifest_of_format_1_no_setting_is_compared(tmp_path: Path) -> None:
    make_loop(tmp_path, 0.01)[0].run(steps=2)
    newest = tmp_path / "ckpt-2.json"
    said = content(decode(newest.read_bytes()))
    said["description"] = {k: v for k, v in said["description"].items() if k not in ("settings", "trainable")}
    del said["result"], said["writer"]
    newest.write_bytes(canonical(said | {"format": 1}))
    loop, optimizer = make_loop(tmp_path, 0.5)
    with pytest.warns(UserWarning, match="not comparable with fingerprint"):
        assert loop.run(steps=3).step == 3
    assert float(optimizer.learning_rate) == np.float32(0.01)


def networks(directory: Path, trainable: Sequence[str], *, momentum: float = 0.9, changed: str = "refuse") -> tuple:
    """Returns a loop over a network with a backbone in it, of which some layers are trainable, and the network."""
    keras.utils.set_random_seed(1)
    inner = [keras.layers.Dense(2, name=name) for name in ("lower", "upper")]
    backbone = keras.Sequential([keras.Input([1]), *inner], name="backbone")
    model = keras.Sequential([keras.Input([1]), backbone, keras.layers.Dense(1, name="head")], name="network")
    for layer in (*inner, model.layers[-1]):
        layer.trainable = layer.name in trainable
    optimizer = keras.optimizers.SGD(0.01, momentum=momentum)
    step: Step = supervised(model, optimizer, keras.losses.MeanSquaredError())[0]
    state = {"model": model, "optimizer": optimizer}
    checkpoint = Checkpoint(directory, resume_changed=changed)
    return Loop(step, ArrayData((X, X), batch_size=2, seed=1), state=state, hooks=[checkpoint]), model


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (["head"], ["lower", "upper", "head"], "1 layer more: backbone;"),
        (["head"], ["upper", "head"], "1 layer more: upper;"),
        (["lower", "upper", "head"], ["upper"], "2 layers fewer: lower, head;"),
        (["head"], ["upper"], "1 layer more: upper; 1 layer fewer: head;"),
    ],
)
def test_a_model_that_is_frozen_otherwise_is_refused_and_named(
    before: list[str], now: list[str], said: str, tmp_path: Path
) -> None:
    networks(tmp_path / "one", before)[0].run(steps=2)
    networks(tmp_path / "one", before)[0].run(steps=3)
    loop, model = networks(tmp_path / "one", now)
    with pytest.raises(ValueError, match="Nothing was restored") as error:
        loop.run(steps=4)
    _, line, remedy = str(error.value).splitlines()[:3]
    assert line.startswith(f"  trainable: {said} so the optimizer has other variables, of which ")
    assert "resume_changed" not in remedy  # it would not help
    # What is printed works when it is followed: the weights alone, in another directory.
    (call,) = re.findall(r"restore\('(.*)', \{'model': model\}\)", remedy)
    fresh, model = networks(tmp_path / "another", now)
    assert restore(call, {"model": model}) == 3
    begun = [weight.numpy().tobytes() for weight in model.weights]
    fresh.run(steps=1)
    assert begun != [weight.numpy().tobytes() for weight in model.weights]
    assert networks(tmp_path / "another", now)[0].run(steps=2).step == 2
    assert networks(tmp_path / "one", before)[0].run(steps=4).step == 4  # undone


@pytest.mark.more
def test_without_slots_it_is_refused_too(tmp_path: Path) -> None:
    networks(tmp_path, ["head"], momentum=0.0)[0].run(steps=2)
    with pytest.raises(ValueError, match=r"trainable: 1 layer more: backbone; so the optimizer has other variables\n"):
        networks(tmp_path, ["lower", "upper", "head"], momentum=0.0)[0].run(steps=3)


@pytest.mark.more
def test_where_no_optimizer_follows_the_run_can_go_on_with_other_layers_trainable(tmp_path: Path) -> None:
    def loop(trainable: bool, changed: str = "refuse") -> Loop:
        layer = keras.layers.Dense(1, name="head", use_bias=False, kernel_initializer="ones")
        layer.build([None, 1])
        layer.trainable = trainable

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            for weight in layer.trainable_variables:
                weight.assign(weight * 0.5)
            return {"loss": tf.reduce_mean(layer(x))}

        checkpoint = Checkpoint(tmp_path, resume_changed=changed)
        return Loop(step, ArrayData(X, batch_size=2, seed=1), state={"head": layer}, hooks=[checkpoint])

    loop(False).run(steps=2)
    with pytest.raises(ValueError, match=r"trainable: 1 layer more: head\n(?s:.*)resume_changed='warn'"):
        loop(True).run(steps=3)
    with pytest.warns(UserWarning, match="trainable: 1 layer more: head|the 'train' step has other operations"):
        loop(True, "warn").run(steps=3)
    assert loop(True).run(steps=4).step == 4


@pytest.mark.more
def test_a_layer_that_is_frozen_after_a_finished_run_was_started_again_is_named(tmp_path: Path) -> None:
    networks(tmp_path, ["lower", "upper", "head"])[0].run(steps=2)
    loop, model = networks(tmp_path, ["lower", "upper", "head"])
    loop.run(steps=2)  # nothing is left to do, and so nothing is traced
    model.layers[-1].trainable = False
    with pytest.raises(ValueError, match=r"Nothing was trained:\n  trainable: 1 layer fewer: head"):
        loop.run(steps=3)
