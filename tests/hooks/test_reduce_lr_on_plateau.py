"""ReduceLROnPlateau: where it agrees with Keras, where it says it does not, and what a resumed run knows of it."""

import functools
import logging
import math
import random
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, LearningRate, ReduceLROnPlateau
from loop import ArrayData, Event, Hook, Loop, Moment

NAN, INF = math.nan, math.inf
SGD = keras.optimizers.SGD


def make_loop(hooks: Sequence[Hook] = (), losses: Sequence[float] = (), rate: object = 1.0) -> Loop:
    """Returns a loop of one step an epoch, that logs these losses."""
    w, optimizer, told = keras.Variable(0.0), SGD(rate), tf.constant(losses, tf.float32)
    optimizer.build([w])
    index = tf.Variable(-1)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        optimizer.apply([tf.constant(-1.0)], [w])
        return {"loss": told[index.assign_add(1)]}

    state = {"w": w.value, "optimizer": optimizer, "index": index}
    return Loop(step, ArrayData(np.zeros([1, 1], np.float32), batch_size=1), state=state, hooks=hooks)


@functools.cache
def keras_model() -> keras.Model:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(SGD(1.0), loss="mse")
    return model


@functools.cache
def loop() -> Loop:
    loop = make_loop(losses=[0.0])
    loop.run(steps=1)
    return loop


def rates(losses: Sequence[float], mode: str = "min", **arguments: object) -> list[float]:
    """Sends a new hook these losses, one an epoch, and returns the rate after each."""
    hook = ReduceLROnPlateau("loss", mode=mode, **arguments)
    variable = loop().optimizers["optimizer"].learning_rate
    variable.assign(1.0)
    hook.around_run(loop())
    found = []
    for epoch, loss in enumerate(losses):
        logs = {"loss": loss}
        hook.on_epoch_end(Moment(Event.EPOCH_END, epoch + 1, epoch + 1, 0, logs, False, False, None, print))
        found.append(float(variable))
    return found


def of_keras(losses: Sequence[float], mode: str = "min", **arguments: object) -> list[float]:
    """Sends the same to Keras' callback."""
    callback = keras.callbacks.ReduceLROnPlateau("loss", mode=mode, **arguments)
    callback.set_model(keras_model())
    callback.on_train_begin()
    variable = keras_model().optimizer.learning_rate
    variable.assign(1.0)
    found = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"loss": loss})
        found.append(float(variable))
    return found


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_random_sequences_have_the_rates_that_keras_gives_them(count: int) -> None:
    draw = random.Random(8)
    runs = []
    for _ in range(count):
        # Multiples of 1/8: exact in Keras' single precision too. NaN only where Keras has a best value already.
        losses = [draw.randrange(1, 33) / 8 for _ in range(draw.randrange(1, 12))]
        losses = [
            draw.choice([NAN, INF, -INF, 0.0]) if i and draw.random() < 0.1 else loss for i, loss in enumerate(losses)
        ]
        arguments = {
            "mode": draw.choice(["min", "max"]),
            "factor": draw.choice([0.1, 0.3, 0.5, 0.9]),
            "patience": draw.randrange(4),
            "min_delta": draw.choice([0.0, 0.125, 0.5]),
            "cooldown": draw.randrange(4),
            "min_lr": draw.choice([0.0, 0.01, 0.25, 0.3]),
        }
        runs.append((losses, arguments))
    ours = [rates(losses, **arguments) for losses, arguments in runs]
    assert ours == [of_keras(losses, **arguments) for losses, arguments in runs]
    assert len({each[-1] for each in ours}) > 10  # not all alike


def test_defaults_are_those_of_keras() -> None:
    losses = [1.0] * 25
    assert rates(losses) == of_keras(losses)
    assert sorted({*rates(losses)}) == pytest.approx([0.01, 0.1, 1.0])


