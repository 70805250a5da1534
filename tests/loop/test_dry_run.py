"""A dry run does everything once, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tiny import make_counter, make_loop

from hooks import Checkpoint, EarlyStopping, TensorBoard
from hooks.shared import in_time
from loop import Evaluation, Event, Every, Hook, Loop, Moment


class Notes(Hook):
    """Notes what happens, in Python and in a variable, and writes a file."""

    every = Every(steps=1000)
    reports = ("seen",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.count = tf.Variable(0, trainable=False, name="count")

    def note(self, moment: Moment) -> None:
        self.lines.append(f"{moment.event} {moment.step} {sorted(moment.logs)}")
        ALL.append(self.lines[-1])
        self.count.assign_add(1)
        if moment.event == Event.STEP_END:
            moment.report(seen=1)

    on_run_begin = on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = on_epoch_end = on_settled = note
    on_run_end = note


ALL: list[str] = []


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("kind", [make_counter, pytest.param(make_loop, marks=pytest.mark.more)])
def test_all_phases_happen_once_and_nothing_is_left_behind(
    kind: Callable[..., Loop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time, "SECOND", Every(seconds=1e9))  # or a slow machine has more rounds

    def make(directory: Path) -> tuple[Loop, Notes]:
        notes = Notes()
        callbacks = [keras.callbacks.CSVLogger(directory / "log.csv")]
        stopping = EarlyStopping("val_loss", mode="min", patience=2, restore_best="state")
        hooks = [notes, stopping, TensorBoard(directory / "tb"), Checkpoint(directory / "ckpt"), *callbacks]
        return kind(hooks=hooks, eval_every=Every(epochs=2)), notes

    (tmp_path / "a").mkdir()
    loop, notes = make(tmp_path / "a")
    loop._making.build()
    before = {path: variable.numpy().tobytes() for path, variable in loop.state.variables.items()}
    ALL.clear()
    result = loop.dry_run()
    assert (result.step, result.epoch) == (1, 1)
    assert {"loss", "val_loss", "seen"} <= {*result.logs}
    assert [line.split()[0] for line in ALL] == [
        "run_begin",
        "epoch_begin",
        "step_end",
        "eval_begin",
        "eval_end",
        "epoch_end",
        "settled",
        "run_end",
    ]
    assert notes.lines == []
    assert files(tmp_path) == ["a"]
    assert {path: variable.numpy().tobytes() for path, variable in loop.state.variables.items()} == before
    first = loop.run(epochs=2)

    (tmp_path / "b").mkdir()
    other, _ = make(tmp_path / "b")
    second = other.run(epochs=2)
    assert (first.logs, first.history, first.reason) == (second.logs, second.history, second.reason)
    now, then = ({path: repr(v.numpy().tolist()) for path, v in each.state.variables.items()} for each in (loop, other))
    assert {path for path in now if now[path] != then[path]} == {"clock/seconds"}
    with pytest.raises(RuntimeError, match="A dry run is for the beginning"):
        loop.dry_run()


def test_what_fails_in_hour_three_fails_at_once() -> None:
    def broken(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.debugging.check_numerics(tf.math.log(tf.cast(batch[0], tf.float32)), "evaluated")}

    count = tf.Variable(0.0, name="count")
    data = tf.data.Dataset.range(4).batch(1)
    evaluation = Evaluation(broken, tf.data.Dataset.range(4).batch(1), every=Every(epochs=100))
    loop = Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count}, evaluate=evaluation)
    with pytest.raises(tf.errors.InvalidArgumentError, match="evaluated"):
        loop.dry_run()
    assert (float(count), loop.step) == (0.0, 0)
    loop.run(steps=2)  # nothing was torn
    assert float(count) == 2.0


def test_what_is_within_lists_and_dicts_of_a_hook_is_put_back() -> None:
    class Nested(Hook):
        every = Every(steps=1)

        def __init__(self) -> None:
            super().__init__()
            self.rows: dict[str, list[object]] = {"steps": [], "more": [{1}]}
            self.same = self.rows["steps"]

        def on_step_end(self, moment: Moment) -> None:
            self.rows["steps"].append(moment.step)
            self.rows["more"][0] = 2

    nested = Nested()
    loop = make_counter(hooks=[nested])
    loop.dry_run()
    assert nested.rows == {"steps": [], "more": [{1}]}
    assert nested.same is nested.rows["steps"]


def test_hooks_that_were_added_and_taken_out_are_as_before() -> None:
    heard: list[str] = []

    class Once(Hook):
        reports = ("once",)

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop
            loop.hooks.add(Added())

        def on_epoch_end(self, moment: Moment) -> None:
            moment.report(once=moment.step)
            heard.append("once")
            self.loop.hooks.remove("once")

    class Added(Hook):
        def on_epoch_end(self, moment: Moment) -> None:
            heard.append("added")

    loop = make_counter(hooks=[Once(), Notes()])
    loop.dry_run()
    assert [hook.name for hook in loop.hooks] == ["once", "notes"]
    assert loop.reported_names == ("once", "seen")
    loop.run(epochs=2)
    assert heard == ["once", "added"] + ["once", "added", "added"]
    assert [hook.name for hook in loop.hooks] == ["notes", "added"]


def test_a_run_after_a_dry_run_that_was_rolled_back_is_saved(tmp_path: Path) -> None:
    class Back(Hook):
        every = Every(steps=1)
        wanted = True

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def on_step_end(self, moment: Moment) -> None:
            if self.wanted:
                self.loop.roll_back("it was bad")

    back = Back()
    loop = make_counter(hooks=[back, Checkpoint(tmp_path)])
    with pytest.raises(RuntimeError, match="it was bad"):
        loop.dry_run()
    back.wanted = False
    loop.run(steps=2)
    assert [path.name for path in tmp_path.glob("*.json")] == ["ckpt-2.json"]
    loop.run(steps=3)
    assert loop.step == 3
