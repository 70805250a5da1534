"""What `tf.summary` writes in a step, or in a hook, on its way to where it is cut and continued."""

import os
import shutil
import struct
import tempfile
import weakref
from collections.abc import Iterator

import tensorflow as tf

from hooks.board.summaries import Value

HEADER, FRAME = 12, 16  # bytes before a record, and around it
FREED = 2**24  # bytes that have been read, after which the disk gets them back


class SummaryRecorder:
    """A writer of `tf.summary` whose file nobody else sees: it holds what has been written since it was last asked.

    So what a run does that is killed, or taken back, is gone as if it had not been done.
    """

    def __init__(self) -> None:
        # Nowhere near the event files: TensorBoard reads whatever lies below its directory.
        self._directory = tempfile.mkdtemp(prefix="exactloop-summaries-")
        # Also called when the process ends in order; what SIGKILL leaves is for the system's own cleaning of /tmp.
        weakref.finalize(self, _remove, self._directory, os.getpid())
        with tf.init_scope():  # outside of the step that may be traced
            self.writer = tf.summary.create_file_writer(self._directory)
        self._at = self._freed = 0  # bytes that were read, and those of them that the disk has back

    def new(self) -> Iterator[tuple[int, Value]]:
        """Yields steps and values that have been written since."""
        self.writer.flush()  # waits for what the writer's own thread has not written yet
        (name,) = os.listdir(self._directory)
        path = os.path.join(self._directory, name)
        with open(path, "rb") as file:
            file.seek(self._at)
            data = file.read()
        at = 0
        while at + HEADER <= len(data):
            # Nobody else writes here, so lengths are believed; a record that is not whole waits.
            (length,) = struct.unpack_from("<Q", data, at)
            event = tf.compat.v1.Event.FromString(data[at + HEADER : at + HEADER + length])
            yield from ((event.step, value) for value in event.summary.value)
            at += FRAME + length
        self._at += at
        if self._at - self._freed > FREED:  # the writer goes on where it is, behind a hole that takes no room
            os.truncate(path, 0)
            self._freed = self._at


class Recorders:
    """A recorder for each run of TensorBoard of which something asks for one; steps hold them as long as they live."""

    def __init__(self) -> None:
        self._of = dict[str, SummaryRecorder]()

    def of(self, run: str) -> SummaryRecorder:
        """Returns the one of a run."""
        if run not in self._of:
            self._of[run] = SummaryRecorder()
        return self._of[run]

    @property
    def runs(self) -> list[str]:
        """The runs that have one."""
        return [*self._of]

    @property
    def writers(self) -> list[tf.summary.SummaryWriter]:
        """What they write to."""
        return [recorder.writer for recorder in self._of.values()]

    def new(self) -> Iterator[tuple[str, int, Value]]:
        """Yields runs, steps and values of what has been written since."""
        for run, recorder in self._of.items():
            yield from ((run, step, value) for step, value in recorder.new())


def _remove(directory: str, process: int) -> None:
    if os.getpid() == process:  # and not one that was forked from it
        shutil.rmtree(directory, ignore_errors=True)
