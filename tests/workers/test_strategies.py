"""TensorFlow's strategies are refused wherever they come in, with what to write instead."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Loop, StreamData
from loop.workers.joining import _refuse_another

X = np.arange(24, dtype="float32").reshape(8, 3)
NAMED = r"loop.connect\(\).*leave out the strategy.*exactloop launch"


def mirrored() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0"])


def test_a_loop_within_one() -> None:
    with mirrored().scope(), pytest.raises(RuntimeError, match=rf"outside of strategy.scope\(\).*Mirrored.*{NAMED}"):
        Loop(lambda x: {"y": tf.reduce_mean(x)}, ArrayData(X, batch_size=4), state={})


def test_a_model_that_was_made_within_one() -> None:
    """As it is written for `fit`: the model in the scope, and the rest behind it."""
    with mirrored().scope():
        model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    with pytest.raises(RuntimeError, match=rf"outside of strategy.scope\(\).*a variable of one.*{NAMED}"):
        Loop(lambda x: {"y": tf.reduce_mean(model(x))}, ArrayData(X, batch_size=4), state={"model": model})


def run(strategy: tf.distribute.Strategy, x: tf.Tensor) -> tf.Tensor:
    # What AutoGraph has to convert, as it does without a strategy.
    return strategy.run(lambda rows: -rows if tf.reduce_sum(rows) > 30.0 else rows, [x])


def scope(strategy: tf.distribute.Strategy, x: tf.Tensor) -> tf.Tensor:
    with strategy.scope():
        return -x if tf.reduce_sum(x) > 30.0 else x


@pytest.mark.parametrize("use", [run, scope])
def test_a_step_that_uses_one(use: Callable[[tf.distribute.Strategy, tf.Tensor], tf.Tensor]) -> None:
    strategy = mirrored()
    loop = Loop(lambda x: {"y": tf.reduce_mean(use(strategy, x))}, ArrayData(X, batch_size=4), state={})
    with pytest.raises(RuntimeError, match=rf"one that calls MirroredStrategy.{use.__name__}. .*{NAMED}"):
        loop.run(epochs=1)
    strategy.run(lambda: None)  # elsewhere, it is nobody's matter


@pytest.mark.parametrize("use", [run, scope])
def test_a_step_that_uses_that_of_no_strategy_goes_on(
    use: Callable[[tf.distribute.Strategy, tf.Tensor], tf.Tensor],
) -> None:
    """As what is written for any strategy does, where there is none."""
    strategy = tf.distribute.get_strategy()
    data = ArrayData(X, batch_size=4, shuffle=False)
    loop = Loop(lambda x: {"y": tf.reduce_mean(use(strategy, x))}, data, state={})
    assert loop.run(steps=2).logs["y"] == pytest.approx(-X.mean())


@pytest.mark.parametrize(
    "kind", [tf.distribute.MultiWorkerMirroredStrategy, tf.distribute.experimental.MultiWorkerMirroredStrategy]
)
def test_another_one_in_a_process_that_has_joined_the_others(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that it is undone here, as it is nowhere else.
    usual = tf.distribute.MultiWorkerMirroredStrategy
    monkeypatch.setattr(usual, "__init__", usual.__init__)
    _refuse_another()
    with pytest.raises(RuntimeError, match=r"^loop.connect\(\) has joined .* Leave out tf.distribute.MultiWorker"):
        kind()


@pytest.mark.parametrize("wrapped", [StreamData, lambda data: data, lambda data: StreamData(lambda epoch: data)])
def test_data_that_one_has_divided(wrapped: Callable[[object], object]) -> None:
    strategy, dataset = mirrored(), tf.data.Dataset.from_tensor_slices(X).batch(4)
    for data in (
        strategy.experimental_distribute_dataset(dataset),
        strategy.distribute_datasets_from_function(lambda context: dataset),
    ):
        for given in (data, iter(data)):
            with pytest.raises(TypeError, match=r"Give the dataset that it was made of, and no strategy"):
                Loop(lambda x: {"y": tf.reduce_mean(x)}, wrapped(given), state={})
