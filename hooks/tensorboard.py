"""Scalars for TensorBoard, each step once, whatever happens to the run."""

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator  # a hundred times as fast as tf.data

from hooks.places import is_remote, place
from loop import Every, Halt, Hook, Loop, Moment, Trigger

SECOND = Every(seconds=1.0)


@dataclass(frozen=True, repr=False)
class InTime:
    """Fires each second, so that the values of some steps, which are handed out without a halt, come soon enough.

    Attributes:
        steps: Which steps they are.
    """

    steps: Trigger

    def next_after(self, step: int) -> int | None:
        return None

    def next_time(self, seconds: float) -> float | None:
        return SECOND.next_time(seconds)

    def due(self, halt: Halt) -> bool:
        return SECOND.due(halt)

    def __or__(self, other: Trigger) -> Trigger:
        return self.steps | other

    def __repr__(self) -> str:
        return repr(self.steps)


INSTEAD = {
    "directory": "write TensorBoard(directory)",
    **dict.fromkeys(("log_dir", "logdir", "save_dir"), "write TensorBoard(directory)"),
    **dict.fromkeys(("update_freq", "log_every_n_steps", "steps"), "write every=Every(steps=100)"),
    "profile_batch": "write Profile(directory, first=10, steps=11) for profile_batch=(10, 20)",
    **dict.fromkeys(
        ("histogram_freq", "write_graph", "write_images", "embeddings_freq", "log_graph"),
        "leave it out: scalars are written; for others, use tf.summary in a hook of your own",
    ),
}


