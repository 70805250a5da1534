"""Networks that a callback of Keras has of its own, and trains, go on after a resume, or it says that they do not."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Loop

Logs: TypeAlias = Any
X = np.arange(8, dtype="float32").reshape(4, 2) / 8


def network() -> keras.Sequential:
    return keras.Sequential([keras.Input([2]), keras.layers.Dense(1, kernel_initializer="ones")])


class Compiled(keras.callbacks.Callback):
    """Trains a network that it has compiled, whose optimizer is built by the first `fit`."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = network()
        self.probe.compile("adam", "mse", metrics=["mae"])
        self.losses = list[float]()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        found = self.probe.fit(X, X[:, :1], batch_size=2, shuffle=False, verbose=0)
        self.losses.append(found.history["loss"][0])


class Scaled(Compiled):
    """The same within something else, with another optimizer within the optimizer."""

    def __init__(self) -> None:
        super().__init__()
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9))
        self.probe.compile(optimizer, "mse")
        self.all = {"probe": self.probe}


class Drops(Compiled):
    """The same with random streams in its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = keras.Sequential([keras.layers.GaussianNoise(0.1), network(), keras.layers.Dropout(0.5)])
        self.probe.build([None, 2])
        self.probe.compile("adam", "mse", metrics=["mae"])


class ByHand(keras.callbacks.Callback):
    """Trains one by an optimizer that nothing but its first step says what it is for."""

    def __init__(self) -> None:
        super().__init__()
        self.probe, self.optimizer, self.losses = network(), keras.optimizers.Adam(0.1), list[float]()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.probe(X) - X[:, :1]))
        weights = self.probe.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.losses.append(float(loss))


class Unbuilt(Compiled):
    """Has a network of no shape, whose weights are drawn when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = keras.Sequential([keras.layers.Dense(1, kernel_initializer="ones")])
        self.probe.compile("adam", "mse")


def trained(callback: Compiled | ByHand, directory: Path, *epochs: int) -> list[float]:
    w = tf.Variable(0.0)
    hooks = [callback, Checkpoint(directory)]
    data = ArrayData(tf.range(4.0), batch_size=2)
    loop = Loop(lambda x: {"loss": w.assign_add(1.0)}, data, state={"w": w}, hooks=hooks)
    for until in epochs:
        loop.run(epochs=until)
    return callback.losses


@pytest.mark.parametrize("made", [*(pytest.param(made, marks=pytest.mark.more) for made in (Compiled, Scaled)), Drops])
def test_an_optimizer_that_fit_has_built_goes_on(tmp_path: Path, made: Callable[[], Compiled]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        keras.utils.set_random_seed(1)
        whole = trained(made(), tmp_path / "whole", 4)
        keras.utils.set_random_seed(1)
        trained(made(), tmp_path / "parts", 2)
        keras.utils.set_random_seed(1)
        assert trained(made(), tmp_path / "parts", 4) == whole


@pytest.mark.more
def test_one_that_was_built_in_an_earlier_run_of_the_process_goes_on(tmp_path: Path) -> None:
    whole = trained(Compiled(), tmp_path / "whole", 6)
    trained(Compiled(), tmp_path / "parts", 2, 4)
    assert trained(Compiled(), tmp_path / "parts", 6) == whole


@pytest.mark.parametrize("made", [ByHand, Unbuilt])
def test_what_nobody_can_build_again_is_named(tmp_path: Path, made: Callable[[], ByHand]) -> None:
    trained(made(), tmp_path, 2)
    with pytest.warns(UserWarning, match=r"begun anew with: .* that is built later, and has to be when a run begins"):
        trained(made(), tmp_path, 3)
