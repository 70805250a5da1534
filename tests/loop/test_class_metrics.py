"""Metrics with a result for each class, or several of another kind, are logged one by one."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping
from loop import ArrayData, Evaluation, Event, Every, Loop, Moment, Step, keras_steps, supervised


class Both(keras.metrics.Mean):
    def result(self) -> dict[str, tf.Tensor]:
        return {"mean": super().result(), "double": 2 * super().result()}


def make(*hooks: object) -> Loop:
    def metrics() -> dict[str, keras.Metric]:
        return {"f1": keras.metrics.F1Score(average=None), "both": Both()}

    def step(metrics: dict[str, keras.Metric], batch: tf.Tensor) -> dict[str, tf.Tensor]:
        row = tf.one_hot(batch, 3)
        metrics["f1"].update_state(row, tf.one_hot(batch // 2, 3))
        metrics["both"].update_state(batch)
        return {"x": batch[0]}

    trained, evaluated = metrics(), metrics()
    train = Step(lambda batch: step(trained, batch), metrics=trained)
    names = ["cat", "dog", "owl"]
    evaluate = Step(lambda batch: step(evaluated, batch), metrics=evaluated, class_names=names)
    data = tf.data.Dataset.range(3).batch(1)
    return Loop(train, data, state={}, evaluate=Evaluation(evaluate, data), hooks=hooks)


WHOLE = {  # classes 0, 1, 2 are taken for 0, 0, 1
    "both/double": 2.0,
    "both/mean": 1.0,
    "f1/0": 2 / 3,
    "f1/1": 0.0,
    "f1/2": 0.0,
    "x": 1.0,
    "val_both/double": 2.0,
    "val_both/mean": 1.0,
    "val_f1/cat": 2 / 3,
    "val_f1/dog": 0.0,
    "val_f1/owl": 0.0,
    "val_x": 1.0,
}


def rounded(logs: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in logs.items()}


@pytest.mark.more
def test_each_class_is_logged_watched_and_known_again_when_nothing_is_left_to_run(tmp_path: Path) -> None:
    hooks = [EarlyStopping("val_f1/cat", mode="max", patience=2), Checkpoint(tmp_path, best="val_f1/dog", mode="max")]
    loop, seen = make(*hooks), []
    loop.on(Event.STEP_END, every=Every(steps=1))(lambda moment: seen.append(rounded(moment.logs)))
    result = loop.run(epochs=9)
    assert seen[0] == {"x": 0.0, "f1/0": 1.0, "f1/1": 0.0, "f1/2": 0.0, "both/mean": 0.0, "both/double": 0.0}
    assert rounded(result.logs) == rounded(WHOLE)
    assert result.epoch == 3
    assert {*loop.train_names} | {*loop.evaluation_names["val"]} == {*WHOLE}
    again = make(EarlyStopping("val_f1/cat", mode="max", patience=2), Checkpoint(tmp_path))
    assert again.run(epochs=3).logs == result.logs
    assert {*again.train_names} | {*again.evaluation_names["val"]} == {*WHOLE}
    names: list[str] = []
    again.on(Event.EPOCH_END)(lambda moment: names.extend(moment.logs))


def test_values_of_a_moment_are_those_of_the_classes() -> None:
    logs: list[Moment] = []
    loop = make()
    loop.on(Event.EVAL_END)(logs.append)
    loop.run(epochs=1)
    assert rounded(logs[0].logs) == {n: v for n, v in rounded(WHOLE).items() if n.startswith("val_")}


def test_a_vector_of_one_is_a_number_as_in_fit() -> None:
    def f1() -> keras.Metric:
        return keras.metrics.F1Score(threshold=0.5, name="f1")

    x, y = np.array([[0.0], [1.0], [1.0]], np.float32), np.array([[0.0], [0.0], [1.0]], np.float32)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[f1()])
    optimizer, values = keras.optimizers.SGD(0.0), [model.fit(x, y, verbose=0).history["f1"]]
    for step in (keras_steps(model)[0], supervised(model, optimizer, "mse", metrics=[f1()])[0]):
        loop = Loop(step, ArrayData((x, y), batch_size=3), state={"model": model, "optimizer": optimizer})
        values.append(loop.run(epochs=1).history["f1"])
    assert values == [[pytest.approx(2 / 3)]] * 3


def test_two_results_of_one_name_are_refused() -> None:
    def audit(name: str, of_classes: keras.Metric) -> None:
        metrics = {"f1": of_classes, name: keras.metrics.Mean()}
        data = ArrayData((np.eye(2, dtype="float32"),), batch_size=2)
        Loop(Step(lambda batch: {"x": tf.reduce_sum(batch[0])}, metrics=metrics), data, state={}).audit()

    class Both(keras.metrics.Mean):
        def result(self) -> dict[str, tf.Tensor]:
            return {"mean": super().result()}

    for name, metric in {"f1/mean": Both(), "f1/1": keras.metrics.F1Score()}.items():
        if isinstance(metric, keras.metrics.F1Score):
            metric.update_state(np.eye(2), np.eye(2))
        why = f"two results of its metrics as '{name}'.*Give one of the metrics another name"
        with pytest.raises(ValueError, match=why):
            audit(name, metric)
        audit(name + "_mean", metric)


class Terms(keras.Metric):
    """Adds up numbers of which the sum depends on the order in which they are added."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = [self.add_variable([], keras.initializers.Constant(x)) for x in (1e8, 1.2345, -1e8, 3.3e-3, 7.77)]

    def update_state(self, value: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        self.terms[1].assign_add(value)

    def result(self) -> tf.Tensor:
        a, b, c, d, e = self.terms
        return a + b * 1.1 + c + d * 0.3 + e

    def reset_state(self) -> None:
        pass


def test_a_result_is_the_same_number_at_the_last_step_and_at_the_end_of_the_epoch() -> None:
    """TensorFlow's optimizer of arithmetic would add in another order where the end of an epoch asks for it."""
    metric, seen = Terms(), dict[str, float]()
    total = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        metric.update_state(x[0])
        return {"total": total.assign_add(x[0])}

    loop = Loop(
        Step(step, metrics={"terms": metric}), ArrayData(tf.range(4.0), batch_size=1, seed=1), state={"total": total}
    )
    loop.on(Event.STEP_END, Every(steps=4))(lambda moment: seen.update(step=moment.logs["terms"]))
    loop.on(Event.EPOCH_END)(lambda moment: seen.update(epoch=moment.logs["terms"]))
    loop.run(epochs=1)
    assert seen["step"] == seen["epoch"] == loop.history["terms"][0]
