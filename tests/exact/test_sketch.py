"""What tells a step from another one by its Python alone: the same in each process, another one for another program."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import environment

from loop.exact.sketch import sketch
from loop.supervised import supervised

COEFFICIENT = 0.5


def keras_steps(
    activation: str = "relu", loss: object = None, metric: type = keras.metrics.MeanSquaredError, rate: object = 0.1
) -> str:
    layers = [keras.layers.Dense(2, activation=activation), keras.layers.Dropout(0.1), Doubled(2)]
    network = keras.Sequential([keras.Input([3]), *layers])
    of = loss or keras.losses.Huber(delta=0.5)
    train_step, eval_step = supervised(network, keras.optimizers.Adam(rate), of, metrics={"error": metric()})
    return sketch((train_step.function, eval_step.function))


class Doubled(keras.layers.Dense):
    def call(self, x: tf.Tensor) -> tf.Tensor:
        return 2.0 * super().call(x)


def by_global(x: float) -> list[float]:
    return [COEFFICIENT * each for each in [x]]


def by_closure(value: object) -> Callable[[float], object]:
    return lambda x: (x, value)


class Trainer:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def step(self, x: float) -> float:
        return self.rate * x


def test_the_same_program_has_the_same_sketch() -> None:
    assert keras_steps() == keras_steps()  # though Keras gives other names to the layers
    for made in (lambda: by_closure({"a": {1, 2}}), lambda: Trainer(1.0).step, lambda: functools.partial(max, 1)):
        assert sketch(made()) == sketch(made())
    assert sketch(by_closure(tf.Variable(1.0))) == sketch(by_closure(tf.Variable(2.0)))


def test_a_rate_that_a_hook_may_have_moved_is_no_difference() -> None:
    assert keras_steps(rate=0.1) == keras_steps(rate=0.2)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay


@pytest.mark.parametrize(
    "changed",
    [
        {"activation": "tanh"},
        {"loss": keras.losses.Huber(delta=0.6)},
        {"loss": keras.losses.MeanSquaredError()},
        {"loss": lambda y, prediction, weight: tf.reduce_mean(prediction)},
        {"metric": keras.metrics.MeanAbsoluteError},
        {"rate": SCHEDULE(0.1, 10, 0.5)},
    ],
)
def test_another_keras_object_or_argument_is_another_program(changed: dict[str, Any]) -> None:
    assert keras_steps() != keras_steps(**changed)


def test_another_value_that_is_referred_to_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(1, 2), (1, 1.0), ([1], (1,)), ({"a": 1}, {"a": 2}), (np.zeros(2), np.ones(2)), (np.zeros(2), np.zeros(3))]
    pairs += [
        (tf.constant(1.0), tf.constant(2.0)),
        (tf.Variable(1.0), tf.Variable([1.0])),
        (max, min),
        (abs, by_global),
    ]
    pairs += [(Trainer(1.0), Trainer(2.0)), (Trainer(1.0).step, Trainer(2.0).step), (tf.square, tf.abs)]
    pairs += [
        (functools.partial(max, 1), functools.partial(max, 2)),
        (tf.function(by_global), tf.function(keras_steps)),
    ]
    assert [pair for pair in pairs if sketch(by_closure(pair[0])) == sketch(by_closure(pair[1]))] == []
    before = sketch(by_global)
    monkeypatch.setattr(sys.modules[__name__], "COEFFICIENT", 0.6)
    assert sketch(by_global) != before


ONE, TWO = [1, 2], [3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((ONE, TWO, ONE), (ONE, TWO, TWO)),  # what is met again is not told again, but which one it is
        ((tf.abs, tf.sign, tf.abs), (tf.abs, tf.sign, tf.sign)),
        ([[1], 2], [[1, 2]]),
        ([[], [1]], [[[1]]]),
        (functools.partial(max, [1, 2], 3), functools.partial(max, [1], 2, 3)),
    ],
)
def test_what_is_where_counts_too(one: object, other: object) -> None:
    assert sketch(by_closure(one)) != sketch(by_closure(other))


def test_the_code_of_a_layer_in_a_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keras_steps()
    monkeypatch.setattr(Doubled, "call", lambda self, x: 3.0 * keras.layers.Dense.call(self, x))
    assert keras_steps() != before


def test_what_refuses_to_be_looked_at_has_none() -> None:
    class Refuses:
        @property
        def __dict__(self) -> dict[str, object]:  # type: ignore[override]
            raise ValueError("not to be looked at")

    assert sketch(by_closure(Refuses())) == ""


def test_it_goes_round_in_circles_once() -> None:
    around: list[object] = []
    around.append(around)
    assert sketch(by_closure(around)) == sketch(by_closure(around)) != ""


@pytest.mark.more
def test_another_process_has_the_same() -> None:
    code = "import test_sketch as t; print(t.keras_steps(), t.sketch(t.by_closure({'a', 'b', 'c'})))"
    command, here = [sys.executable, "-c", code], Path(__file__).parent
    env = environment(PYTHONHASHSEED="7")
    ran = subprocess.run(command, env=env, cwd=here, capture_output=True, text=True, check=True)
    program = ran.stdout.split()
    assert program[1] == sketch(by_closure({"a", "b", "c"}))
    assert len(program[0]) == 16
