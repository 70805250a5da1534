"""`tf.summary` in steps, evaluations and hooks: each point once, whatever happens to the run.

    PYTHONPATH=.:tests python tests/hooks/test_summaries.py DIRECTORY KILL [KILL ...]

Runs 3 epochs of 5 steps once without interruption, and once for each KILL (`<event>:<step>`), where the process is
killed by SIGKILL and the run is taken up again by a new one. Prints a line for each that has other points.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from lives import KILLED, Killer
from places import environment

from exactloop import find_learning_rate
from hooks import Checkpoint, TensorBoard, recorded
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

Point = tuple[str, int, str, object]
BY_TAG: dict[str, Callable[[tf.Tensor], object]] = {
    "weights": lambda tensor: np.asarray(tensor)[:, 2].sum(),
    "picture": lambda tensor: len(tensor),
    "said": lambda tensor: bytes(np.asarray(tensor).reshape(-1)[0]),
}


def make_loop(directory: Path, *hooks: Hook, name: str = "val", more: bool = False) -> Loop:
    """Returns a loop of 5 steps an epoch that is saved after each fourth step.

    Args:
        directory: Where to.
        hooks: Other hooks.
        name: The run of what the evaluation writes.
        more: Whether the step draws in all ways there are, which takes seconds to trace.
    """
    weight, board = tf.Variable(9.0), TensorBoard(directory / "tensorboard", Every(steps=2))

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("before", weight)
        value = weight.assign_sub(1.0)
        if more:
            with board.summaries(), tf.summary.record_if(tf.equal(value % 2.0, 0.0)):
                tf.summary.histogram("weights", tf.range(9.0))
                tf.summary.image("picture", tf.zeros([2, 4, 4, 1]))
                tf.summary.text("said", tf.strings.as_string(value))
        return {"loss": value}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries(name):
            tf.summary.scalar("inside", weight * 2.0)
        return {"loss": weight + 0.0}

    loop = Loop(
        train_step,
        ArrayData(tf.range(5.0), batch_size=1, seed=1),
        state={"weight": weight},
        evaluate=Evaluation(eval_step, ArrayData(tf.range(2.0), batch_size=2)),
        hooks=[board, *hooks, Checkpoint(directory / "checkpoints", Every(steps=4))],
    )

    @loop.on("step_end", every=Every(steps=3))
    def draw(moment: Moment) -> None:
        with board.summaries():
            tf.summary.scalar("by_hand", moment.step * 10.0)

    return loop


def points(directory: Path) -> list[Point]:
    """Returns run, step, tag and value of all that was written by `tf.summary`, sorted."""
    found: list[Point] = []
    for path in sorted((directory / "tensorboard").glob("*/*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.HasField("tensor") and value.tag != "configuration":
                    tensor = tf.make_ndarray(value.tensor)
                    of_tag = BY_TAG.get(value.tag, lambda tensor: float(tensor))
                    found.append((path.parent.name, event.step, value.tag, of_tag(tensor)))
    return sorted(found, key=lambda point: point[:3])


def expected(steps: int, *, more: bool) -> dict[tuple[str, str], list[int]]:
    even = [step for step in range(1, steps + 1) if (9 - step) % 2 == 0]
    return {
        ("train", "before"): [*range(1, steps + 1)],
        ("train", "by_hand"): [*range(3, steps + 1, 3)],
        **{("train", tag): even for tag in ("weights", "picture", "said") if more},
        ("val", "inside"): [*range(5, steps + 1, 5)],
    }


def steps_of(found: list[Point]) -> dict[tuple[str, str], list[int]]:
    tags = dict.fromkeys((run, tag) for run, _, tag, _ in found)
    return {(run, tag): [step for r, step, t, _ in found if (r, t) == (run, tag)] for run, tag in tags}


class Accident(Hook):
    """Raises after one step."""

    every = Every(steps=1)

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def on_step_end(self, moment: Moment) -> None:
        if moment.step == self._at:
            raise ConnectionError("an accident")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    directory = tmp_path_factory.mktemp("whole")
    make_loop(directory).run(epochs=3)
    return points(directory)


def test_what_a_step_writes_has_the_step_and_the_value(tmp_path: Path) -> None:
    make_loop(tmp_path, more=True).run(epochs=3)
    assert steps_of(points(tmp_path)) == expected(15, more=True)
    values = {(tag, step): value for _, step, tag, value in points(tmp_path)}
    assert [values["before", step] for step in range(1, 16)] == [10.0 - step for step in range(1, 16)]
    assert [values["inside", step] for step in (5, 10, 15)] == [2.0 * (9 - step) for step in (5, 10, 15)]
    assert values["by_hand", 9] == 90.0
    assert values["weights", 3] == 9.0
    assert values["picture", 3] == 4  # width, height, and two
    assert values["said", 3] == b"6.000000"


def test_a_resumed_run_has_each_point_once(whole: list[Point], tmp_path: Path) -> None:
    for at in (6, 13):
        with pytest.raises(ConnectionError):
            make_loop(tmp_path, Accident(at)).run(epochs=3)
    make_loop(tmp_path).run(epochs=3)
    assert points(tmp_path) == whole


def test_what_is_only_tried_is_not_there(whole: list[Point], tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    assert loop.audit() == []
    loop.dry_run()
    assert not (tmp_path / "tensorboard").exists()
    loop.run(epochs=1)
    loop.run(epochs=3)  # in the same process, by what was traced before
    assert points(tmp_path) == whole


def test_a_step_that_is_traced_again_to_be_compared_is_the_same(tmp_path: Path) -> None:
    class Settings:
        factor, label = 2.0, "first"

    weight, board, settings = tf.Variable(1.0), TensorBoard(tmp_path / "tensorboard"), Settings()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        return {"loss": weight.assign_add(x[0] * settings.factor, name=settings.label)}

    loop = Loop(step, ArrayData(tf.range(2.0), batch_size=1), state={"weight": weight}, hooks=[board])
    loop.run(epochs=1)
    settings.label = "second"  # of which the step makes nothing
    loop.run(epochs=2)
    assert [step for _, step, _, _ in points(tmp_path)] == [1, 2, 3, 4]
    settings.factor = 3.0
    with pytest.raises(RuntimeError, match="factor"):
        loop.run(epochs=3)


@pytest.mark.long
def test_a_search_for_a_rate_leaves_no_points(tmp_path: Path) -> None:
    weight, optimizer, board = keras.Variable(1.0), keras.optimizers.SGD(0.1), TensorBoard(tmp_path / "tensorboard")
    optimizer.build([weight])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = weight.value * weight.value
        optimizer.apply([2.0 * weight.value], [weight])
        with board.summaries():
            tf.summary.scalar("inside", loss)
        return {"loss": loss}

    data = ArrayData(tf.range(5.0), batch_size=1, seed=1)
    loop = Loop(step, data, state={"weight": weight.value, "optimizer": optimizer}, hooks=[board])
    find_learning_rate(loop, steps=10, lowest=1e-3, highest=1.0)
    loop.run(epochs=1)
    assert [(step, tag) for _, step, tag, _ in points(tmp_path)] == [(step, "inside") for step in range(1, 6)]


@pytest.mark.long
def test_what_has_been_read_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "FREED", 0)
    loop = make_loop(tmp_path)
    loop.run(epochs=3)
    assert steps_of(points(tmp_path)) == expected(15, more=False)


def test_a_writer_of_ones_own_in_the_step_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer, board, weight = tf.summary.create_file_writer(str(tmp_path)), TensorBoard(tmp_path), tf.Variable(1.0)

    def own(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        with writer.as_default():
            tf.summary.scalar("x", x[0], step=3)
        return {"loss": weight.assign_add(1.0)}

    def ours(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        return {"loss": weight.assign_add(1.0)}

    for step, told in ((own, 1), (ours, 0)):
        caplog.clear()
        data = ArrayData(tf.range(5.0), batch_size=1, seed=1)
        Loop(step, data, state={"weight": weight}, hooks=[board]).run(epochs=1)
        assert [record.message.count("`with tensorboard.summaries():`") for record in caplog.records] == [1] * told


def test_wrong_uses_are_told(tmp_path: Path) -> None:
    board, weight = TensorBoard(tmp_path / "tensorboard"), tf.Variable(1.0)
    data = ArrayData(tf.range(2.0), batch_size=1)
    Loop(lambda x: {"loss": weight.assign_add(1.0)}, data, state={"weight": weight}, hooks=[board]).run(epochs=1)
    with pytest.raises(RuntimeError, match=r"summaries\(\) is for steps, and for hooks while a run"), board.summaries():
        pass
    with pytest.raises(ValueError, match=r"TensorBoard has the runs 'train', 'val'\. Received: run='test'"):
        make_loop(tmp_path, name="test").run(epochs=1)


EVENTS = ("step_end", "epoch_end", "settled")


@pytest.mark.long
def test_a_run_that_is_killed_at_every_step_has_each_point_once(tmp_path: Path) -> None:
    kills = [f"{event}:{step}" for event in EVENTS for step in range(1, 16) if event != "epoch_end" or step % 5 == 0]
    command = [sys.executable, __file__, str(tmp_path), *kills]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=900)
    assert (done.returncode, done.stdout) == (0, "")


def live(directory: Path, *hooks: Hook) -> int:
    """Lives one life in a forked process, and returns its status."""
    if (process := os.fork()) == 0:
        make_loop(directory, *hooks, more=True).run(epochs=3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main(directory: Path, *kills: str) -> None:
    assert live(directory / "whole") == 0
    whole = points_in_a_process(directory / "whole")
    for kill in kills:
        if live(directory / kill, Killer(kill)) != KILLED or live(directory / kill) != 0:
            print(f"{kill}: it did not die, or did not go on")
        elif points_in_a_process(directory / kill) != whole:
            print(f"{kill}: other points")


def points_in_a_process(directory: Path) -> str:
    """Returns the points as a text; in a process of its own, so that the one that forks has run nothing."""
    read, write = os.pipe()
    if (process := os.fork()) == 0:
        os.close(read)
        with open(write, "w") as file:
            file.write(repr(points(directory)))
        os._exit(0)
    os.close(write)
    with open(read) as file:
        found = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
