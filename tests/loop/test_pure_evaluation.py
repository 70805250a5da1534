"""An evaluation changes nothing of what is trained, whatever it does and however often."""

import logging
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from tiny import arrays, bits

from loop import NEVER, ArrayData, Evaluation, Event, Every, Hook, InexactRun, Loop, Step, StreamData, Trigger
from loop.state import training_state
from loop.tensors import put

Batch = tf.Tensor
ROWS = tf.data.Dataset.range(4).batch(2)


class Written(NamedTuple):
    """Something that the train step reads and both steps change."""

    state: Mapping[str, object]
    draw: Callable[[], tf.Tensor]


def counter() -> Written:
    count = tf.Variable(0.0)
    return Written({"count": count}, lambda: count.assign_add(1.0))


def seeds() -> Written:
    generator = keras.random.SeedGenerator(1)
    return Written({"seeds": generator}, lambda: keras.random.normal([], seed=generator))


def global_seeds() -> Written:
    return Written({}, lambda: keras.random.normal([]))


def generator() -> Written:
    stream = tf.random.Generator.from_seed(1)
    return Written({"stream": stream}, lambda: stream.normal([]))


def table() -> Written:
    sums = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)

    def draw() -> tf.Tensor:
        key = tf.constant(1, tf.int64)
        sums.insert(key, sums.lookup(key) + 1.0)
        return tf.ensure_shape(sums.lookup(key), [])

    return Written({"sums": sums}, draw)


def dense_table() -> Written:
    sums = tf.lookup.experimental.DenseHashTable(tf.int64, tf.float32, 0.0, empty_key=-1, deleted_key=-2)

    def draw() -> tf.Tensor:
        size = sums.size()
        sums.insert(size, 1.0)
        return tf.cast(size, tf.float32)

    return Written({"sums": sums}, draw)


WRITTEN = [counter, seeds, global_seeds, generator, table, dense_table]


def over(written: Written, every: Trigger = Every(steps=1), evaluations: int = 1, **arguments: object) -> Loop:
    """Returns a loop whose train step and evaluations draw from the same thing."""
    weight = tf.Variable(1.0)

    def step(batch: Batch) -> dict[str, tf.Tensor]:
        return {"loss": weight.assign_add(written.draw())}

    def eval_step(batch: Batch) -> dict[str, tf.Tensor]:
        return {"x": written.draw() + weight}

    return Loop(
        step,
        ArrayData(tf.range(6.0), batch_size=2, seed=1),
        state={"weight": weight, **written.state},
        evaluate=[Evaluation(eval_step, ROWS, name=f"val_{i}") for i in range(evaluations)],
        eval_every=every,
        **arguments,
    )


def own(loop: Loop) -> dict[str, bytes]:
    of_evaluations = ("hooks/", "evaluations/", "history/")
    return {path: value for path, value in bits(loop).items() if not path.startswith(of_evaluations)}


def trained(written: Callable[[], Written], every: Trigger, on_demand: bool = False) -> object:
    keras.utils.set_random_seed(1)
    made = written()
    loop = over(made, every)
    if on_demand:
        loop.on(Event.STEP_END, every=Every(steps=2))(lambda moment: loop.evaluate())
    result = loop.run(epochs=3)
    return own(loop), result.logs["loss"], float(made.draw()), random.getstate(), np.random.get_state()[1].tobytes()


@pytest.mark.parametrize("written", WRITTEN)
def test_training_has_the_same_bits_with_evaluations_and_without(written: Callable[[], Written]) -> None:
    without = trained(written, NEVER)
    assert trained(written, Every(steps=1)) == without
    assert trained(written, Every(steps=2), on_demand=True) == without


@pytest.mark.more
@pytest.mark.parametrize("written", WRITTEN)
def test_each_evaluation_begins_with_the_state_of_training(written: Callable[[], Written]) -> None:
    loop = over(written(), evaluations=2)
    seen = []
    loop.on(Event.EVAL_END)(lambda moment: seen.append((dict(moment.logs), loop.evaluate())))
    loop.run(steps=4)
    assert [logs == again and logs["val_0_x"] == logs["val_1_x"] for logs, again in seen] == [True] * 4


