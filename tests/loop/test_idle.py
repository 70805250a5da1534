"""A train step that trains nothing is told, and one that trains is not."""

from collections.abc import Callable

import keras
import pytest
import tensorflow as tf

from loop import ArrayData, Event, Hook, Loop, Moment, supervised

X, Y = tf.ones([8, 2]), tf.ones([8, 1])
Step = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def forgets(layer: keras.Layer, optimizer: keras.optimizers.Optimizer) -> Step:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(batch) ** 2)
        tape.gradient(loss, layer.trainable_variables)
        return {"loss": loss}

    return step


def applies(layer: keras.Layer, optimizer: keras.optimizers.Optimizer) -> Step:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(layer(batch) ** 2)
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        return {"loss": loss}

    return step


def applies_seldom(layer: keras.Layer, optimizer: keras.optimizers.Optimizer) -> Step:
    step = applies(layer, optimizer)
    return lambda batch: tf.cond(optimizer.iterations < 2, lambda: step(batch), lambda: {"loss": tf.constant(0.0)})


def by_hand(layer: keras.Layer, optimizer: keras.optimizers.Optimizer) -> Step:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        layer.kernel.assign_sub(tf.ones_like(layer.kernel) * 0.1)
        return {"loss": tf.reduce_mean(layer(batch) ** 2)}

    return step


@pytest.mark.parametrize("make", [forgets, applies, applies_seldom, by_hand])
def test_a_step_that_applies_no_optimizer_is_told(
    make: Callable[[keras.Layer, keras.optimizers.Optimizer], Step], caplog: pytest.LogCaptureFixture
) -> None:
    layer, optimizer = keras.layers.Dense(1), keras.optimizers.SGD(0.1)
    layer.build([None, 2])
    optimizer.build(layer.trainable_variables)
    state = {"layer": layer, "optimizer": optimizer}
    Loop(make(layer, optimizer), ArrayData(X, batch_size=4), state=state).run(epochs=1)
    said = [record.getMessage()[:31] for record in caplog.records]
    assert said == (["The train step trains nothing: "] if make is forgets else [])


def test_two_steps_in_the_wrong_order_are_told(caplog: pytest.LogCaptureFixture) -> None:
    model, optimizer = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.1)
    eval_step, train_step = supervised(model, optimizer, "mse")
    Loop(train_step, ArrayData((X, Y), batch_size=4), state={"model": model, "optimizer": optimizer}).run(epochs=1)
    assert "(train step, evaluation step)" in caplog.records[0].getMessage()
    caplog.clear()
    Loop(eval_step, ArrayData((X, Y), batch_size=4), state={"model": model, "optimizer": optimizer}).run(epochs=1)
    assert not caplog.records


def test_a_loop_without_an_optimizer_may_change_what_it_likes(caplog: pytest.LogCaptureFixture) -> None:
    layer, mean = keras.layers.Dense(1), keras.metrics.Mean()
    layer.build([None, 2])

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        mean.update_state(layer(batch))
        return {"mean": mean.result()}

    Loop(step, ArrayData(X, batch_size=4), state={"layer": layer, "mean": mean}).run(epochs=1)
    assert not caplog.records


class Student(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.seen = tf.Variable(1.0), tf.Variable(0)


@pytest.mark.parametrize("trains", [True, False])
def test_a_variable_of_tensorflow_is_trained_beside_a_teacher_with_an_optimizer(
    trains: bool, caplog: pytest.LogCaptureFixture
) -> None:
    teacher, student = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]), Student()
    teacher.compile(keras.optimizers.SGD(0.1), "mse")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        student.seen.assign_add(1)
        loss = tf.reduce_mean(teacher(batch)) * student.weight
        if trains:
            student.weight.assign_sub(0.1)
        return {"loss": loss}

    state = {"teacher": teacher, "students": [student]}
    Loop(step, ArrayData(X, batch_size=4), state=state).run(epochs=1)
    assert len(caplog.records) == (not trains)


@pytest.mark.parametrize("of", ["class", "function", "none"])
def test_a_hook_may_apply_the_optimizer(of: str, caplog: pytest.LogCaptureFixture) -> None:
    weight, optimizer = keras.Variable(1.0), keras.optimizers.SGD(0.1)
    optimizer.build([weight])

    class Applies(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            optimizer.apply([tf.constant(1.0)], [weight])

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_sum(batch) * weight}

    def apply(moment: Moment) -> None:
        optimizer.apply([tf.constant(1.0)], [weight])

    state = {"weight": weight.value, "optimizer": optimizer}
    loop = Loop(step, ArrayData(X, batch_size=4), state=state, hooks=[Applies()] if of == "class" else [])
    if of == "function":
        loop.on(Event.EPOCH_END)(apply)
    loop.run(epochs=1)
    assert len(caplog.records) == (of == "none")
