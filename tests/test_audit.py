"""What would keep a run from being resumed exactly is named, with its line, before the first step."""

import logging
from collections.abc import Callable

import keras
import pytest
import tensorflow as tf

from loop import ArrayData, Evaluation, Event, InexactRun, Loop, Moment, supervised

kept = tf.Variable(1.0, name="kept")


def over(step: Callable[[tf.Tensor], dict[str, tf.Tensor]], **arguments: object) -> Loop:
    return Loop(step, ArrayData(tf.range(6.0), batch_size=2, seed=1), state={"kept": kept}, **arguments)


def named(step: Callable[[tf.Tensor], dict[str, tf.Tensor]], **arguments: object) -> list[str]:
    """Returns what is found, each with the text of its line."""
    findings = over(step, **arguments).audit()
    assert all("tests/test_audit.py:" in finding.where for finding in findings)
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
        (lambda x: tf.random.normal([]), "RandomStandardNormal"),
        (lambda x: tf.reduce_sum(tf.nn.dropout(x, 0.5)), "RandomUniform"),
        (lambda x: tf.cast(tf.random.shuffle(x)[0], tf.float32), "RandomShuffle"),
        (lambda x: tf.reduce_sum(tf.image.random_brightness(tf.ones([2, 2, 3]), 0.1)), "RandomUniform"),
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
        lost[1].assign_add(tf.random.normal([]))
        return {"x": kept.assign_add(1.0)}

    before = float(kept)
    with pytest.raises(InexactRun) as error:
        over(step).run(epochs=1)
    text = str(error.value)
    assert float(kept) == before
    assert len(error.value.findings) == 3
    assert ("lost_0:0" in text, "lost_1:0" in text, "RandomStandardNormal" in text) == (True, True, True)
    assert (text.count("-> Add what it belongs to"), text.count("-> Use keras.random")) == (1, 1)
    assert over(step, exact=False).run(epochs=1).step == 3
    assert "This run could not be resumed exactly" in caplog.text


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


def test_an_operation_in_a_layer_of_ones_own_is_named_with_its_line() -> None:
    class Noise(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return x + tf.random.normal([])

    model = keras.Sequential([keras.Input([1]), Noise(), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(0.1)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    data = ArrayData((tf.ones([4, 1]), tf.ones([4, 1])), batch_size=2)
    (finding,) = Loop(step, data, state={"model": model, "optimizer": optimizer}).audit()
    assert finding.where.endswith(": return x + tf.random.normal([])")