@pytest.mark.more
@pytest.mark.parametrize("written", [counter, table])
def test_an_evaluation_that_is_abandoned_and_redone_changes_nothing_either(written: Callable[[], Written]) -> None:
    without = trained(written, NEVER)[0]
    loop = over(written())
    stop = loop.on(Event.EVAL_BEGIN)(lambda moment: loop.stop("now"))
    loop.run(epochs=3)
    loop.hooks.remove(next(hook.name for hook in loop.hooks if hook.handlers()[Event.EVAL_BEGIN] is stop))
    loop.run(epochs=3)
    assert own(loop) == without


@pytest.mark.more
def test_python_s_and_numpy_s_random_numbers_are_put_back() -> None:
    def rows(epoch: int) -> tf.data.Dataset:
        random.seed(epoch)
        np.random.seed(epoch)
        return tf.data.Dataset.from_tensor_slices(np.random.normal(size=[4])).shuffle(4, seed=random.getrandbits(9))

    drawn = []
    for every in (Every(steps=1), NEVER):
        keras.utils.set_random_seed(7)
        evaluation = Evaluation(lambda batch: {"x": batch}, StreamData(rows))
        loop = Loop(lambda batch: {"x": batch[0]}, ArrayData(tf.range(6), batch_size=2, seed=1), state={},
                    evaluate=evaluation, eval_every=every)  # fmt: skip
        numbers: list[float] = []
        loop.on(Event.STEP_END, every=Every(steps=1))(
            lambda moment, numbers=numbers: numbers.append(random.random() + np.random.random())
        )
        loop.run(epochs=1)
        drawn.append(numbers)
    assert drawn[0] == drawn[1]


