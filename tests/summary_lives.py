"""Lives of a run that writes by `tf.summary`: each a forked process, some of which are killed.

    PYTHONPATH=. python tests/summary_lives.py DIRECTORY KILL [KILL ...]

Runs 3 epochs of 5 steps once without interruption, and once for each KILL (`<event>:<step>`), where the process is
killed by SIGKILL and the run is taken up again by a new one. Prints a line for each that has other points.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from lives import KILLED, Killer

import hooks
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

Point = tuple[str, int, str, object]
BY_TAG: dict[str, Callable[[tf.Tensor], object]] = {
    "weights": lambda tensor: np.asarray(tensor)[:, 2].sum(),
    "picture": lambda tensor: len(tensor),
    "said": lambda tensor: bytes(np.asarray(tensor).reshape(-1)[0]),
}


def make_loop(directory: Path, *others: Hook, name: str = "val", more: bool = False) -> Loop:
    """Returns a loop of 5 steps an epoch that is saved after each fourth step.

    Args:
        directory: Where to.
        others: Other hooks.
        name: The run of what the evaluation writes.
        more: Whether the step draws in all ways there are, which takes seconds to trace.
    """
    weight, board = tf.Variable(9.0), hooks.TensorBoard(directory / "tensorboard", Every(steps=2))

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
        hooks=[board, *others, hooks.Checkpoint(directory / "checkpoints", Every(steps=4))],
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


def live(directory: Path, *others: Hook) -> int:
    """Lives one life in a forked process, and returns its status."""
    if (process := os.fork()) == 0:
        make_loop(directory, *others, more=True).run(epochs=3)
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
