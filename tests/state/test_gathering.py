"""What may be given as state, and under which paths it is saved."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint, restore
from loop import ArrayData, Every, Loop
from loop.state.training_state import TrainingState


def variable() -> tf.Variable:
    return tf.Variable(1.0)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({1: variable(), "1": variable()}, "m/1"),
        ({"of": [{None: variable(), "a": variable(), "None": variable()}]}, "m/of/0/None"),
        ({"a/b": variable(), "a": {"b": variable()}}, "m/a/b"),
    ],
)
def test_two_things_that_would_be_saved_as_one_are_refused(given: Mapping[object, object], path: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"both be saved as {path!r}")):
        TrainingState({"m": given})


@pytest.mark.parametrize("key", ["a.ATTRIBUTES", "\ud800"])
def test_what_tensorflow_would_not_find_again_is_refused(key: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"cannot restore what it saves under {f'm/{key}'!r}. Give it a key")
    ):
        TrainingState({"m": {key: variable()}})


def test_a_variable_without_a_value_for_a_file_is_refused_before_the_first_step(tmp_path: Path) -> None:
    count, option = variable(), tf.Variable(tf.raw_ops.OptionalFromValue(components=[1.0]), dtype=tf.variant)
    state = {"count": count, "option": option}
    step = lambda batch: {"count": count.assign_add(1.0)}  # noqa: E731
    loop = Loop(step, ArrayData(tf.range(2.0), batch_size=1, seed=1), state=state, hooks=[Checkpoint(tmp_path)])
    with pytest.raises(TypeError, match="option is a variable of dtype variant, and no file can hold its value"):
        loop.run(steps=1)
    assert float(count) == 1.0


def test_with_other_keys_both_are_saved() -> None:
    state = TrainingState({"m": {1: variable(), "2": variable(), "c/b": variable(), "a": {"b": variable()}}})
    assert [path for path in state.variables if path.startswith("m/")] == ["m/1", "m/2", "m/c/b", "m/a/b"]


def test_a_variable_with_any_number_of_dimensions_is_saved_and_restored(tmp_path: Path) -> None:
    def life(steps: int) -> list[float]:
        seen = tf.Variable([0.0], shape=tf.TensorShape(None), trainable=False, name="seen")

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            seen.assign(tf.concat([seen.read_value(), batch], axis=0))
            return {"last": batch[-1]}

        data = ArrayData(tf.range(8.0).numpy(), batch_size=2, shuffle=False)
        checkpoint = Checkpoint(tmp_path, Every(steps=1), background=False)
        Loop(step, data, state={"seen": seen}, hooks=[checkpoint]).run(steps=steps)
        return seen.numpy().tolist()

    assert life(1) == [0.0, 0.0, 1.0]
    assert life(3) == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    seen = tf.Variable(0.0, shape=tf.TensorShape(None), trainable=False)
    restore(tmp_path, {"seen": seen})
    assert seen.numpy().tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.more
@pytest.mark.parametrize("key", ["a/b", "/", "a//b", "a.b", "", "\u00e4 \0"])
def test_what_is_under_any_key_is_saved_and_restored(key: str, tmp_path: Path) -> None:
    def given() -> dict[str, dict[str, tf.Variable]]:
        return {"m": {"a": variable(), key: variable()}}

    def life(steps: int) -> float:
        state = given()
        data, checkpoint = ArrayData(tf.ones([8]), batch_size=2, seed=1), Checkpoint(tmp_path, Every(steps=1))
        Loop(lambda x: {"n": state["m"][key].assign_add(1.0)}, data, state=state, hooks=[checkpoint]).run(steps=steps)
        return float(state["m"][key])

    assert [life(1), life(3)] == [2.0, 4.0]
    state = given()
    restore(tmp_path, state)
    assert (float(state["m"]["a"]), float(state["m"][key])) == (1.0, 4.0)
