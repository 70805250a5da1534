"""Metrics begin anew at each epoch as they would if they were asked to reset themselves."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Loop, Step, supervised
from loop.supervision.measures import Accuracy

Metrics = keras.metrics
MADE: dict[str, Callable[[], keras.Metric]] = {
    "mean": Metrics.Mean,
    "sum": Metrics.Sum,
    "wrapper": lambda: Metrics.MeanMetricWrapper(keras.losses.mean_squared_error),
    "iou": lambda: Metrics.MeanIoU(2),
    "f1": lambda: Metrics.F1Score(average=None),
    "r2": Metrics.R2Score,
    "precision": Metrics.Precision,
    "positives": Metrics.TruePositives,
    "sensitivity": lambda: Metrics.SensitivityAtSpecificity(0.5),
    "auc": lambda: Metrics.AUC(multi_label=True, num_labels=2),
    "accuracy": Accuracy,
}


def values(metric: keras.Metric) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in metric.variables]


@pytest.mark.parametrize("name", MADE)
def test_a_metric_of_keras_is_reset_as_it_resets_itself(name: str) -> None:
    labels, given = tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([[0.3, 0.7], [0.4, 0.6]])
    updated = (given,) if name in ("mean", "sum") else (labels, given)
    metric, other = MADE[name](), MADE[name]()
    step = Step(lambda batch: {}, metrics={name: metric})
    step.reset()  # as before the first epoch, when some have no variables yet
    for _ in range(3):
        metric.update_state(*updated)
        other.update_state(*updated)
        assert values(metric) == values(other)
        step.reset()
        other.reset_state()
        assert values(metric) == values(other)
    assert metric.variables


class Since(Metrics.Mean):
    """Keeps how often it was updated since it was made, which its reset leaves alone."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = self.add_variable([], "zeros", name="updates")

    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        self.updates.assign_add(1.0)
        super().update_state(values, sample_weight)


def test_a_metric_made_of_one_of_keras_and_one_with_a_reset_of_its_own_reset_themselves() -> None:
    since, asked, own = Since(), list[int](), Metrics.Mean()
    own.reset_state = lambda: asked.append(1)
    step = Step(lambda batch: {}, metrics={"since": since, "own": own})
    for number in range(1, 4):
        since.update_state(tf.constant(2.0))
        step.reset()
        assert (float(since.updates), float(since.count), len(asked)) == (number, 0.0, number)


def test_an_epoch_begins_with_metrics_that_know_nothing() -> None:
    model, optimizer = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.0)
    step, _ = supervised(model, optimizer, "mse", metrics={"mae": Metrics.MeanAbsoluteError()})
    data = ArrayData((tf.ones([4, 1]), tf.zeros([4, 1])), batch_size=2, seed=1)
    history = Loop(step, data, state={"model": model, "optimizer": optimizer}).run(epochs=3).history
    assert len({*history["mae"]}) == 1
    (count,) = [variable for variable in step.metrics["mae"].variables if "count" in variable.path]
    assert float(count) == 4.0