class TensorBoard(Hook, instead=INSTEAD):
    """Writes the values of train steps, epoch means and evaluations to event files.

    Under `directory` there is a run `train` with the values after the steps of `every` (`loss`) and the epoch means
    (`epoch_loss`), and a run for each evaluation, such as `val`, with its results under the names without the prefix
    (`loss`), so that the curves come to lie in one chart. All have the true number of train steps. What was written is
    in the file before the state of that step can be saved; points after a restored step are cut out of the files.

    Values that steps return are written some at a time, at the latest after a second, and no step has to wait for that;
    of a run that an exception ends, those of the last second may be missing. For the running results of train metrics,
    and for other triggers than steps, the compiled loop halts each time.

    The format of these files has float32 values: 124,505,365 is drawn as 124,505,368. What is wider is as it is in
    `moment.logs` and in checkpoints.

    Args:
        directory: Point TensorBoard here: `tensorboard --logdir <directory>`.
        every: The steps of which train values are written.
        name: The name of the hook.
    """

    _train_names: tuple[str, ...] = Hook.later()
    _evaluations: dict[str, tuple[str, ...]] = Hook.later()
    _runs: "dict[str, EventFile]" = Hook.later()

    def __init__(
        self, directory: str | os.PathLike[str], every: Trigger = Every(steps=100), *, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        self.every = every
        if is_remote(where := place(directory)):
            raise ValueError(f"TensorBoard(directory=...) has to be a path here. Received: {directory!r}.")
        self._directory = Path(where)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        if "train" in loop.evaluation_names:
            raise ValueError(
                "TensorBoard writes train values to a run named 'train'. Received: an evaluation of that name. "
                "Call it otherwise: Evaluation(..., name='train_set')."
            )
        if self._directory.is_file():
            raise NotADirectoryError(f"TensorBoard needs a directory. Received: {str(self._directory)!r}, a file.")
        self._train_names, self._evaluations = loop.train_names, loop.evaluation_names
        wanted = self.every.steps if isinstance(self.every, InTime) else self.every
        self.every = wanted if loop.needs_halt(wanted) else InTime(wanted)
        self._runs = {}

    def on_run_begin(self, moment: Moment) -> None:
        self._runs = {run: EventFile(self._directory / run, moment.step) for run in ("train", *self._evaluations)}

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        if isinstance(self.every, InTime):
            wanted, end = self.every.steps, first_step + len(next(iter(values.values())))
            step = wanted.next_after(first_step - 1)
            while step is not None and step < end:
                of_step = {name: float(column[step - first_step]) for name, column in values.items()}
                self._runs["train"].write(step, of_step)
                step = wanted.next_after(step)

    def on_step_end(self, moment: Moment) -> None:
        if not isinstance(self.every, InTime):
            self._runs["train"].write(moment.step, moment.logs)

    def on_eval_end(self, moment: Moment) -> None:
        for run, names in self._evaluations.items():
            self._runs[run].write(moment.step, {name.removeprefix(f"{run}_"): moment.logs[name] for name in names})

    def on_epoch_end(self, moment: Moment) -> None:
        self._runs["train"].write(moment.step, {f"epoch_{name}": moment.logs[name] for name in self._train_names})

    def on_run_end(self, moment: Moment) -> None:
        for file in self._runs.values():
            file.close()


class WallClock:
    """The time of day, which goes on at its pace when somebody sets the clock back, and never comes again.

    TensorBoard draws curves over it, and may take a file whose latest time is long ago for one that nobody writes to.

    Args:
        latest: The latest time that was written by an earlier session, in seconds since 1970.
    """

    def __init__(self, latest: float) -> None:
        self._latest, self._at = latest, time.monotonic()

    def now(self) -> float:
        """Returns the time, in seconds since 1970."""
        at = time.monotonic()
        self._latest, self._at = max(time.time(), self._latest + at - self._at), at
        return self._latest


class EventFile:
    """One session's event file of one run.

    Args:
        directory: The run's directory. In the files that are there, what comes after `step` is cut away; what is there
            at `step` itself is not written again if it is done again, such as an evaluation that was still due.
        step: The step from which the session goes on.
    """

    def __init__(self, directory: Path, step: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        files = sorted(directory.glob("events.out.tfevents.*"))
        found = [_cut(file, step) for file in files]
        self._step, self._there = step, {tag for kept in found for tag in kept.tags}
        self._clock = WallClock(max((kept.latest for kept in found), default=0.0))
        # Readers take the files in the order of their names, so a clock that was set back must not matter.
        stamps = [part for file in files if (part := file.name.split(".")[3]).isdigit()]
        latest = max(map(int, stamps), default=0)
        stamp = max(int(time.time()), latest + 1)
        path = directory / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}"
        self._writer = tf.io.TFRecordWriter(str(path))
        self._put(tf.compat.v1.Event(wall_time=self._clock.now(), file_version="brain.Event:2"))
        # A server that has read the old points already drops those from this step on.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._put(tf.compat.v1.Event(wall_time=self._clock.now(), step=step + 1, session_log=start))
        self._writer.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars; they are in the file when this returns."""
        summary = tf.compat.v1.Summary()
        for tag, value in sorted(values.items()):
            if step > self._step or tag not in self._there:
                summary.value.add(tag=tag, simple_value=value)
        self._put(tf.compat.v1.Event(wall_time=self._clock.now(), step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _put(self, event: tf.compat.v1.Event) -> None:
        self._writer.write(event.SerializeToString())


class Kept(NamedTuple):
    """What is left in an event file: the tags that have a point at the step to go on from, and the latest time."""

    tags: set[str]
    latest: float


def _cut(path: Path, step: int) -> Kept:
    """Rewrites an event file without what comes after `step`, and without a last record that was cut off by a kill."""
    kept, whole, there, latest = [], True, set[str](), 0.0
    try:
        for record in RecordIterator(str(path), ""):
            event = tf.compat.v1.Event.FromString(record)
            if event.step <= step or event.HasField("session_log"):
                kept.append(record)
                latest = max(latest, event.wall_time if math.isfinite(event.wall_time) else 0.0)
                there |= {value.tag for value in event.summary.value if event.step == step}
            else:
                whole = False
    except tf.errors.DataLossError:
        whole = False
    if not whole:
        temporary = path.with_name(".cut.tmp")  # TensorBoard reads whatever has "tfevents" in its name
        with tf.io.TFRecordWriter(str(temporary)) as writer:
            for record in kept:
                writer.write(record)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a power failure after the rename could lose what was kept
        temporary.replace(path)
    return Kept(there, latest)