def stateful(every: Trigger) -> Loop:
    """Returns a loop over a stateful network, evaluated with a batch norm that is called with training=True."""
    keras.utils.set_random_seed(1)
    first, norm = keras.layers.LSTM(4, stateful=True), keras.layers.BatchNormalization(momentum=0.5)
    layers = [keras.Input(batch_shape=[10, 3, 2]), first, norm, keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    model, optimizer = keras.Sequential(layers), keras.optimizers.Adam(0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        x, y = batch
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return {"loss": value}

    def eval_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": loss(batch[1], model(batch[0], training=True))}

    x, y = arrays()
    rows = (x.reshape([50, 3, 2]), y)
    evaluation = Evaluation(eval_step, ArrayData(rows, batch_size=10, shuffle=False))
    data, state = ArrayData(rows, batch_size=10, shuffle=False), {"model": model, "optimizer": optimizer}
    return Loop(step, data, state=state, evaluate=evaluation, eval_every=every)


@pytest.mark.more
def test_a_stateful_network_is_trained_the_same_with_evaluations(caplog: pytest.LogCaptureFixture) -> None:
    without, with_them = stateful(NEVER), stateful(Every(steps=2))
    assert with_them.run(epochs=2).logs["loss"] == without.run(epochs=2).logs["loss"]
    assert own(with_them) == own(without)
    assert without.evaluate() == with_them.evaluate()
    assert "put back" not in caplog.text  # what Keras keeps in its layers is nobody's surprise


@pytest.mark.more
def test_a_hook_may_exchange_weights_around_an_evaluation_that_writes_them() -> None:
    class Exchange(Hook):
        """Evaluates another value, and keeps count."""

        def __init__(self, count: tf.Variable) -> None:
            super().__init__()
            self.there, self.told = count, tf.Variable(0)
            self.aside = tf.Variable(100.0)

        def on_eval_begin(self, moment: object) -> None:
            self._exchange()

        def on_eval_end(self, moment: object) -> None:
            assert float(self.there) == 100.0
            self._exchange()
            self.told.assign_add(1)

        def _exchange(self) -> None:
            here = float(self.there)
            self.there.assign(self.aside)
            self.aside.assign(here)

    without = trained(counter, NEVER)
    written = counter()
    hook = Exchange(written.state["count"])
    loop = over(written, hooks=[hook])
    result = loop.run(epochs=3)
    assert (own(loop), result.logs["loss"], int(hook.told)) == (without[0], without[1], 9)


def test_an_iterator_of_the_state_cannot_be_put_back_and_is_refused_with_a_way_that_works() -> None:
    rows = iter(tf.data.Dataset.range(100))

    def step(batch: Batch) -> dict[str, tf.Tensor]:
        return {"x": batch[0]}

    def reading(batch: Batch) -> dict[str, tf.Tensor]:
        return {"x": next(rows) + batch[0]}

    def loop(evaluation: Evaluation) -> Loop:
        return Loop(step, ArrayData(tf.range(6), batch_size=2, seed=1), state={"rows": rows}, evaluate=evaluation)

    with pytest.raises(InexactRun, match=r"(?s)'val' reads on in what is given as state: OwnedIterator.*next\(rows\)"):
        loop(Evaluation(reading, ROWS)).run(epochs=1)
    both = tf.data.Dataset.zip(ROWS, tf.data.Dataset.range(100))
    evaluation = Evaluation(lambda batch: {"x": batch[0][0] + batch[1]}, both)
    assert loop(evaluation).run(epochs=1).logs == {"x": pytest.approx(2.0, abs=2), "val_x": 1.5}


class Sums(Hook):
    """Sums up in evaluations, which is what hooks' variables are for."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = tf.Variable(0, dtype=tf.int64)


def test_what_a_program_writes_on_purpose_is_named_once_and_lasts_in_a_hook_or_a_metric(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost, sums = tf.Variable(0, dtype=tf.int64, name="lost"), Sums()
    metric = keras.metrics.Sum(name="all")

    def eval_step(batch: Batch) -> dict[str, tf.Tensor]:
        lost.assign_add(1)
        metric.update_state(batch)
        sums.sum.assign_add(1)
        return {"x": lost}

    data = ArrayData(tf.range(6), batch_size=2, seed=1)
    evaluation = Evaluation(Step(eval_step, metrics={"all": metric}), ROWS)
    loop = Loop(
        lambda batch: {"x": batch[0]}, data, state={"lost": lost, "all": metric}, evaluate=evaluation, hooks=[sums]
    )
    loop.run(epochs=1)
    loop.run(epochs=2)
    assert (int(lost), int(sums.sum), float(metric.result())) == (0, 4, 6.0)
    (record,) = [record for record in caplog.records if "put back" in record.message]
    assert record.levelno == logging.WARNING
    assert "Evaluation 'val' writes to the state of training" in record.message
    assert "lost:0, at tests/loop/test_pure_evaluation.py:" in record.message
    assert "lost.assign_add(1). A metric belongs into Step" in record.message


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_that_are_made_for_an_evaluation_leave_random_numbers_alone(shuffle: bool) -> None:
    random.seed(3)
    before = random.getstate()
    data = ArrayData(tf.range(4.0), batch_size=2, shuffle=shuffle)
    Evaluation(lambda x: {"x": tf.reduce_mean(x)}, data)
    assert random.getstate() == before


def test_a_state_that_an_interrupt_has_left_half_put_back_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of somebody who interrupts an evaluation, and then once more."""
    loop, written = tiny.make_counter(), list[tf.Variable]()
    loop.run(epochs=1)

    def interrupted(variable: tf.Variable, value: tf.Tensor) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(variable)
        put(variable, value)

    with monkeypatch.context() as patched:
        patched.setattr(training_state, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loop.evaluate()
    with pytest.raises(RuntimeError, match="may have left the state half-updated"):
        loop.run(epochs=2)
