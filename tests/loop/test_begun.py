"""What hooks take from the state as a run or an epoch begins, measure once, or read from files, is told of."""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Event, Every, Hook, Loop, Moment, supervised
from loop.running.unsaved.begun import OF_EPOCH, TAKEN
from loop.running.unsaved.own_files import READS, REMOVES, SAVES


class Parts:
    """A network of which the weights are numbers that tell where they come from."""

    def __init__(self) -> None:
        keras.utils.set_random_seed(1)
        self.model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
        self.optimizer = keras.optimizers.SGD(0.05)


PARTS = Parts()


Hooks: TypeAlias = Sequence[Hook | keras.callbacks.Callback]


def told(caplog: pytest.LogCaptureFixture, directory: Path, hooks: Hooks, every: Every = Every(epochs=1)) -> list[str]:
    """Returns the warnings of two epochs, of two steps each."""
    caplog.clear()
    _make(directory, hooks, every).run(epochs=2)
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def _make(directory: Path, hooks: Hooks, every: Every) -> Loop:
    PARTS.__init__()  # type: ignore[misc]
    x = np.array([[0.1, 0.2], [0.3, 0.5]], np.float32)
    train_step, _ = supervised(PARTS.model, PARTS.optimizer, "mse")
    state = {"model": PARTS.model, "optimizer": PARTS.optimizer}
    data = ArrayData((x, x[:, :1]), batch_size=1, seed=1)
    return Loop(train_step, data, state=state, hooks=[*hooks, Checkpoint(directory, every)])


def rate() -> float:
    return float(PARTS.optimizer.learning_rate)


class Decays(Hook):
    """Goes by the rate that it finds as the run begins, and knows how far the weights have come since."""

    def on_run_begin(self, moment: Moment) -> None:
        self._begin()

    def _begin(self) -> None:
        self.base, self.first = rate(), {"kernel": PARTS.model.get_weights()[0]}
        self.length = 2.5

    def on_epoch_begin(self, moment: Moment) -> None:
        PARTS.optimizer.learning_rate.assign(self.base * 0.5**moment.epoch)

    def on_epoch_end(self, moment: Moment) -> None:
        assert np.abs(self.first["kernel"] - PARTS.model.get_weights()[0]).max() < self.length


class KeepsRate(Hook):
    """Does what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.base = tf.Variable(0.0)

    def on_run_begin(self, moment: Moment) -> None:
        if not moment.resumed:
            self.base.assign(PARTS.optimizer.learning_rate)

    def on_epoch_begin(self, moment: Moment) -> None:
        PARTS.optimizer.learning_rate.assign(self.base * 0.5**moment.epoch)


def test_what_a_hook_finds_as_a_run_begins_is_told_and_the_remedy_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = told(caplog, tmp_path / "a", [Decays()])
    of_rate = "base, which was optimizer/_learning_rate"
    of_weights = "first, which was model/_functional/_operations/1/_kernel"
    assert line == TAKEN % ("decays", f"{of_rate}, {of_weights}")
    assert not told(caplog, tmp_path / "b", [KeepsRate()])


class EachEpoch(Hook):
    """Takes what it finds anew in each epoch, and at the beginning what nobody changes."""

    def __init__(self) -> None:
        super().__init__()
        self.before = PARTS.model.get_weights()[0]

    def on_run_begin(self, moment: Moment) -> None:
        self.rate, self.before = rate(), PARTS.model.get_weights()[0]

    def on_epoch_begin(self, moment: Moment) -> None:
        self.before = PARTS.model.get_weights()[0]

    def on_epoch_end(self, moment: Moment) -> None:
        assert rate() == self.rate
        assert np.any(self.before != PARTS.model.get_weights()[0])


def test_what_is_taken_anew_or_nobody_changes_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not [line for line in told(caplog, tmp_path, [EachEpoch()]) if "as a run begins" in line]


class SetsUp(Decays):
    """Finds what the program has made, because nothing is restored by then."""

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._begin()

    def on_run_begin(self, moment: Moment) -> None: ...


def test_what_a_hook_finds_before_anything_is_restored_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not told(caplog, tmp_path, [SetsUp()])


BASE = 0.0


def test_what_a_function_finds_as_a_run_begins_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loop = _make(tmp_path, [], Every(epochs=1))

    @loop.on(Event.RUN_BEGIN)
    def begin(moment: Moment) -> None:
        global BASE
        BASE = rate()

    @loop.on(Event.EPOCH_BEGIN)
    def decay(moment: Moment) -> None:
        PARTS.optimizer.learning_rate.assign(BASE * 0.5**moment.epoch)

    loop.run(epochs=2)
    assert TAKEN % ("begin", "BASE, which was optimizer/_learning_rate") in caplog.messages


class Times(Hook):
    """Needs in mid-epoch what it sets as the epoch begins."""

    def on_epoch_begin(self, moment: Moment) -> None:
        self.began = moment.step

    def on_epoch_end(self, moment: Moment) -> None:
        assert moment.step > self.began


class SetsFirst(Times):
    def __init__(self) -> None:
        super().__init__()
        self.began = 0


def test_what_only_the_beginning_of_an_epoch_sets_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    each = Every(steps=1)
    assert told(caplog, tmp_path / "a", [Times()], each) == [OF_EPOCH % ("times", "began")]
    assert not told(caplog, tmp_path / "b", [SetsFirst()], each)  # as it says
    assert not told(caplog, tmp_path / "c", [Times()])  # it begins with an epoch wherever it goes on


class Compares(Hook):
    """Goes by the first loss, and knows since when it is there."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.first: float | None = None
        self.since: float | None = None

    def on_step_end(self, moment: Moment) -> None:
        if self.first is None:
            self.first = moment.logs["loss"]
        if self.since is None:
            self.since = 1.8e9  # as time.time() is
        PARTS.optimizer.learning_rate.assign(0.05 * moment.logs["loss"] / self.first)


