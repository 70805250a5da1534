"""Writes snapshots in a thread of its own, one at a time."""

import errno
import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import tensorflow as tf

from hooks.checkpoint_manifest import CorruptCheckpoint, Manifest, Record
from hooks.checkpoint_store import Store
from hooks.snapshot import Snapshot
from loop import TrainingState

log = logging.getLogger("exactloop")
ERRNO = {  # what TensorFlow's errors are to the operating system
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.NotFoundError: errno.ENOENT,
}


class Saver:
    """Saves the training state as it is when it is asked to, while training goes on.

    Args:
        store: Where to. The lock has to be held, and the store loaded.
        state: What to save.
        kept: Of all records, the oldest first, returns the stems of those that stay; asked after each commit.
        finite: Whether to refuse to save values that are not.
        failed: Called in the thread when a save has failed.
    """

    def __init__(
        self,
        store: Store,
        state: TrainingState,
        *,
        kept: Callable[[Sequence[Record]], set[str]],
        finite: bool,
        failed: Callable[[], object],
    ) -> None:
        self._store, self._kept, self._finite, self._failed = store, kept, finite, failed
        self._snapshot = Snapshot(state)
        self._trained = frozenset(state.given())
        self._managers = {
            pending: tf.train.CheckpointManager(
                self._snapshot.root,
                store.files.prefix,
                max_to_keep=None,  # old ones may go only when the new one is committed
                checkpoint_name="pending" if pending else "ckpt",
            )
            for pending in (False, True)
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._task: Future[None] | None = None
        self._record: Record | None = None

    def records(self) -> list[Record]:
        """Returns those of the committed checkpoints, and of the one that is being written, the oldest first."""
        records, written = self._store.records(), self._record
        return records if written is None or written in records else [*records, written]

    def save(self, record: Record, **parts: Mapping) -> None:
        """Begins to save the present state; waits first for the save that is under way.

        Args:
            record: What it is a checkpoint of; nothing is done if that is there already.
            parts: What else the manifest says.
        """
        if record.stem in {there.stem for there in self.records()}:
            return
        self.wait()
        self._snapshot.take()
        self._record = record
        self._task = self._thread.submit(self._write, record, parts)
        self._task.add_done_callback(lambda task: self._failed() if task.exception() else None)

    def collect(self) -> None:
        """Raises what the latest save raised, if it is over; once."""
        if self._task is not None and self._task.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the save that is under way, and raises what it raised."""
        if self._task is not None:
            error = self._task.exception()
            self._task = self._record = None
            if error is not None:
                raise error

    def close(self) -> None:
        """Waits for the save that is under way, and for its thread to end; raises what it raised."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _write(self, record: Record, parts: Mapping[str, Mapping]) -> None:
        values, manager = self._snapshot.values, self._managers[record.pending]
        try:
            if self._finite:
                self._refuse_what_is_not_finite(record)
            digests = tuple(map(digest, values.values()))
            self._store.commit(
                record,
                lambda prefix: manager.save(checkpoint_number=record.step),
                lambda files: Manifest(record, files, digests=digests, **parts),
            )
            records = self._store.records()
            self._store.remove({each.stem for each in records} - self._kept(records))
        except (OSError, CorruptCheckpoint, tf.errors.OpError) as error:
            raise self._explained(record, error) from error
        finally:
            self._snapshot.drop()

    def _refuse_what_is_not_finite(self, record: Record) -> None:
        trained = {path: value for path, value in self._snapshot.values.items() if path in self._trained}
        trained |= {path: tf.abs(value) for path, value in trained.items() if value.dtype.is_complex}
        wrong = {
            path: int(tf.math.count_nonzero(~tf.math.is_finite(value)))
            for path, value in trained.items()
            if value.dtype.is_floating
        }
        if any(wrong.values()):
            listed = ", ".join(f"{path} ({count})" for path, count in wrong.items() if count)
            raise FloatingPointError(
                f"The state after step {record.step} has values that are NaN or infinite, and was not saved: {listed}. "
                f"{self._latest()} Checkpoint(save_nonfinite=True) would save it."
            )

    def _explained(self, record: Record, error: Exception) -> OSError:
        if isinstance(error, OSError):
            number, reason = error.errno, error.strerror or str(error)
        else:
            reason = re.sub(r"\{\{.*?\}\} ?| \[Op:\w+\]", "", str(error))  # where in TensorFlow it was
            reason = reason.replace(self._store.files.prefix, self._store.files.where).strip()
            number = ERRNO.get(type(error), errno.EIO)
        values = self._snapshot.values.values()
        needed = max(self._store.size, sum(v.dtype.size * (v.shape.num_elements() or 0) for v in values))
        free = self._store.files.free()
        space = "" if free is None else f" It needs about {needed:,} bytes; {free:,} are free."
        where = f"in {self._store.files.where!r}: {reason}.{space}"
        if record in self._store.records():
            return OSError(number or errno.EIO, f"Step {record.step} is saved, but no older one was removed {where}")
        return OSError(
            number or errno.EIO,
            f"The checkpoint of step {record.step} was not saved {where} {self._latest()} "
            "With Checkpoint(on_error='warn'), training would go on",
        )

    def _latest(self) -> str:
        records = self._store.records()
        return f"The one of step {records[-1].step} is as it was." if records else "There is none before it."


def digest(value: tf.Tensor) -> str:
    """Returns the first 16 hex digits of the SHA-256 of a tensor: its dtype, shape and bits."""
    return hashlib.sha256(tf.io.serialize_tensor(value).numpy()).hexdigest()[:16]
