"""Learning rates are in the logs, and the values of all epochs are there as after `fit`, also of a run that was cut."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment, Trigger, supervised

X = np.random.default_rng(3).normal(size=[8, 3]).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")


class Halves(Hook):
    """Halves the rate at the end of each epoch, reports something in each second one, and notes the rates."""

    reports = ("x",)
    every = Every(steps=1)

    def __init__(self, rate: keras.Variable | None = None) -> None:
        super().__init__()
        self.seen: list[float] = []
        self.halve = lambda: rate.assign(rate / 2) if rate is not None else None

    def on_step_end(self, moment: Moment) -> None:
        self.seen.append(moment.logs["learning_rate"])

    def on_epoch_end(self, moment: Moment) -> None:
        self.seen.append(moment.logs["learning_rate"])
        self.halve()
        if moment.epoch % 2 == 0:
            moment.report(x=moment.epoch)


def make(more: Sequence[Hook] = (), *, eval_every: Trigger = Every(epochs=1)) -> tuple[Loop, Halves]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.5)
    step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
    halves = Halves(optimizer.learning_rate)
    evaluation = Evaluation(eval_step, ArrayData((X, Y), batch_size=8, shuffle=False))
    data, state = ArrayData((X, Y), batch_size=4, shuffle=False), {"model": model, "optimizer": optimizer}
    return Loop(step, data, state=state, evaluate=evaluation, eval_every=eval_every, hooks=[halves, *more]), halves


def test_history_and_rates_are_those_of_fit_and_go_on_after_a_kill(tmp_path: Path) -> None:
    loop, halves = make()
    whole = loop.run(epochs=4)
    assert halves.seen[:7] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert whole.logs["learning_rate"] == 0.03125
    assert whole.history["learning_rate"] == [0.5, 0.25, 0.125, 0.0625]
    assert whole.history["x"] == [2.0, 4.0]

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 / 2**epoch)
    more = {"verbose": 0, "validation_data": (X, Y), "callbacks": [schedule]}
    theirs = model.fit(X, Y, batch_size=4, epochs=4, shuffle=False, **more).history
    assert {*theirs} == {*whole.history} - {"x"}
    for name, values in theirs.items():
        assert whole.history[name] == pytest.approx(values, rel=1e-4), name

    make([Checkpoint(tmp_path, Every(steps=1))])[0].run(steps=5)
    for _ in range(2):  # the second time, with nothing left to run
        again = make([Checkpoint(tmp_path, Every(steps=1))])[0].run(epochs=4)
        assert dataclasses.replace(again, seconds=whole.seconds, reason=whole.reason) == whole


def test_history_has_what_was_evaluated_in_the_epoch() -> None:
    loop, _ = make(eval_every=Every(steps=5))
    history = loop.run(epochs=6).history
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 6,
        "learning_rate": 6,
        "val_loss": 2,
        "x": 3,
    }


@pytest.mark.more
def test_rates_of_several_optimizers_schedules_and_wrapped_ones() -> None:
    w = tf.Variable(0.0)
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.25])
    slow, fast = keras.optimizers.SGD(decay), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5))
    for each in (slow, fast):
        each.build([w])

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        slow.apply([tf.reduce_mean(x)], [w])
        return {"loss": w + 0.0}

    def rates(step: Callable[[tf.Tensor], dict[str, tf.Tensor]], **state: object) -> dict[str, list[float]]:
        loop = Loop(step, ArrayData(tf.ones([2]), batch_size=1), state={"w": w, **state})
        return {n: values for n, values in loop.run(epochs=2).history.items() if n != "loss"}

    assert rates(train_step, slow=slow, more=[fast]) == {
        "learning_rate/slow": [0.25] * 2,
        "learning_rate/more/0": [0.5] * 2,
    }

    assert rates(train_step, slow=slow, inner=fast.inner_optimizer, more=[fast]).keys() == {
        "learning_rate/slow",
        "learning_rate/more/0",
    }
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("adam", "mse")  # which nobody trains with it
    assert rates(train_step, model=model, slow=slow) == {"learning_rate": [0.25] * 2}

    def own(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": w.assign_add(1.0), "learning_rate": tf.reduce_mean(x) * 7}

    assert rates(own, fast=fast) == {"learning_rate": [7.0, 7.0]}  # a value of the step is what it says


@pytest.mark.more
def test_what_was_evaluated_before_is_no_value_of_an_epoch_whichever_evaluations_are_taken_away(tmp_path: Path) -> None:
    def run(epochs: int, *names: str) -> dict[str, list[float]]:
        w = tf.Variable(0.0)
        every = {"a": None, "b": Every(epochs=2)}
        evaluations = [
            Evaluation(lambda x: {"w\nin two lines": w + 0.0}, ArrayData(X, batch_size=8), name=name, every=every[name])
            for name in names
        ]
        data, more = ArrayData(X, batch_size=8), {"evaluate": evaluations, "hooks": [Checkpoint(tmp_path)]}
        return Loop(lambda x: {"w": w.assign_add(1.0)}, data, state={"w": w}, **more).run(epochs=epochs).history

    a, b = "a_w\nin two lines", "b_w\nin two lines"
    assert run(2, "a", "b") == {"w": [1.0, 2.0], a: [1.0, 2.0], b: [2.0]}
    assert run(3, "b") == {"w": [1.0, 2.0, 3.0], a: [1.0, 2.0], b: [2.0]}
    assert run(4, "b", "a") == {"w": [1.0, 2.0, 3.0, 4.0], a: [1.0, 2.0, 4.0], b: [2.0, 4.0]}