def test_what_is_measured_once_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, tmp_path, [Compares()])
    assert line.startswith("Hook 'compares' counts in Python what no checkpoint holds: first")


class Waits(Hook):
    """Sets in one branch what it reads in the other one; and what it reads nowhere before."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.length, self.names = -1, 0, list[str]()

    def on_epoch_end(self, moment: Moment) -> None:
        if moment.logs["loss"] > 0:
            self.last, self.length = moment.epoch, moment.step
        elif moment.epoch - self.last > 1:
            moment.stop("it is over")
        else:
            self.length = 0
        self.names = []
        for name in moment.logs:
            self.names.append(name * self.length)
        assert len(self.names) < 10


def test_what_is_set_in_one_branch_and_read_in_another_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = told(caplog, tmp_path, [Waits()])
    assert line.startswith("Hook 'waits' counts in Python what no checkpoint holds: last, length. ")


class Reloads(keras.callbacks.Callback):
    """Puts weights back from a file that it has written some steps before."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.model.save_weights(self.path)

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self._put_back()

    def _put_back(self) -> None:
        self.model.load_weights(self.path)


class AtTheEnd(keras.callbacks.Callback):
    """Tries something, and puts back what was before it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def on_train_begin(self, logs: object = None) -> None:
        self.model.save_weights(self.path)

    def on_train_end(self, logs: object = None) -> None:
        self.model.load_weights(self.path)


class SavesBest(keras.callbacks.Callback):
    """Saves the weights of the best epoch, as `ModelCheckpoint` does."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def on_train_begin(self, logs: object = None) -> None:
        self.best = -1.0

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if epoch > self.best:
            self.best = float(epoch)
            self.model.save_weights(self.path)


class InMemory(keras.callbacks.Callback):
    def on_train_begin(self, logs: object = None) -> None:
        self.best = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.model.set_weights(self.best)


class Puts(Hook):
    """The same as a hook."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def on_epoch_begin(self, moment: Moment) -> None:
        PARTS.model.save_weights(self.path)

    def on_epoch_end(self, moment: Moment) -> None:
        PARTS.model.load_weights(self.path)


def test_weights_that_go_through_a_file_in_the_course_of_a_run_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, name = tmp_path / "a.weights.h5", "keras_callbacks"
    assert told(caplog, tmp_path / "a", [Reloads(path)]) == [READS % (name, "Reloads._put_back")]
    assert told(caplog, tmp_path / "b", [Puts(path)]) == [READS % ("puts", "Puts.on_epoch_end")]
    assert told(caplog, tmp_path / "c", [AtTheEnd(path)]) == [SAVES % (name, "AtTheEnd.on_train_begin")]
    assert not told(caplog, tmp_path / "d", [InMemory()])
    functions = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    assert not told(caplog, tmp_path / "e", [SavesBest(path), functions])


class KeepsTwo(keras.callbacks.Callback):
    """Keeps the weights of one epoch or two."""

    def __init__(self, directory: Path, drop: Callable[[Path], None]) -> None:
        super().__init__()
        self.paths, self.directory, self.drop = list[Path](), directory, drop

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.paths.append(self.directory / f"{epoch}.weights.h5")
        self.model.save_weights(str(self.paths[-1]))
        if len(self.paths) > 1:
            self.drop(self.paths.pop(0))


def dropped(path: Path) -> None:
    os.remove(path)


def remove_wherever(path: Path) -> None:
    path.unlink(missing_ok=True)


def look_first(path: Path) -> None:
    if path.exists():
        path.unlink()


def expect_it(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def test_files_that_are_removed_in_the_course_of_a_run_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = told(caplog, tmp_path / "a", [KeepsTwo(tmp_path, dropped)])
    assert lines == [REMOVES % ("keras_callbacks", "dropped")]
    others = [KeepsTwo(tmp_path / str(i), each) for i, each in enumerate([remove_wherever, look_first, expect_it])]
    for each in others:
        each.directory.mkdir()
    assert not told(caplog, tmp_path / "b", others)
