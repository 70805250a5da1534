"""Variables that hooks change and no checkpoint holds are warned of, and no others."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Every, Hook, Loop, Moment

SAID = "changes what no checkpoint holds"


def make(directory: Path | None = None, hooks: Sequence[Hook] = (), **state: object) -> Loop:
    """Returns a loop of two steps an epoch."""
    weight = tf.Variable(1.0, name="weight")
    return Loop(
        lambda x: {"weight": weight.assign_add(tf.reduce_sum(x))},
        ArrayData(tf.range(2.0), batch_size=1, seed=1),
        state={"weight": weight, **state},
        hooks=[*hooks, *([Checkpoint(directory)] if directory else [])],
    )


def said(loop: Loop, caplog: pytest.LogCaptureFixture, epochs: int = 2) -> list[str]:
    caplog.clear()
    loop.run(epochs=epochs)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def averaging(average: Sequence[tf.Variable]) -> Callable[[Moment], None]:
    def update(moment: Moment) -> None:
        average[0].assign(0.9 * average[0] + moment.logs["weight"])

    return update


def test_an_average_that_only_a_hook_has_is_named_and_the_remedy_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    average = [tf.Variable(0.0, name="average")]
    loop = make(tmp_path / "lost")
    loop.on("step_end", every=Every(steps=1))(averaging(average))
    (warning,) = said(loop, caplog)
    assert warning.startswith(f"Hook 'update' {SAID}: average:0  shape (), float32. A run that goes on from a")
    assert said(loop, caplog, 3) != []  # each run says it
    given = make(tmp_path / "given", average=average)
    given.on("step_end", every=Every(steps=1))(averaging(average))
    assert said(given, caplog) == []


class Average(Hook):
    """Has an average of its own, from the beginning or made when it is wanted."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.average = [] if late else [tf.Variable(0.0)]

    def on_epoch_end(self, moment: Moment) -> None:
        if not self.average:
            self.average = [tf.Variable(0.0)]
        self.average[0].assign_add(moment.logs["weight"])


def test_what_a_hook_makes_too_late_is_named_as_soon_as_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(make(tmp_path / "set", [Average(late=False)]), caplog, 3) == []
    (warning,) = said(make(tmp_path / "late", [Average(late=True)]), caplog, 3)
    assert warning.startswith(f"Hook 'average' {SAID}: Variable:0  shape (), float32.")


def test_what_is_lost_by_nobody_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    average, mean, still = tf.Variable(0.0), keras.metrics.Mean(), tf.Variable(1.0)

    def use(moment: Moment) -> None:
        mean.reset_state()
        mean.update_state(still)

    loop = make(tmp_path)
    loop.on("epoch_end")(use)
    assert said(loop, caplog) == []
    loop = make(None)  # nothing is saved, and so nothing is resumed
    loop.on("step_end", every=Every(steps=1))(averaging([average]))
    assert said(loop, caplog) == []


def test_a_comparison_of_two_runs_has_them_and_what_python_holds(tmp_path: Path) -> None:
    losses, average = list[float](), [tf.Variable(0.0, name="average")]

    class Counts(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def on_epoch_end(self, moment: Moment) -> None:
            self.count += 1
            losses.append(moment.logs["weight"])
            average[0].assign_add(1.0)

    loop = make(tmp_path, [Counts()])
    loop.run(epochs=1)
    variables, python = loop.unsaved()
    loop.run(epochs=2)
    for then, now, names in zip((variables, python), loop.unsaved(), (OF_VARIABLES, OF_PYTHON), strict=True):
        assert {name for name in now if now[name] != then[name]} == names


class Waits(Hook):
    """As a callback of Keras would count."""

    def __init__(self) -> None:
        super().__init__()
        self.best, self.wait, self.began, self.seen = float("inf"), 0, 0, list[float]()

    def on_epoch_begin(self, moment: Moment) -> None:
        self.began = moment.step

    def on_epoch_end(self, moment: Moment) -> None:
        self.seen.append(moment.step - self.began)
        if moment.logs["weight"] < self.best:
            self.best = moment.logs["weight"]
        else:
            self.wait += 1


class Keeps(Waits):
    def get_state(self) -> list[float]:
        return [self.best, self.wait]

    def set_state(self, state: list[float]) -> None:
        self.best, self.wait = state


def test_what_a_hook_counts_in_attributes_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "a", [Waits()]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith("Hook 'waits' counts in Python what no checkpoint holds: best, wait. A run that goes on")
    caplog.clear()
    make(tmp_path / "b", [Keeps()]).run(epochs=4)  # as it says
    make(None, [Waits()]).run(epochs=4)  # nothing is saved
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


class Means(Hook):
    """Gathers, and goes by what it has gathered; has some that are only filled, and a list that is begun anew."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.losses, self.counts, self.sums = list[float](), {"steps": 0}, np.zeros([2])
        self.filled, self.own, self.names = list[float](), list[float](), ["a", "b"]
        self.by_step, self.rows = dict[int, float](), list[float]()

    def on_step_end(self, moment: Moment) -> None:
        self.losses.append(moment.logs["weight"])
        self.filled.append(moment.logs["weight"])
        self.by_step |= {moment.step: moment.logs["weight"]}
        self.rows += [moment.logs["weight"]]
        self.counts["steps"] += 1
        self.sums[0] += 1

    def on_epoch_end(self, moment: Moment) -> None:
        self.own = []
        for name in self.names:
            self.own.append(len(name) + len(self.losses))
        if self.own[0] > 10:
            self.losses = self.losses[-10:]


class Scratch(Hook):
    """Fills and empties in one event."""

    def __init__(self) -> None:
        super().__init__()
        self.found = list[int]()

    def on_epoch_end(self, moment: Moment) -> None:
        self.found = []
        self.found.append(moment.step)
        self.last = sum(self.found)


def test_what_a_hook_gathers_and_reads_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path / "a", [Means(), Scratch()]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith("Hook 'means' counts in Python what no checkpoint holds: counts, losses, sums. A run")


class Writes(Hook):
    """Writes rows into a file of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_run_begin(self, moment: Moment) -> None:
        self.file = self.path.open("a")

    def on_epoch_end(self, moment: Moment) -> None:
        self.file.write(f"{moment.epoch}\n")

    def on_run_end(self, moment: Moment) -> None:
        self.file.close()


class Cuts(Writes):
    """Does what it is told to."""

    def on_epoch_end(self, moment: Moment) -> None:
        super().on_epoch_end(moment)
        self.file.flush()

    def get_state(self) -> int:
        return os.path.getsize(self.path) if self.path.exists() else 0

    def set_state(self, state: int) -> None:
        os.truncate(self.path, state)


def test_a_file_that_a_hook_writes_by_itself_is_named_and_the_remedy_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "a", [Writes(tmp_path / "a.txt")]).run(epochs=4)
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert line.startswith(f"Hook 'writes' writes to '{tmp_path / 'a.txt'}', which no resume cuts back")
    caplog.clear()
    make(tmp_path / "b", [Cuts(tmp_path / "b.txt")]).run(epochs=2)
    with (tmp_path / "b.txt").open("a") as file:
        file.write("of a step that is done again")
    make(tmp_path / "b", [Cuts(tmp_path / "b.txt")]).run(epochs=3)
    assert (tmp_path / "b.txt").read_text() == "1\n2\n3\n"
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


OF_VARIABLES, OF_PYTHON = {"average:0 of hook 'counts'"}, {"losses", "Counts.count"}