def test_a_real_run_has_the_rates_that_it_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    losses = [3, 2, 2, 2, 1, 1, 1, 1]
    run = make_loop([ReduceLROnPlateau("loss", mode="min", factor=0.5, patience=2)], losses)
    with caplog.at_level(logging.INFO, "exactloop"):
        result = run.run(epochs=8)
    assert result.history["learning_rate"] == [1.0, *rates(losses, factor=0.5, patience=2)[:-1]]
    said = "reduce_lr_on_plateau: the learning rate of optimizer is 0.5 after step 4."
    assert said in [record.getMessage() for record in caplog.records]


# Not the same as Keras.


def test_nan_is_never_the_best_whereas_it_stays_the_best_in_keras() -> None:
    losses = [NAN, 1, 0.5, 0.25]
    assert of_keras(losses, patience=2, factor=0.5) == [1, 1, 0.5, 0.5]
    assert rates(losses, patience=2, factor=0.5) == [1, 1, 1, 1]


def test_values_are_compared_in_double_precision_whereas_keras_compares_in_single() -> None:
    losses = [1, 1 - 1e-9, 1 - 2e-9]
    assert of_keras(losses, patience=1, factor=0.5, min_delta=0.0) == [1, 0.5, 0.25]
    assert rates(losses, patience=1, factor=0.5, min_delta=0.0) == [1, 1, 1]


# A resumed run.


def cut(directory: Path, cuts: Sequence[int]) -> dict[str, bytes]:
    losses = [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    for until in cuts:
        hook = ReduceLROnPlateau("loss", mode="min", factor=0.5, patience=2, cooldown=1)
        run = make_loop([hook, Checkpoint(directory)], losses)
        run.run(steps=until)
    return {path: v.numpy().tobytes() for path, v in run.state.variables.items() if path != "clock/seconds"}


@pytest.mark.more
def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    assert cut(tmp_path / "cut", [5, 10]) == cut(tmp_path / "whole", [10])


@pytest.mark.long
def test_cut_after_each_step_nothing_differs(tmp_path: Path) -> None:
    assert cut(tmp_path / "cut", range(1, 11)) == cut(tmp_path / "whole", [10])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="needs mode='min' if a smaller 'loss' is better"):
        ReduceLROnPlateau("loss")
    with pytest.raises(ValueError, match=r"factor=...\) must be between 0 and 1. Received: 1.0"):
        ReduceLROnPlateau("loss", mode="min", factor=1.0)
    with pytest.raises(ValueError, match=r"cooldown=...\) must be zero or positive. Received: -1"):
        ReduceLROnPlateau("loss", mode="min", cooldown=-1)
    with pytest.raises(TypeError, match="write min_delta="):
        ReduceLROnPlateau("loss", mode="min", threshold=0.1)
    hook = ReduceLROnPlateau("loss", mode="min")
    with pytest.raises(ValueError, match="is a ExponentialDecay, which cannot be assigned"):
        make_loop([hook], [1.0], keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)).run(steps=1)
    with pytest.raises(ValueError, match="would both set the learning rate"):
        make_loop([hook, LearningRate(lambda step: 0.1)], [1.0]).run(steps=1)
    with pytest.raises(ValueError, match=r"watches 'los', but this loop reports: .*Did you mean 'loss'"):
        make_loop([ReduceLROnPlateau("los", mode="min")], [1.0]).run(steps=1)


@pytest.mark.more
def test_of_several_optimizers_all_are_reduced_unless_one_is_named() -> None:
    fast, slow = SGD(1.0), SGD(0.5)
    for optimizer in (fast, slow):
        optimizer.build([])
    state = {"fast": fast, "slow": slow}
    run = Loop(lambda x: {"loss": x[0, 0]}, ArrayData(np.zeros([1, 1], np.float32), batch_size=1), state=state)
    run.hooks.add(ReduceLROnPlateau("loss", mode="min", patience=1, factor=0.5))
    run.run(epochs=2)
    assert (float(fast.learning_rate), float(slow.learning_rate)) == (0.5, 0.25)
    run.hooks.remove("reduce_lr_on_plateau")
    run.hooks.add(ReduceLROnPlateau("loss", mode="min", patience=1, factor=0.5, optimizer="slow"))
    run.run(epochs=4)
    assert (float(fast.learning_rate), float(slow.learning_rate)) == (0.5, 0.125)
