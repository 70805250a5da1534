"""Lives of one training run: each a forked process, some of which are killed.

    PYTHONPATH=. python tests/lives.py DIRECTORY DATA KILL [KILL ...]

Runs 3 epochs of 7 steps of the tiny network once without interruption, and once for each KILL (`<event>:<step>`),
where the process is killed by SIGKILL and the run is taken up again by a new one; with DATA such as "arrays, XLA", as a
program of XLA. Prints a line for each thing that is other than in the uninterrupted one. With
`<event>:<step>:<variable>` the second life forgets that variable.

TensorFlow is imported once; every life is a fork that makes everything anew.
"""

import json
import multiprocessing.pool
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import converted
import numpy as np
import tensorflow as tf
from tiny import DATA, bits, make_loop

from hooks import Checkpoint, EarlyStopping, TensorBoard
from loop import Event, Every, Hook, Loop, Moment, Trigger

KILLED = -signal.SIGKILL


class Recorder(Hook):
    """Writes every event and every step's values, in exact numbers, to files that a resumed run goes on writing."""

    every: Trigger = Every(steps=1)

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.length = {name: tf.Variable(0, dtype=tf.int64) for name in ("events", "steps")}
        self._paths = {name: directory / f"{name}.jsonl" for name in self.length}

    def write(self, name: str, *values: object) -> None:
        with self._paths[name].open("a") as file:
            file.write(json.dumps(values) + "\n")
        self.length[name].assign(self._paths[name].stat().st_size)

    def on_run_begin(self, moment: Moment) -> None:
        for name, path in self._paths.items():
            path.touch()
            os.truncate(path, int(self.length[name]))

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        for i in range(len(values["loss"])):
            self.write(
                "steps", first_step + i, {name: of_steps[i].tobytes().hex() for name, of_steps in values.items()}
            )

    def record(self, moment: Moment) -> None:
        logs = {name: value.hex() for name, value in moment.logs.items()}
        drawn = [random.random(), float(np.random.random())]
        place = [moment.step, moment.epoch, moment.step_in_epoch, moment.last]
        self.write("events", moment.event, place, logs, drawn)

    on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = on_epoch_end = on_settled = record


class Killer(Hook):
    """Kills the process at one event of one step."""

    every: Trigger = Every(steps=1)

    def __init__(self, at: str) -> None:
        super().__init__()
        event, step = at.split(":")
        self._at = (Event(event), int(step))

    def kill(self, moment: Moment) -> None:
        if (moment.event, moment.step) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    on_step_end = on_eval_begin = on_eval_end = on_epoch_end = on_settled = kill


class Forgetful(Hook):
    """Forgets a variable that was restored."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._state = loop.state

    def on_run_begin(self, moment: Moment) -> None:
        variable = self._state.variables[self._path]
        variable.assign(tf.zeros_like(variable))


def live(directory: Path, data: str, kill: str | None, forget: str | None) -> None:
    """One life: trains to the end, or until it is killed, and writes down what it ended with."""
    directory.mkdir(exist_ok=True)
    killer = [Killer(kill)] if kill else []
    hooks = [
        Recorder(directory),
        TensorBoard(directory / "tensorboard", Every(steps=1)),
        EarlyStopping("val_loss", mode="min", patience=5),
        *(killer if kill and not kill.startswith("settled") else []),
        Checkpoint(directory / "checkpoints", Every(steps=2), keep=2),
        *(killer if kill and kill.startswith("settled") else []),
    ]
    name, _, compiled = data.partition(", ")
    loop = make_loop(hooks, DATA[name](), jit_compile=compiled == "XLA")
    if forget:
        loop.hooks.add(Forgetful(forget))
    result = loop.run(epochs=3)
    ended = {path: value.hex() for path, value in bits(loop).items()}
    logs = {name: value.hex() for name, value in result.logs.items()}
    (directory / "ended.json").write_text(json.dumps([result.step, result.epoch, result.reason, logs, ended]))
    (directory / "converted").write_bytes(converted.told())


def forked(live: Callable[..., object], *given: object) -> int:
    """Returns the exit status of a life in a process of its own; negative for the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            live(*given)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def points(directory: Path) -> list[tuple[str, int, str, float]]:
    """Returns what is in the event files of TensorBoard: run, step, tag and value."""
    found = []
    for path in sorted(directory.glob("tensorboard/*/events*")):
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            event = tf.compat.v1.Event.FromString(record)
            found += [(path.parent.name, event.step, value.tag, value.simple_value) for value in event.summary.value]
    return found


def remains(directory: Path) -> dict[str, object]:
    """Returns all that a run leaves: what it ended with, its events, its steps and its curves."""
    files = {name: (directory / name).read_text() for name in ("ended.json", "events.jsonl", "steps.jsonl")}
    return files | {"tensorboard": sorted(points(directory))}


def killed_and_resumed(root: Path, data: str, kill: str) -> list[str]:
    """Returns what differs from the uninterrupted run if a life is killed there and another one follows."""
    directory = root / kill.replace(":", "-").replace("/", "-")
    event, step, *forget = kill.split(":")
    kills = [(f"{event}:{step}", None), (None, forget[0] if forget else None)]
    statuses = [forked(live, directory, data, *each) for each in kills]
    if statuses != [KILLED, 0]:
        return [f"{data}, killed at {kill}: the two lives ended with {statuses}"]
    left, right = remains(root / "uninterrupted"), remains(directory)
    return [f"{data}, killed at {kill}: {name} differs" for name in left if left[name] != right[name]]


def main(root: Path, data: str, kills: list[str]) -> None:
    root.mkdir(exist_ok=True)
    if forked(live, root / "uninterrupted", data, None, None) != 0:
        sys.exit("The uninterrupted run failed.")
    converted.convert((root / "uninterrupted" / "converted").read_bytes())
    # Forks are made by threads, two at a time; the parent itself never runs an operation, so its children can.
    with multiprocessing.pool.ThreadPool(2) as pool:
        for differences in pool.imap_unordered(lambda kill: killed_and_resumed(root, data, kill), kills):
            print("\n".join(differences), end="\n" if differences else "", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
