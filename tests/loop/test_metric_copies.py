"""The evaluation's own metrics: those of the training once more, with the same arguments."""

import functools

import keras
import numpy as np
import pytest

from loop import ArrayData, Evaluation, Loop, supervised

X = np.arange(24, dtype="float32").reshape(8, 3) / 24
Y = np.arange(8, dtype="float32")[:, None]


class Above(keras.metrics.Metric):
    """The part of the predictions above a number, which no configuration tells."""

    def __init__(self, number: float = 0.5, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.number, self.inner = number, keras.metrics.Mean()

    def update_state(self, y: object, prediction: object, sample_weight: object = None) -> None:
        self.inner.update_state(keras.ops.cast(prediction > self.number, "float32"), sample_weight)

    def result(self) -> object:
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()


class Told(Above):
    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "number": self.number}


class Needed(Above):
    def __init__(self, number: float, name: str = "needed") -> None:
        super().__init__(number, name=name)


class Kept(Above):
    """Keeps its argument in a variable alone."""

    def __init__(self, number: float = 0.5, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.number = self.add_variable([], keras.initializers.Constant(number), name="number")


class Within(Above):
    """Keeps its argument in a function alone."""

    def __init__(self, **kwargs: object) -> None:
        number = kwargs.pop("number", 0.5)
        super().__init__(**kwargs)
        self.function = lambda: number


class Error(keras.metrics.MeanMetricWrapper):
    def __init__(self, power: int = 2, name: str = "error") -> None:
        super().__init__(functools.partial(powers, power=power), name=name)


def powers(y: object, prediction: object, power: int = 2) -> object:
    return keras.ops.mean(abs(y - prediction) ** power, axis=-1)


def logs(metric: keras.Metric) -> tuple[float, float]:
    """Returns what the metric and its copy say of the same data."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.0)
    loss = keras.losses.MeanSquaredError()
    step, evaluation = supervised(model, optimizer, loss, metrics={"m": metric})
    data, held_out = [ArrayData((X, Y), batch_size=8, shuffle=False) for _ in range(2)]
    state = {"model": model, "optimizer": optimizer}
    found = Loop(step, data, state=state, evaluate=Evaluation(evaluation, held_out)).run(epochs=1)
    return found.logs["m"], found.logs["val_m"]


@pytest.mark.parametrize(
    "metric",
    [
        Above(),  # with the value that it has by itself
        Told(0.1),
        Error(),
        keras.metrics.MeanMetricWrapper(lambda y, prediction: powers(y, prediction, 3), name="m"),
        keras.metrics.MeanMetricWrapper(powers, power=3),
        keras.metrics.MeanMetricWrapper(functools.partial(powers, power=3)),
        keras.metrics.BinaryAccuracy(threshold=0.1),
    ],
)
def test_the_copy_says_the_same(metric: keras.Metric) -> None:
    train, evaluated = logs(metric)
    assert train == pytest.approx(evaluated)


@pytest.mark.parametrize("metric", [Above(0.9), Needed(0.5), Kept(0.9), Within(number=0.9), Error(3)])
def test_a_metric_whose_copy_would_lose_its_arguments_is_refused(metric: keras.Metric) -> None:
    kind = type(metric).__name__
    with pytest.raises(TypeError, match=rf"copy of metric 'm', which would lose its arguments. Give {kind} a get_conf"):
        logs(metric)


@pytest.mark.parametrize(
    "metric",
    [keras.metrics.AUC(num_thresholds=50), keras.metrics.TopKCategoricalAccuracy(k=2), keras.metrics.MeanIoU(2)]
    + [keras.metrics.Precision(thresholds=[0.1, 0.9], class_id=1), keras.metrics.F1Score(average="macro")]
    + [keras.metrics.MeanMetricWrapper(keras.losses.huber, delta=0.5), keras.metrics.PrecisionAtRecall(0.3)],
)
def test_metrics_of_keras_are_copied_with_their_arguments(metric: keras.Metric) -> None:
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    _, step = supervised(model, keras.optimizers.SGD(), keras.losses.MeanSquaredError(), metrics={"m": metric})
    assert step.metrics["m"] is not metric
    assert step.metrics["m"].get_config() == metric.get_config()


def test_a_metric_that_is_in_use_is_copied_and_keeps_its_values() -> None:
    metric, model = Above(), keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    metric.update_state(Y, Y)
    _, step = supervised(model, keras.optimizers.SGD(), keras.losses.MeanSquaredError(), metrics={"m": metric})
    assert [float(each.result()) for each in (metric, step.metrics["m"])] == [7 / 8, 0.0]
