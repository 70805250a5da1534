"""AutoGraph converts the program's own functions, and none of the loop's: to convert one takes it 5 to 200 ms.

It reads the lines of a file as they are when it does, so a function of a file that was changed since it was imported,
by an update of this package, say, would become another one.
"""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api

import loop as package
from hooks import LearningRate, NaNGuard, TensorBoard, WeightAverage
from loop import ArrayData, Evaluation, Loop, StreamData, keras_steps, supervised

X = np.arange(-6, 6, dtype="float32").reshape(6, 2)


class Positive(keras.Metric):
    """How many batches have predictions that are positive in all; -1 for none."""

    def __init__(self, name: str = "positive") -> None:
        super().__init__(name=name)
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, y: tf.Tensor, prediction: tf.Tensor, sample_weight: object = None) -> None:
        if tf.reduce_sum(prediction) > 0:
            self.count.assign_add(1.0)

    def result(self) -> tf.Tensor:
        return -1.0 if self.count == 0.0 else self.count + 0.0


def leaning(y: tf.Tensor, prediction: tf.Tensor, sample_weight: object) -> tf.Tensor:
    mean = tf.reduce_mean(prediction)
    return mean if mean > 0 else -3.0 * mean


def test_what_a_program_gives_is_converted_and_what_is_the_loops_own_is_not() -> None:
    before = {*api._TRANSPILER._cache._cache}
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, kernel_initializer="ones")])
    optimizer = keras.optimizers.SGD(0.0)
    train_step, eval_step = supervised(model, optimizer, leaning, metrics={"positive": Positive()})
    data = ArrayData((X, X[:, :1]), batch_size=2, shuffle=False)
    evaluation = Evaluation(eval_step, ArrayData((X[:2], X[:2, :1]), batch_size=2, shuffle=False))
    loop = Loop(train_step, data, state={"model": model, "optimizer": optimizer}, evaluate=evaluation)
    logs = loop.run(epochs=1).logs
    # Of three batches, the sums of two rows each are -18, -2, 14.
    assert logs["loss"] == np.float32((3 * 9 + 3 * 1 + 7) / 3)
    assert (logs["positive"], logs["val_loss"], logs["val_positive"]) == (1.0, 27.0, -1.0)
    made = {code.co_name: code.co_filename for code in {*api._TRANSPILER._cache._cache} - before}
    assert made == dict.fromkeys(["leaning", "update_state", "result"], __file__)


def of_generator() -> tf.data.Dataset:
    spec = tf.TensorSpec([2], tf.float32), tf.TensorSpec([1], tf.float32)
    return tf.data.Dataset.from_generator(lambda: zip(X, X[:, :1], strict=True), output_signature=spec).batch(2)


def of_stages() -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(6).map(lambda x, y: (x + tf.random.normal([]), y))
    return data.filter(lambda x, y: tf.reduce_sum(x) > -1e9).batch(2).cache().prefetch(2)


SOURCES = {
    "generator": lambda: StreamData(of_generator()),
    "replayed": lambda: StreamData(of_generator(), resume="replay"),
    "stages": of_stages,
    "arrays": lambda: ArrayData((X, X[:, :1]), batch_size=2, seed=1),
}


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_of_this_package_is_converted_whatever_the_data_and_the_hooks(
    monkeypatch: pytest.MonkeyPatch, source: str, tmp_path: pathlib.Path
) -> None:
    cache = api._TRANSPILER._cache
    monkeypatch.setattr(cache, "_cache", type(cache._cache)())  # what other tests have converted would not show
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    train_step, eval_step = keras_steps(model)
    hooks = [LearningRate(lambda step: 0.1, warmup=2), NaNGuard(weights=True), WeightAverage(), TensorBoard(tmp_path)]
    evaluation = Evaluation(eval_step, SOURCES[source]())
    Loop(train_step, SOURCES[source](), state={"model": model}, evaluate=evaluation, hooks=hooks).run(epochs=2)
    root = str(pathlib.Path(package.__file__).parent.parent)
    made = [code for code in cache._cache if code.co_filename.startswith(root) and code.co_filename != __file__]
    assert not [f"{code.co_filename}: {code.co_name}" for code in made]
