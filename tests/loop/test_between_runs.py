"""What a script does between two runs is done once, also if it is killed behind it and started again."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from hooks import Checkpoint
from loop import NEVER, ArrayData, Evaluation, Every, Hook, Loop, Moment
from loop.tf_internals import objects

Change = Callable[[tf.Variable], object]
PUT_BACK = "The state that was restored, of step 3, is of a later run"


class Life:
    """One life of a script that trains in parts, and does something after each of them."""

    def __init__(self, directory: Path) -> None:
        keras.utils.set_random_seed(1)
        self.total, self.rate = tf.Variable(1.0), tf.Variable(0.5)
        self.noise = keras.random.SeedGenerator(1)

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"total": self.total.assign_add(self.rate * (x[0] + keras.random.normal([], seed=self.noise)))}

        self.loop = Loop(
            step,
            ArrayData(tf.range(8.0), batch_size=1, seed=1),
            state={"total": self.total, "rate": self.rate, "noise": self.noise},
            hooks=[Checkpoint(directory, Every(steps=1))],
        )

    def part(self, total: int, change: Change) -> None:
        """Trains up to a step, and does something."""
        self.loop.run(steps=total)
        change(self.rate)
        np.random.random()
        keras.random.normal([], seed=self.noise)  # to show samples, say

    def whole(self, change: Change) -> dict[str, bytes]:
        """Trains to the end. Returns the state, without the time that it took."""
        for total in (2, 4, 6):
            self.part(total, change)
        return {path: v.numpy().tobytes() for path, v in self.loop.state.variables.items() if "clock" not in path}


def halve(rate: tf.Variable) -> None:
    rate.assign(rate / 2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("change", "says"), [(halve, True), (lambda rate: rate.assign(0.25), False)])
def test_a_rate_that_was_changed_before_a_kill_is_not_changed_again(
    change: Change, says: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Life(tmp_path / "whole").whole(change)
    Life(tmp_path / "again").loop.run(steps=2)  # killed where the first part ends, before anything is changed
    second = Life(tmp_path / "again")
    second.part(2, change)
    second.loop.run(steps=3)  # killed in the midst of the second part
    assert warnings(caplog) == []
    assert Life(tmp_path / "again").whole(change) == whole
    assert [said.startswith(PUT_BACK) and ": rate. What is" in said for said in warnings(caplog)] == [True] * says


def test_who_has_trained_in_this_process_may_go_back_and_change_what_he_wants(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(tmp_path)
    life.loop.run(steps=4)
    life.loop.run(steps=2)  # a cell of a notebook once more
    halve(life.rate)
    life.loop.run(steps=6)
    assert (float(life.rate), warnings(caplog)) == (0.25, [])


def test_what_is_evaluated_before_a_program_has_caught_up_is_told_to_be_of_a_later_state(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def live(epochs: int) -> list[float]:
        """Evaluates after each epoch, as a program does that decides by itself when it ends."""
        total, found = tf.Variable(0.0), list[float]()
        data = [ArrayData(tf.ones([4]), batch_size=2, seed=1) for _ in range(2)]
        loop = Loop(
            lambda x: {"total": total.assign_add(tf.reduce_sum(x))},
            data[0],
            state={"total": total},
            evaluate=Evaluation(lambda x: {"total": total + 0.0 * tf.reduce_sum(x)}, data[1], every=NEVER),
            hooks=[Checkpoint(tmp_path)],
        )
        for epoch in range(1, epochs + 1):
            loop.run(epochs=epoch)
            found.append(loop.evaluate()["val_total"])
        return found

    assert live(3) == [4.0, 8.0, 12.0]
    assert warnings(caplog) == []
    assert live(4) == [12.0, 12.0, 12.0, 16.0]
    (said,) = warnings(caplog)
    assert said.startswith("The state is that of step 6, of a later run than the one that had nothing left to do, and ")


class Sum(Hook):
    """Adds up what it has seen, in a variable and in Python."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.sum, self.steps = tf.Variable(0.0), 0

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self.sum.assign_add(values["total"].sum())
        self.steps += len(values["total"])

    def get_state(self) -> int:
        return self.steps

    def set_state(self, state: int) -> None:
        self.steps = state


