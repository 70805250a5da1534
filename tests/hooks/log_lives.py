"""Lives of a run that is logged and tracked: each a forked process, some of which are killed.

    PYTHONPATH=.:tests python tests/hooks/log_lives.py DIRECTORY KILL [KILL ...]

Runs 3 epochs of 3 steps once without interruption, and once for each KILL (`<event>:<step>`), where the process is
killed by SIGKILL and the run is taken up again by a new one; `half:<n>` kills when half of the n-th piece of a log is
written, `sent:<step>` when a step is sent and not yet noted. Prints a line for each file that is other than in the
uninterrupted one, whole or step by step.
"""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import converted
import tensorflow as tf
from lives import KILLED, Killer, forked

from hooks import Checkpoint, MetricsLog, Tracker
from hooks.shared.row_file import RowFile
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

FILES = ("log.csv", "log.jsonl", "store", "sent.jsonl")


class Store:
    """A tracker whose store is a file with a line for each call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, values: dict[str, float], *, step: int) -> None:
        with self._path.open("a") as file:
            file.write(f"{step} {values}\n")

    def latest(self) -> int | None:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return int(lines[-1].split()[0]) if lines else None


class Probe(Hook):
    """Reports something at each evaluation and at some steps."""

    every = Every(steps=4)
    reports = ("probe", "at_step")

    def on_step_end(self, moment: Moment) -> None:
        moment.report(at_step=moment.step / 3)

    def on_eval_end(self, moment: Moment) -> None:
        moment.report(probe=-moment.logs["val_loss"])


class Stop(Hook):
    """Stops a run in an evaluation, so that this one is still to be made when the run goes on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop

    def on_eval_begin(self, moment: Moment) -> None:
        if moment.step == self._step:
            self._loop.stop("for now")


def make_loop(directory: Path, *hooks: Hook) -> Loop:
    weight = tf.Variable(1.0)
    store = Store(directory / "store")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign_add(tf.reduce_mean(x) / 3.0)
        return {"loss": weight.read_value(), "a, b": -weight}

    return Loop(
        train_step,
        ArrayData(tf.range(6.0), batch_size=2, seed=3),
        state={"weight": weight},
        evaluate=Evaluation(lambda x: {"loss": weight * tf.reduce_mean(x)}, ArrayData(tf.range(4.0), batch_size=4)),
        eval_every=Every(steps=2),
        hooks=[
            MetricsLog(directory / "log.csv", Every(steps=1), name="csv"),
            MetricsLog(directory / "log.jsonl", Every(steps=2), name="jsonl"),
            Tracker(store, directory / "sent.jsonl", Every(steps=1), latest=store.latest),
            Probe(),
            *hooks,
            Checkpoint(directory / "checkpoints", Every(steps=2), keep=2),
        ],
    )


def kill_half_way(number: int) -> None:
    """Kills the process when half of a piece is written."""
    write, count = RowFile._write, [0]

    def writes(file: RowFile, handle: object, data: bytes) -> None:
        count[0] += 1
        if count[0] == number:
            write(file, handle, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(file, handle, data)

    RowFile._write = writes


def kill_when_sent(step: int) -> None:
    """Kills the process when the tracker has a step."""
    log = Store.log

    def logs(store: Store, values: dict[str, float], *, step: int) -> None:
        log(store, values, step=step)
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    at, Store.log = step, logs


def live(directory: Path, kill: str | None) -> None:
    directory.mkdir(exist_ok=True)
    event, at = (kill or "none:0").split(":")
    hooks: list[Hook] = []
    if event in OWN:
        OWN[event](int(at))
    elif event == "stop":
        hooks.append(Stop(int(at)))
    elif kill:
        hooks.append(Killer(kill))
    make_loop(directory, *hooks).run(epochs=3)
    (directory / "converted").write_bytes(converted.told())
    if event == "stop":
        os.kill(os.getpid(), signal.SIGKILL)


OWN = {"half": kill_half_way, "sent": kill_when_sent}


def main(root: Path, kills: list[str]) -> None:
    root.mkdir(exist_ok=True)
    if forked(live, root / "whole", None) != 0:
        sys.exit("The uninterrupted run failed.")
    converted.convert((root / "whole" / "converted").read_bytes())
    whole = {name: (root / "whole" / name).read_bytes() for name in FILES}
    for kill in kills:
        directory = root / kill.replace(":", "-")
        statuses = [forked(live, directory, each) for each in (kill, None)]
        if statuses != [KILLED, 0]:
            print(f"killed at {kill}: the two lives ended with {statuses}")
            continue
        for name in FILES:
            if (directory / name).read_bytes() != whole[name]:
                print(f"killed at {kill}: {name} differs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
