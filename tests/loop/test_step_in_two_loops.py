"""Loops that train in turns with one step end as loops that have a step each."""

from collections.abc import Callable

import keras
import pytest
import tensorflow as tf
import tiny

from loop import ArrayData, Hook, Loop, Moment, Step, keras_steps, supervised

DATA = tf.reshape(tf.range(12.0), [12, 1])


def supervised_step() -> tuple[Step, list[object]]:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="ones")])
    optimizer, metrics = keras.optimizers.SGD(0.0), {"error": keras.metrics.MeanAbsoluteError()}
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError(), metrics=metrics, accumulate=3)
    return step, [model, optimizer]


def keras_step() -> tuple[Step, keras.Model]:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    step, _ = keras_steps(model)
    return step, model


def metric_in_two_steps() -> Callable[[], tuple[Step, tf.Variable]]:
    mean = keras.metrics.Mean()

    def make() -> tuple[Step, tf.Variable]:
        total = tf.Variable(0.0)

        def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            mean.update_state(batch[0])
            return {"loss": total.assign_add(1.0)}

        return Step(step, metrics={"mean": mean}), total

    return make


def loop_of(step: Step, trained: object, low: float) -> Loop:
    data = (DATA + low, DATA * 2)
    return Loop(step, ArrayData(data, batch_size=2, shuffle=False), state={"trained": trained})


def in_turns(loops: list[Loop]) -> list[list[float]]:
    """Runs them in turns, in mid-epoch. Returns what was measured in each part."""
    return [[*loop.run(steps=total).logs.values()] for total in (2, 4, 7) for loop in loops]


def own_bits(loop: Loop) -> dict[str, bytes]:
    return {path: value for path, value in tiny.bits(loop).items() if path.startswith(("metrics", "accum", "means"))}


@pytest.mark.parametrize("make", [pytest.param(supervised_step, marks=pytest.mark.more), keras_step])
def test_each_loop_finds_what_a_step_has_added_up_as_it_has_left_it(make: Callable[[], tuple[Step, object]]) -> None:
    # One model is trained by both, and so at a rate of zero: what counts is what is measured of it.
    step, trained = make()
    shared = [loop_of(step, trained, low) for low in (0.0, 5.0)]
    apart = [loop_of(*make(), low) for low in (0.0, 5.0)]
    assert in_turns(shared) == in_turns(apart)
    assert own_bits(apart[1]) == own_bits(shared[1])


def test_two_steps_may_have_one_metric_in_turns_and_not_one_within_the_other() -> None:
    make = metric_in_two_steps()
    shared = [loop_of(*make(), low) for low in (0.0, 5.0)]
    apart = [loop_of(*metric_in_two_steps()(), low) for low in (0.0, 5.0)]
    assert in_turns(shared) == in_turns(apart)

    class Nested(Hook):
        def on_run_begin(self, moment: Moment) -> None:
            shared[1].run(steps=9)

    shared[0].hooks.add(Nested())
    with pytest.raises(RuntimeError, match="A loop that is running has metric 'mean"):
        shared[0].run(steps=9)
    shared[0].hooks.remove("nested")
    assert [loop.run(steps=9).step for loop in shared] == [9, 9]