class InParts(Life):
    """One life of a script that adds a hook after the first part, and another one in its place after the second."""

    def live(self, end: int = 11) -> list[tuple[float, int]]:
        """Trains, to a step at which it is killed. Returns what the hooks have seen that are there in the end."""
        first, gone, last = hooks = Sum("first"), Sum("other"), Sum("other")
        for total, hook in zip((2, 4, 6, 11), (None, *hooks), strict=True):
            if hook is last:
                self.loop.hooks.remove(gone.name)
            if hook is not None:
                self.loop.hooks.add(hook)
            self.loop.run(steps=min(total, end))
            if total >= end:
                break
        return [(float(hook.sum), hook.steps) for hook in (first, last)]


@pytest.mark.parametrize("killed_at", [*(pytest.param([at], marks=pytest.mark.more) for at in (3, 5, 9)), [3, 4, 7]])
def test_a_hook_that_was_added_before_a_kill_goes_on_with_what_it_has_seen(
    killed_at: list[int], tmp_path: Path
) -> None:
    whole = InParts(tmp_path / "whole").live()
    for step in killed_at:
        InParts(tmp_path / "again").live(step)
    assert InParts(tmp_path / "again").live() == whole
    assert [steps for _, steps in whole] == [9, 5]


class SavedLate(Life):
    """One life of a script that begins to save after the first part."""

    def live(self, end: int = 11) -> dict[str, bytes]:
        """Trains, to a step at which it is killed. Returns the state."""
        (checkpoint,) = self.loop.hooks
        self.loop.hooks.remove(checkpoint.name)
        self.loop.run(steps=4)
        self.loop.hooks.add(checkpoint)
        self.loop.run(steps=end)
        return tiny.bits(self.loop)


@pytest.mark.more
def test_a_script_that_begins_to_save_after_its_first_run_does_all_of_it_again_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = SavedLate(tmp_path / "whole").live()
    SavedLate(tmp_path / "again").live(6)
    assert warnings(caplog) == []
    assert SavedLate(tmp_path / "again").live() == whole
    aside, said = warnings(caplog)
    assert aside.endswith("ckpt-6, ckpt-5.")
    assert said.startswith("The loop stands at step 4, which it has trained itself, and goes on from there, not from ")


class Drawing(Life):
    """One life of a script that begins another random stream after the first part, and draws of it in a hook."""

    def live(self, end: int = 11) -> list[float]:
        """Trains, to a step at which it is killed. Returns what comes of the stream then."""

        @self.loop.on("settled")
        def draw(moment: Moment) -> None:
            if moment.step > 2:
                generator.normal([])

        generator: tf.random.Generator = tf.random.Generator.from_seed(7)
        for total in (2, 4, 11):
            self.loop.run(steps=min(total, end))
            if total >= end:
                break
            if total == 2:
                tf.random.set_global_generator(generator)
        return generator.normal([3]).numpy().tolist()


