"""Scalars for TensorBoard, each step once, whatever happens to the run."""

import collections
import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from hooks.event_cut import cut
from hooks.places import is_remote, place
from loop import Every, Halt, Hook, Loop, Moment, Trigger

log = logging.getLogger("exactloop")
SECOND = Every(seconds=1.0)
FRAME = 16  # bytes that TFRecord puts around a record: its length, and two checksums
LIMIT = 10_000  # points of a run that wait for room on the disk: some MB


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

    Values that cannot be written, because the disk is full, say, are written as soon as there is room again, as far as
    memory holds them: the latest 10,000 points of each of these runs. At the end, what is missing is logged.

    Args:
        directory: Point TensorBoard here: `tensorboard --logdir <directory>`.
        every: The steps of which train values are written.
        name: The name of the hook.
        on_error: What becomes of the run if something cannot be written; see `Hook`.
    """

    on_error = "warn"
    _train_names: tuple[str, ...] = Hook.later()
    _evaluations: dict[str, tuple[str, ...]] = Hook.later()
    _runs: "dict[str, EventFile]" = Hook.later()

    def __init__(
        self,
        directory: str | os.PathLike[str],
        every: Trigger = Every(steps=100),
        *,
        name: str | None = None,
        on_error: Literal["raise", "warn", "disable"] | None = None,
    ) -> None:
        super().__init__(name=name, on_error=on_error)
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
        if os.path.isfile(self._directory):  # which raises nothing
            raise NotADirectoryError(f"TensorBoard needs a directory. Received: {str(self._directory)!r}, a file.")
        self._train_names, self._evaluations = loop.train_names, loop.evaluation_names
        wanted = self.every.steps if isinstance(self.every, InTime) else self.every
        self.every = wanted if loop.needs_halt(wanted) else InTime(wanted)
        self._runs = {}

    def on_run_begin(self, moment: Moment) -> None:
        self._runs = {run: EventFile(self._directory / run, moment.step) for run in ("train", *self._evaluations)}
        for file in self._runs.values():
            file.flush()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        if isinstance(self.every, InTime):
            wanted, end = self.every.steps, first_step + len(next(iter(values.values())))
            step = wanted.next_after(first_step - 1)
            while step is not None and step < end:
                of_step = {name: float(column[step - first_step]) for name, column in values.items()}
                self._runs["train"].add(step, of_step)
                step = wanted.next_after(step)
            self._runs["train"].flush()

    def on_step_end(self, moment: Moment) -> None:
        if not isinstance(self.every, InTime):
            self._runs["train"].write(moment.step, moment.logs)

    def on_eval_end(self, moment: Moment) -> None:
        for run, names in self._evaluations.items():
            self._runs[run].write(moment.step, {name.removeprefix(f"{run}_"): moment.logs[name] for name in names})

    def on_epoch_end(self, moment: Moment) -> None:
        self._runs["train"].write(moment.step, {f"epoch_{name}": moment.logs[name] for name in self._train_names})

    def on_run_end(self, moment: Moment) -> None:
        with contextlib.ExitStack() as closing:  # all of them, whatever is the matter with one
            for file in self._runs.values():
                closing.callback(file.close)


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

    Nothing is made or written before the first `flush`. What a `flush` could not write waits for the next one, which
    begins another file; in the one before, only what was written for certain is left.

    Args:
        directory: The run's directory. In the files that are there, what comes after `step` is cut away; what is there
            at `step` itself is not written again if it is done again, such as an evaluation that was still due.
        step: The step from which the session goes on.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._directory, self._from, self._latest = directory, step, step
        self._there: set[str] | None = None  # tags that have a point at `step`; None: nobody has looked
        self._waiting = collections.deque[tuple[int, Mapping[str, float]]]()
        self._lost: list[int] = []  # the first and the latest step of which there was no room to wait
        self._writer: tf.io.TFRecordWriter | None = None
        self._path: Path | None = None
        self._certain = self._size = 0  # bytes of that file
        self._clock = WallClock(0.0)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars; they are in the file when this returns."""
        self.add(step, values)
        self.flush()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Takes scalars that the next `flush` is to write."""
        if len(self._waiting) == LIMIT:
            self._lost = [*self._lost[:1], self._waiting.popleft()[0]]
        self._waiting.append((step, values))

    def flush(self) -> None:
        """Writes what waits. If that fails, it goes on waiting."""
        if self._there is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            found = [cut(file, self._from) for file in self._files()]
            self._there = {tag for kept in found for tag in kept.tags}
            self._clock = WallClock(max((kept.latest for kept in found), default=0.0))
        try:
            writer = self._writer or self._begin()
            for step, values in self._waiting:
                self._put(writer, self._event(step, values))
            writer.flush()
        except BaseException:
            self._leave()
            raise
        self._certain = self._size
        if self._waiting:
            self._latest = self._waiting[-1][0]
        self._waiting.clear()

    def close(self) -> None:
        """Writes what waits, for the last time, and says what is missing."""
        try:
            self.flush()
            self._leave()
        finally:
            if missing := [*self._lost, *(step for step, _ in self._waiting)]:
                log.warning("No values of steps %d to %d in %s.", missing[0], missing[-1], self._directory)

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("events.out.tfevents.*"))

    def _begin(self) -> tf.io.TFRecordWriter:
        if self._path is not None:
            _shorten(self._path, self._certain)
        # Readers take the files in the order of their names, so a clock that was set back must not matter.
        stamps = [part for file in self._files() if (part := file.name.split(".")[3]).isdigit()]
        stamp = max(int(time.time()), max(map(int, stamps), default=0) + 1)
        self._path = self._directory / f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}"
        self._certain = self._size = 0
        self._writer = writer = tf.io.TFRecordWriter(os.fsencode(self._path))
        self._put(writer, tf.compat.v1.Event(wall_time=self._clock.now(), file_version="brain.Event:2"))
        # A server that has read the old points already drops those from this step on.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._put(writer, tf.compat.v1.Event(wall_time=self._clock.now(), step=self._latest + 1, session_log=start))
        return writer

    def _event(self, step: int, values: Mapping[str, float]) -> tf.compat.v1.Event:
        summary = tf.compat.v1.Summary()
        for tag, value in sorted(values.items()):
            if step > self._from or tag not in (self._there or ()):
                summary.value.add(tag=tag, simple_value=value)
        return tf.compat.v1.Event(wall_time=self._clock.now(), step=step, summary=summary)

    def _put(self, writer: tf.io.TFRecordWriter, event: tf.compat.v1.Event) -> None:
        record = event.SerializeToString()
        writer.write(record)
        self._size += len(record) + FRAME

    def _leave(self) -> None:
        writer, self._writer = self._writer, None
        with contextlib.suppress(Exception):  # it has been flushed, or that has failed already
            if writer is not None:
                writer.close()


def _shorten(path: Path, size: int) -> None:
    """Takes away what is in a file beyond a size; all of it, if that is 0."""
    with contextlib.suppress(FileNotFoundError):
        if size == 0:
            path.unlink()
        elif path.stat().st_size > size:
            os.truncate(path, size)
