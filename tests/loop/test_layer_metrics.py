"""Metrics that layers update by themselves are logged by `supervised`, as `fit` logs them, and survive a resume."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, InexactRun, Loop, RunResult, supervised

X = np.random.default_rng(3).normal(size=[16, 3]).astype("float32")
Y = X[:, :1] * 2


class Active(keras.layers.Layer):
    """Measures how active it is."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.active = keras.layers.Dense(2), keras.metrics.Mean(name="active")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.dense(x)
        self.active.update_state(y)
        return y


class Own(keras.Model):
    """A model with a step of its own, which alone updates what it measures with."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.tracker = keras.layers.Dense(1), keras.metrics.Mean(name="loss")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(x)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        raise AssertionError


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input([3]), Active(), Active(), keras.layers.Dense(1)])


def run(steps: int, directory: Path | None = None) -> RunResult:
    model, optimizer = network(), keras.optimizers.SGD(0.01)
    train_step, eval_step = supervised(model, optimizer, "mse", metrics=["mae"])
    loop = Loop(
        train_step,
        ArrayData((X, Y), batch_size=4, shuffle=False),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, ArrayData((X[:8], Y[:8]), batch_size=4), every=Every(steps=3)),
        hooks=[] if directory is None else [Checkpoint(directory, Every(steps=1))],
    )
    return loop.run(steps=steps)


def test_they_are_those_of_fit() -> None:
    model, optimizer = network(), keras.optimizers.SGD(0.01)
    train_step, eval_step = supervised(model, optimizer, "mse", metrics=["mae"])
    data = ArrayData((X, Y), batch_size=4, shuffle=False)
    evaluate = Evaluation(eval_step, ArrayData((X[:8], Y[:8]), batch_size=4))
    found = Loop(train_step, data, state={"model": model, "optimizer": optimizer}, evaluate=evaluate).run(epochs=2)

    fitted = network()
    fitted.layers[1].active.name = "active_1"  # or `fit` logs one of the two
    fitted.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"])
    of_fit = fitted.fit(X, Y, batch_size=4, shuffle=False, epochs=2, validation_data=(X[:8], Y[:8]), verbose=0)
    assert {*found.history} - {"learning_rate"} == {*of_fit.history}
    for name, values in of_fit.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.more
def test_a_run_that_is_cut_goes_on_in_the_middle_of_them(tmp_path: Path) -> None:
    whole = run(8)
    for steps in (2, 3, 6):  # after 3 and 6 an evaluation has used them, in mid-epoch
        run(steps, tmp_path)
    found = run(8, tmp_path)
    assert (found.history, found.logs) == (whole.history, whole.logs)


def test_those_that_only_a_step_of_the_models_own_updates_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = Own()
    train_step, _ = supervised(model, keras.optimizers.SGD(0.01), "mse")
    assert not train_step.metrics
    assert "calls none of the model's own: train_step" in caplog.text


class Late(Active):
    """Makes another metric when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.late: keras.Metric | None = None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.late = self.late or keras.metrics.Mean(name="late")
        self.late.update_state(x)
        return super().call(x)


def test_one_that_is_made_in_a_call_is_refused() -> None:
    layer = Late()
    train_step, _ = supervised(layer, keras.optimizers.SGD(0.01), "mse")
    with pytest.raises(InexactRun, match="a metric that a layer updates itself is made in the __init__ of the layer"):
        Loop(train_step, ArrayData((X, Y), batch_size=4), state={"layer": layer}).run(epochs=1)
