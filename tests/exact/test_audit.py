"""What would keep a run from being resumed exactly is named, with its line, before the first step."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Evaluation, Event, InexactRun, Loop, Moment, supervised

kept = tf.Variable(1.0, name="kept")
# Of the raw operation; the function draws from what a checkpoint holds.
noise = functools.partial(tf.raw_ops.RandomStandardNormal, shape=tf.shape(0.0), dtype=tf.float32, seed=1)


def over(step: Callable[[tf.Tensor], dict[str, tf.Tensor]], **arguments: object) -> Loop:
    return Loop(step, ArrayData(tf.range(6.0), batch_size=2, seed=1), state={"kept": kept}, **arguments)


def named(step: Callable[[tf.Tensor], dict[str, tf.Tensor]], **arguments: object) -> list[str]:
    """Returns what is found, each with the text of its line."""
    findings = over(step, **arguments).audit()
    assert all("tests/exact/test_audit.py:" in finding.where for finding in findings)
    return [f"{finding.what} | {finding.where.partition(': ')[2]}" for finding in findings]


def test_a_variable_that_is_changed_anywhere_and_in_no_state_is_named_with_its_line() -> None:
    lost = [tf.Variable(1.0, name=name) for name in ("plain", "in_loop", "in_branch", "in_function")]

    @tf.function
    def nested(x: tf.Tensor) -> tf.Tensor:
        return lost[3].assign_add(x)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        lost[0].assign_add(1.0)
        for _ in tf.range(2):
            lost[1].assign_add(1.0)
        if batch[0] > 2.0:
            lost[2].assign(batch[0])
        return {"x": kept.assign_add(nested(batch[0]))}

    what = "The train step changes what no checkpoint would hold:"
    assert sorted(named(step)) == [
        f"{what} in_branch:0  shape (), float32 | lost[2].assign(batch[0])",
        f"{what} in_function:0  shape (), float32 | return lost[3].assign_add(x)",
        f"{what} in_loop:0  shape (), float32 | lost[1].assign_add(1.0)",
        f"{what} plain:0  shape (), float32 | lost[0].assign_add(1.0)",
    ]


def test_a_table_and_an_iterator_that_are_in_no_state_are_named_and_taken_in_one() -> None:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
    rows = iter(tf.data.Dataset.range(100))

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        key = next(rows)
        table.insert(key, key)
        return {"x": kept.assign_add(1.0)}

    what = "The train step changes what no checkpoint would hold:"
    assert sorted(named(step)) == [
        f"{what} a lookup table | table.insert(key, key)",
        f"{what} an iterator | key = next(rows)",
    ]
    data = ArrayData(tf.range(6.0), batch_size=2)
    assert Loop(step, data, state={"kept": kept, "table": table, "rows": rows}).audit() == []


@pytest.mark.parametrize(
    ("draw", "operation"),
    [
        (lambda x: noise(), "RandomStandardNormal"),
        (lambda x: tf.reduce_sum(tf.raw_ops.RandomUniform(shape=[2], dtype=tf.float32, seed=1)), "RandomUniform"),
        (lambda x: tf.cast(tf.raw_ops.RandomShuffle(value=x, seed=1)[0], tf.float32), "RandomShuffle"),
    ],
)
def test_random_numbers_that_cannot_be_saved_are_named(draw: Callable[[tf.Tensor], tf.Tensor], operation: str) -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": kept.assign_add(draw(batch))}

    (finding,) = over(step).audit()
    assert finding.what == f"The train step draws from a stream that cannot be saved: {operation}"
    (finding,) = over(
        lambda batch: {"x": kept.assign_add(1.0)},
        evaluate=Evaluation(lambda b: {"x": draw(b)}, ArrayData(tf.range(4.0), batch_size=2)),
    ).audit()
    assert finding.what == f"Evaluation 'val' draws from a stream that cannot be saved: {operation}"


def test_calls_of_python_are_named_unless_they_are_declared_to_have_no_state() -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        one = tf.py_function(lambda: 1.0, [], tf.float32)
        two = tf.numpy_function(lambda: 1.0, [], tf.float32, stateful=False)
        return {"x": kept.assign_add(tf.ensure_shape(one + two, []))}

    assert named(step) == [
        "The train step calls Python: EagerPyFunc | one = tf.py_function(lambda: 1.0, [], tf.float32)"
    ]


def test_what_can_be_resumed_is_not_named() -> None:
    seeds, generator = keras.random.SeedGenerator(1), tf.random.Generator.from_seed(1)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [1.0]), 0.0)
    frozen = keras.layers.Dense(2)
    frozen.build([None, 1])

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.reduce_sum(frozen(batch[:, None])) + keras.random.normal([], seed=seeds) + keras.random.normal([])
        x += generator.normal([]) + tf.random.stateless_normal([], seed=[1, 2]) + table.lookup(tf.constant(0))
        tf.debugging.assert_greater(batch[0], -1.0)
        if x < -1e9:
            tf.print(x)
        return {"x": kept.assign_add(x)}

    data, state = ArrayData(tf.range(6.0), batch_size=2), {"kept": kept, "seeds": seeds, "generator": generator}
    assert Loop(step, data, state=state).audit() == []


def test_a_run_is_refused_with_all_findings_and_each_remedy_once_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    lost = [tf.Variable(1.0, name=f"lost_{i}") for i in range(2)]

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        lost[0].assign_add(1.0)
        lost[1].assign_add(noise())
        return {"x": kept.assign_add(1.0)}

    before = float(kept)
    with pytest.raises(InexactRun) as error:
        over(step).run(epochs=1)
    text = str(error.value)
    assert float(kept) == before
    assert len(error.value.findings) == 3
    assert ("lost_0:0" in text, "lost_1:0" in text, "RandomStandardNormal" in text) == (True, True, True)
    assert (text.count("-> Add what it belongs to"), text.count("-> Use tf.random.normal(shape)")) == (1, 1)
    assert over(step, exact=False).run(epochs=1).step == 3
    assert "This run could not be resumed exactly" in caplog.text


def test_what_the_step_makes_and_finds_again_by_its_name_is_named() -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.raw_ops.Stage(values=[batch[0]], shared_name="stage")
        return {"x": kept.assign_add(tf.raw_ops.Unstage(dtypes=[tf.float32], shared_name="stage")[0])}

    (finding,) = over(step).audit()
    assert finding.what.endswith("keeps values in something that it makes itself and that outlives it: Stage")
    assert "tf.raw_ops.Stage(values" in finding.where


def test_a_queue_is_not_to_be_put_into_the_state() -> None:
    queue = tf.queue.FIFOQueue(10, tf.float32, [[]])

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        queue.enqueue(batch[0])
        return {"x": kept.assign_add(queue.dequeue())}

    assert {(finding.what.rpartition(": ")[2], finding.instead) for finding in over(step).audit()} == {
        ("a queue", "A queue cannot be saved. Keep what is in it in a tf.Variable, and put that into state.")
    }


@pytest.mark.parametrize("covered", [False, True])
def test_a_table_that_is_only_read_and_that_a_hook_fills_has_to_be_in_the_state(covered: bool) -> None:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
    loop = Loop(
        lambda batch: {"x": kept.assign_add(table.lookup(tf.constant(1, tf.int64)))},
        ArrayData(tf.range(6.0), batch_size=2, seed=1),
        state={"kept": kept, **({"table": table} if covered else {})},
    )

    @loop.on(Event.EPOCH_END)
    def fill(moment: Moment) -> None:
        table.insert(tf.constant(1, tf.int64), 2.0)

    if covered:
        assert loop.run(epochs=2).epoch == 2
    else:
        with pytest.raises(InexactRun, match="has changed what no checkpoint holds: a lookup table"):
            loop.run(epochs=2)


@pytest.mark.parametrize("event", [Event.SETUP, Event.RUN_BEGIN])
def test_what_is_only_read_may_be_loaded_before_the_first_step(event: Event) -> None:
    teacher = tf.Variable(0.1, name="teacher")
    loop = over(lambda batch: {"x": kept.assign_add(teacher)})

    @loop.on(event)
    def load(*told: object) -> None:
        teacher.assign(0.5)

    assert loop.run(epochs=2).epoch == 2


def test_what_is_only_read_is_logged_and_refused_once_a_hook_has_changed_it(caplog: pytest.LogCaptureFixture) -> None:
    rate = tf.Variable(0.1, name="rate")
    caplog.set_level(logging.INFO, "exactloop")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": kept.assign_add(rate)}

    loop = over(step)
    assert loop.run(epochs=2).epoch == 2
    assert "Only read by the steps, and in no checkpoint: rate:0." in caplog.text

    @loop.on(Event.EPOCH_END)
    def decay(moment: Moment) -> None:
        rate.assign(rate / 2)

    with pytest.raises(InexactRun, match="A hook, or another thread, has changed what no checkpoint holds: rate:0"):
        loop.run(epochs=3)


@pytest.mark.parametrize("held", [False, True])
def test_what_the_data_read_and_a_hook_changes_is_read_in_the_step_then(held: bool) -> None:
    """In the state or not: which elements were made ahead with which value, no checkpoint holds."""

    def trained(*, in_step: bool) -> Loop:
        strength, total = tf.Variable(0.0, name="strength"), tf.Variable(0.0)
        data = tf.data.Dataset.range(6).map(lambda i: float(i) * (1.0 if in_step else strength)).batch(2)
        state = {"total": total, **({"strength": strength} if held or in_step else {})}

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"x": total.assign_add(tf.reduce_sum(batch) * (strength if in_step else 1.0))}

        loop = Loop(step, data, state=state)
        loop.on(Event.EPOCH_END)(lambda moment: strength.assign(moment.epoch * 0.5))
        return loop

    with pytest.raises(InexactRun) as refused:
        trained(in_step=False).run(epochs=2)
    assert "A hook, or another thread, has changed what functions of the data read: strength" in str(refused.value)
    assert "Read it in the step." in str(refused.value)
    assert trained(in_step=True).run(epochs=2).history["x"] == [0.0, (0.5 + 3.0 + 7.5) / 3]


def test_an_operation_in_a_layer_of_ones_own_is_named_with_its_line() -> None:
    class Noise(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x + noise()

    model = keras.Sequential([keras.Input([1]), Noise(), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    data = ArrayData((tf.ones([4, 1]), tf.ones([4, 1])), batch_size=2)
    (finding,) = Loop(step, data, state={"model": model, "optimizer": optimizer}).audit()
    assert finding.where.endswith(": return x + noise()")


def supervised_over(layer: keras.layers.Layer, *, whole: bool = True) -> Loop:
    """Returns a loop over a network with a layer; without its seed generators in the state, if that is not `whole`."""
    model, optimizer = keras.Sequential([keras.Input([2]), layer, keras.layers.Dense(1)]), keras.optimizers.SGD(0.1)
    train_step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
    rows = (tf.ones([4, 2]), tf.ones([4, 1]))
    evaluation = Evaluation(eval_step, ArrayData(rows, batch_size=2, shuffle=False))
    state = {"model": model if whole else model.weights, "optimizer": optimizer}
    return Loop(train_step, ArrayData(rows, batch_size=2), state=state, evaluate=evaluation)


def test_a_lambda_layer_and_what_it_calls_is_named_with_its_line_in_the_step_and_in_the_evaluation() -> None:
    @tf.function
    def nested(x: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda row: row + noise(), x)

    loop = supervised_over(keras.layers.Lambda(lambda x: nested(x), output_shape=(2,)))
    assert [finding.what for finding in loop.audit()] == [
        "The train step draws from a stream that cannot be saved: RandomStandardNormal",
        "Evaluation 'val' draws from a stream that cannot be saved: RandomStandardNormal",
    ]
    texts = [finding.where.partition(": ")[2] for finding in loop.audit()]
    assert texts == ["return tf.map_fn(lambda row: row + noise(), x)"] * 2


def test_what_keras_does_by_itself_has_no_line() -> None:
    (finding,) = supervised_over(keras.layers.Dropout(0.5), whole=False).audit()
    assert "seed_generator/seed_generator_state:0" in finding.what
    assert finding.where == ""
    assert supervised_over(keras.layers.Dropout(0.5)).audit() == []


def test_functions_of_numpy_are_named_too() -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        one = tf.numpy_function(lambda: np.float32(1.0), [], tf.float32)
        return {"x": kept.assign_add(tf.ensure_shape(one, []))}

    assert named(step) == [
        "The train step calls Python: PyFunc | one = tf.numpy_function(lambda: np.float32(1.0), [], tf.float32)"
    ]


def test_summaries_in_the_step_are_not_named(tmp_path: Path) -> None:
    writer, step_of_summaries = tf.summary.create_file_writer(str(tmp_path)), tf.Variable(0, dtype=tf.int64)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        with writer.as_default(step=step_of_summaries.assign_add(1)):
            tf.summary.scalar("first", batch[0])
            tf.summary.histogram("batch", batch)
            tf.summary.image("image", tf.zeros([1, 2, 2, 1]))
            tf.summary.text("text", "read")
            writer.flush()
        return {"x": kept.assign_add(1.0)}

    data = ArrayData(tf.range(6.0), batch_size=2)
    assert Loop(step, data, state={"kept": kept, "step_of_summaries": step_of_summaries}).audit() == []


@pytest.mark.parametrize(("dropout", "found"), [(0.0, 0), (0.5, 1)])
def test_a_layer_of_a_graphics_card_is_random_only_with_its_own_dropout(dropout: float, found: int) -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        state, parameters = tf.zeros([1, 1, 4]), tf.zeros([144])
        layer = {"rnn_mode": "lstm", "dropout": dropout, "sequence_lengths": [2], "time_major": True}
        done = tf.raw_ops.CudnnRNNV3(
            input=tf.zeros([2, 1, 3]), input_h=state, input_c=state, params=parameters, **layer
        )  # what keras.layers.LSTM is made of there
        return {"x": kept.assign_add(tf.reduce_sum(done[0]))}

    assert len(over(step).audit()) == found