@pytest.mark.parametrize("killed_at", [*(pytest.param([at], marks=pytest.mark.more) for at in (2, 3)), [3, 7]])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_generator_that_was_made_global_before_a_kill_goes_on(
    is_there: bool, killed_at: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def live(name: str, end: int = 11) -> list[float]:
        first = tf.random.Generator.from_seed(1) if is_there else None
        monkeypatch.setattr(objects.stateful_random_ops, "global_generator", first)
        return Drawing(tmp_path / name).live(end)

    for step in killed_at:
        live("again", step)
    assert live("again") == live("whole")


def test_what_is_set_between_two_runs_and_no_checkpoint_holds_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    total, scale = tf.Variable(1.0), tf.Variable(0.5, name="scale")

    def loop_of(*hooks: Hook) -> Loop:
        step = lambda x: {"total": total.assign_add(scale * x[0])}  # noqa: E731
        return Loop(step, ArrayData(tf.range(8.0), batch_size=1, seed=1), state={"total": total}, hooks=hooks)

    for loop in (loop_of(), loop_of(Checkpoint(tmp_path))):
        assert warnings(caplog) == []
        loop.run(steps=2)
        loop.run(steps=3)
        scale.assign(0.25 * scale)
        loop.run(steps=4)
    (said,) = warnings(caplog)
    assert said.startswith(
        "The program has set what the steps only read, and no checkpoint holds, since the run before: scale"
    )


def test_what_nobody_has_set_is_not_named_though_others_have_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    total, (one, two) = tf.Variable(1.0), [tf.Variable(value, name="kernel") for value in (0.5, 0.25)]
    tables = [tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [n]), -1) for n in (1.0, 2.0)]

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        found = sum(table.lookup(tf.constant(0)) for table in tables)
        return {"total": total.assign_add(found * (one * x[0] + two))}

    data = ArrayData(tf.range(8.0), batch_size=1, seed=1)
    loop = Loop(step, data, state={"total": total}, hooks=[Checkpoint(tmp_path)])
    loop.run(steps=2)
    loop.run(steps=3)
    assert warnings(caplog) == []
    two.assign(2.0)
    loop.run(steps=4)
    (said,) = warnings(caplog)
    assert said.count("kernel") == 1


def set_in_turns(directory: Path, *values: float, audited: bool = True) -> dict[str, bytes]:
    """Trains in parts, and sets before each a seed, and a variable that the step only reads. Returns the state."""
    keras.utils.set_random_seed(1)
    total, scale = tf.Variable(1.0), tf.Variable(0.5)
    data = ArrayData(tf.range(8.0), batch_size=1, seed=1)
    step = lambda x: {"total": total.assign_add(scale * x[0])}  # noqa: E731
    loop = Loop(step, data, state={"total": total}, hooks=[Checkpoint(directory, Every(steps=1))])
    if audited:  # or it is not traced before there is something left to run
        loop.audit()
    for steps, value in zip((2, 4, 6), values, strict=False):
        scale.assign(value)
        keras.utils.set_random_seed(int(10 * value))
        loop.run(steps=steps)
    return tiny.bits(loop)


@pytest.mark.more
def test_a_run_that_was_killed_goes_on_if_the_program_sets_the_same_again(tmp_path: Path) -> None:
    whole = set_in_turns(tmp_path / "whole", 0.5, 0.4, 0.3)
    set_in_turns(tmp_path / "again", 0.5, 0.4)
    with pytest.raises(ValueError, match=r"Nothing was trained:\n  seed: (?s:.*) has other constants now"):
        set_in_turns(tmp_path / "again", 0.5, 0.2, 0.3)
    assert set_in_turns(tmp_path / "again", 0.5, 0.4, 0.3) == whole


def test_who_was_killed_before_the_first_save_behind_what_is_set_is_told_how_to_go_on(tmp_path: Path) -> None:
    whole = set_in_turns(tmp_path / "whole", 0.5, 0.4, 0.3)
    set_in_turns(tmp_path / "again", 0.5)
    with pytest.raises(ValueError, match=r"Nothing was trained:\n(?s:.*)write loop\.audit\(\) before the first"):
        set_in_turns(tmp_path / "again", 0.5, 0.4, 0.3, audited=False)
    assert set_in_turns(tmp_path / "again", 0.5, 0.4, 0.3) == whole


def test_a_hook_that_was_taken_out_between_two_runs_is_named_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def live(first: int, then: int | None = None) -> Loop:
        loop = Life(tmp_path).loop
        loop.hooks.add(Sum("first"))
        loop.run(steps=first)
        if then:
            loop.hooks.remove("first")
            loop.run(steps=then)
        return loop

    live(2, 4)  # killed here
    assert warnings(caplog) == []
    live(6)
    (line,) = warnings(caplog)
    assert line.startswith("ckpt-4 holds nothing of hooks that are here now: 'first'. They begin anew.")
