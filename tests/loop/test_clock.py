"""Clocks that are set back and forward by hours, within a run and between two, change nothing but what they show."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator

from exactloop import looking, printing
from hooks import Checkpoint, TensorBoard, restore
from hooks.board.event_file import WallClock
from loop import ArrayData, Every, Hook, Loop, Moment
from loop.engine.clock import Clock

HOUR = 3600.0
STEPS = 12


class Clocks:
    """The clocks of a machine: each step takes a second, and somebody sets the time of day at some steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.set = 0.0, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + self.seconds)
        monkeypatch.setattr(time, "time", lambda: 1e9 + self.seconds + self.set)


class Watchmaker(Hook):
    every = Every(steps=1)

    def __init__(self, clocks: Clocks, changes: dict[int, float]) -> None:
        super().__init__()
        self._clocks, self._changes = clocks, changes

    def on_step_end(self, moment: Moment) -> None:
        self._clocks.seconds += 1.0
        self._clocks.set += self._changes.get(moment.step, 0.0)


class Ticks(Hook):
    every = Every(seconds=3.0)

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def on_step_end(self, moment: Moment) -> None:
        self.steps.append(moment.step)


def live(root: Path, clocks: Clocks, changes: dict[int, float], steps: int) -> list[int]:
    """Trains to a step, and returns after which steps three seconds of training were over."""
    weight, ticks = tf.Variable(1.0, name="weight"), Ticks()
    loop = Loop(
        lambda x: {"loss": weight.assign_add(tf.reduce_mean(x))},
        ArrayData(tf.range(8.0).numpy(), batch_size=1, seed=3),
        state={"weight": weight},
        hooks=[
            Watchmaker(clocks, changes),
            ticks,
            TensorBoard(root / "tensorboard", Every(steps=1)),
            Checkpoint(
                root / "checkpoints", Every(seconds=1.0), keep=3, keep_every=Every(seconds=4.0), background=False
            ),
        ],
    )
    loop.run(steps=steps)
    return ticks.steps


def set_files_back(directory: Path) -> None:
    """Gives the newest files the oldest times of change."""
    for i, path in enumerate(sorted(directory.rglob("*.*"))):
        os.utime(path, (4e9 - i * HOUR, 4e9 - i * HOUR))


def walls(directory: Path) -> list[tuple[int, float]]:
    """Returns step and time of all points, in the order in which TensorBoard reads them."""
    found = []
    for file in sorted(directory.glob("events.*")):
        read = [tf.compat.v1.Event.FromString(record) for record in RecordIterator(str(file), "")]
        found += [(event.step, event.wall_time) for event in read if any(v.tag == "loss" for v in event.summary.value)]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {2: -5 * HOUR, 5: 9 * HOUR, 7: -3 * HOUR, 10: -7 * HOUR},
        pytest.param({7: -8 * HOUR}, marks=pytest.mark.long),
        pytest.param({7: 8 * HOUR, 8: -9 * HOUR}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_clocks_that_are_set_change_nothing_but_what_they_show(
    changes: dict[int, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, names = [], []
    for name, set_at in (("steady", {}), ("set", changes)):
        clocks = Clocks(monkeypatch)
        first = live(tmp_path / name, clocks, set_at, 7)
        if set_at:
            set_files_back(tmp_path / name)
        ticks.append([*first, *live(tmp_path / name, clocks, set_at, STEPS)])
        directory = tmp_path / name / "checkpoints"
        names.append(sorted(path.stem for path in directory.glob("*.json")))
        assert restore(directory, {"weight": tf.Variable(0.0)}) == STEPS
        steps, times = zip(*walls(tmp_path / name / "tensorboard" / "train"), strict=True)
        assert steps == tuple(range(1, STEPS + 1))
        assert list(times) == sorted(times)  # no curve goes back
        shown = EventAccumulator(str(tmp_path / name / "tensorboard" / "train")).Reload().Scalars("loss")
        assert [point.step for point in shown] == [*range(1, STEPS + 1)]  # nothing is dropped
    assert len(ticks[0]) == 3
    assert ticks[0] == ticks[1]
    assert names[0] == names[1]


def test_the_time_of_day_follows_the_clock_forward_and_goes_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    clock, seen = WallClock(0.0), []
    for by in (0.0, 2 * HOUR, -5 * HOUR, 0.0, 4 * HOUR):
        clocks.seconds += 1.0
        clocks.set += by
        seen.append(clock.now() - 1e9)
    assert seen == [1.0, 2 * HOUR + 2, 2 * HOUR + 3, 2 * HOUR + 4, 2 * HOUR + 5]
    assert WallClock(2e9).now() == 2e9  # an earlier session was later than it is now
    assert WallClock(5.0).now() == time.time()


def test_an_age_that_the_clock_does_not_tell_is_not_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clocks = Clocks(monkeypatch)
    live(tmp_path, clocks, {}, 3)
    clocks.seconds += 4 * HOUR
    for back, age, shown in ((0.0, True, "4 h"), (9 * HOUR, False, "unknown")):
        clocks.set -= back
        monkeypatch.setattr(printing, "JSON", Value(True))
        assert looking.ls(str(tmp_path / "checkpoints")) == 0
        assert [row["age"] is not None for row in json.loads(capsys.readouterr().out)] == [age, age]
        monkeypatch.setattr(printing, "JSON", Value(False))
        assert looking.ls(str(tmp_path / "checkpoints")) == 0
        assert capsys.readouterr().out.count(shown) == 2


class Value:
    """Stands in for a flag."""

    def __init__(self, value: bool) -> None:
        self.value = value


@pytest.mark.parametrize("at", [0.5e10, 1e10, 1e300])
def test_an_alarm_for_a_time_that_never_comes_fails_in_no_thread(at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, made, timer = list[object](), list[threading.Timer](), threading.Timer

    def noted(seconds: float, function: object) -> threading.Timer:
        made.append(timer(seconds, function))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(threading, "excepthook", failed.append)
    monkeypatch.setattr(threading, "Timer", noted)
    clock = Clock(lambda: failed.append("rung"))
    clock.start()
    for _ in range(3):  # as at each halt
        clock.set_alarm(at)
    clock.stop()
    for alarm in made:
        alarm.join()
    assert (failed, len(made)) == ([], 1)


def test_a_time_that_no_thread_can_wait_for_never_comes(capfd: pytest.CaptureFixture[str]) -> None:
    class Never(Hook):
        every = Every(seconds=1e300)
        calls = 0

        def on_step_end(self, moment: Moment) -> None:
            self.calls += 1

    weight, never = tf.Variable(1.0, name="weight"), Never()
    data = ArrayData(tf.range(8.0).numpy(), batch_size=1, seed=3)
    loop = Loop(lambda x: {"loss": weight.assign_add(x[0])}, data, state={"weight": weight}, hooks=[never])
    loop.run(epochs=1)
    assert never.calls == 0
    assert "OverflowError" not in capfd.readouterr().err
