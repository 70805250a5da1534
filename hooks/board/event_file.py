"""An event file of TensorBoard: each point once, whatever happens to the run, the disk or the clock."""

import collections
import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf

from hooks.board.event_cut import FRAME, cut

log = logging.getLogger("exactloop")
Value: TypeAlias = tf.compat.v1.Summary.Value
LIMIT = 10_000  # points of a run that wait for room on the disk: some MB


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
        # Of both clocks, whichever is further: the one stands still while a machine sleeps, the other may be set back.
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
        self._waiting = collections.deque[tuple[int, Mapping[str, float | Value] | bytes]]()
        self._lost: list[int] = []  # the first and the latest step of which there was no room to wait
        self._writer: tf.io.TFRecordWriter | None = None
        self._path: Path | None = None
        self._certain = self._size = 0  # bytes of that file
        self._clock = WallClock(0.0)

    def write(self, step: int, values: Mapping[str, float | Value] | bytes) -> None:
        """Writes scalars, what else there is a value of, or a serialized graph; it is in the file when this returns."""
        self.add(step, values)
        self.flush()

    def add(self, step: int, values: Mapping[str, float | Value] | bytes) -> None:
        """Takes what the next `flush` is to write."""
        if len(self._waiting) == LIMIT:  # only of a disk that stays full; the oldest go
            self._lost = [*self._lost[:1], self._waiting.popleft()[0]]
        self._waiting.append((step, values))

    def flush(self) -> None:
        """Writes what waits. If that fails, it goes on waiting."""
        # Not when the run begins: what it restores is known by then, but perhaps nothing will be written.
        if self._there is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            found = [cut(file, self._from) for file in self._files()]
            self._there = {tag for kept in found for tag in kept.tags}
            self._clock = WallClock(max((kept.latest for kept in found), default=0.0))
        if self._writer is not None:
            if not self._waiting:
                return
            status = self._status()
            if status is None:
                log.warning("%s was removed or cut by somebody. What it had is missing; another is begun.", self._path)
                self._leave()
                self._directory.mkdir(parents=True, exist_ok=True)
            elif status.st_nlink > 1:  # `cp -al`: its copy is not to change
                self._leave()
        try:
            writer = self._writer or self._begin()
            for step, values in self._waiting:
                self._put(writer, self._event(step, values))
            writer.flush()
        except BaseException:
            # What the writer holds may be half on the disk: a new file is begun, and this one cut to what is certain.
            self._leave()
            raise
        self._certain = self._size  # flushed to the system; only a power failure can take it
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

    def _status(self) -> os.stat_result | None:
        """Returns what the system says of the file; None if what would be written would be nowhere."""
        try:
            status = None if self._path is None else os.stat(self._path)
        except FileNotFoundError:
            return None
        return None if status is None or status.st_size < self._certain else status

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

    def _event(self, step: int, values: Mapping[str, float | Value] | bytes) -> tf.compat.v1.Event:
        if isinstance(values, bytes):
            return tf.compat.v1.Event(wall_time=self._clock.now(), step=step, graph_def=values)
        summary = tf.compat.v1.Summary()
        for tag, value in sorted(values.items()):
            if step > self._from or tag not in (self._there or ()):
                made = Value(tag=tag, simple_value=value) if isinstance(value, int | float) else value
                summary.value.append(made)
        return tf.compat.v1.Event(wall_time=self._clock.now(), step=step, summary=summary)

    def _put(self, writer: tf.io.TFRecordWriter, event: tf.compat.v1.Event) -> None:
        # Counted here, because the writer does not say how far it is.
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
