"""Writes snapshots in a thread of its own, one at a time."""

import collections
import contextlib
import errno
import functools
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from hooks.checkpoint.commits.retention import Retention, Standing
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.errors import Differing
from hooks.checkpoint.record.manifest import FORMAT, Manifest, Record
from hooks.checkpoint.saving.background import Background
from hooks.checkpoint.saving.bundle import Bundle, Naming
from hooks.checkpoint.saving.rows_file import RowsFile
from hooks.checkpoint.saving.snapshot import Snapshot
from hooks.checkpoint.saving.writing import Writing
from loop import TrainingState, digest
from loop.tf_internals import Tensors

log = logging.getLogger("exactloop")
ERRNO = {  # what TensorFlow's errors are to the operating system
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.NotFoundError: errno.ENOENT,
    tf.errors.OutOfRangeError: errno.EFBIG,
}
Compare: TypeAlias = Callable[[Mapping[str, str]], Mapping[int, Tensors]]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Saver:
    """Saves the training state as it is when it is asked to, while training goes on.

    Args:
        store: Where to. The lock has to be held, and the store loaded.
        state: What to save.
        rule: Which checkpoints stay.
        naming: Finds what TensorFlow calls everything.
        finite: Whether to refuse to save values that are not.
        failed: Called in the thread when a save has failed.
    """

    def __init__(
        self,
        store: Store,
        state: TrainingState,
        rule: Retention,
        naming: Naming,
        *,
        finite: bool,
        failed: Callable[[], object],
    ) -> None:
        self._store, self._rule, self._finite, self._failed = store, rule, finite, failed
        self._standing = Standing(rule, store.records())
        self._snapshot = Snapshot(state)
        self._bundle = Bundle(self._snapshot, naming)
        self._rows = RowsFile(store, state.rows.held())
        self._trained = frozenset(state.given())
        self._background = Background()
        self._writing: Writing | None = None
        self._committed = collections.deque[int]()  # steps; the thread appends, the loop's thread takes out

    def ranks(self, value: float) -> bool:
        """Returns whether a value is among the best, with what is being written."""
        writing = self._writing  # first: what is over meanwhile is among the others
        return self._standing.ranks(value, writing.record if writing and writing.error is None else None)

    def save(self, record: Record, compare: Compare = lambda digests: {}, **parts: Mapping) -> None:
        """Begins to save the present state; waits first for the save that is under way.

        Args:
            record: What it is a checkpoint of; nothing is done if that is there already.
            compare: Called with the digests of all values by path; returns what other workers have for themselves, by
                their ranks; what it raises, the save raises.
            parts: What else the manifest says.
        """
        if self._store.has(record.stem) or (self._writing and self._writing.record.stem == record.stem):
            return
        self.wait()
        self._snapshot.take()  # values are held, not copied: training goes on from here
        writing = Writing(record)
        try:
            self._writing = writing
            self._background.do(lambda: self._run(writing, compare, parts))
        except RuntimeError as error:
            _say_once(str(error))
            if not writing.claim():  # a thread has begun with it after all
                return
            self._writing = None
            try:
                self._write(record, compare, parts)
            except Exception as failure:
                self._failed()
                writing.end(failure)
                self._writing = writing  # for whoever waits, as if it had been in the background
        except BaseException:  # an interrupt, and the thread is there nevertheless or it is not
            if writing.claim():
                self._writing = None
                self._snapshot.drop()
            raise

    def collect(self) -> None:
        """Raises what the latest save raised, if it is over; once."""
        if self._writing is not None and self._writing.over:
            self.wait()

    def committed(self) -> Iterator[int]:
        """Yields the steps of which checkpoints are complete, each once."""
        with contextlib.suppress(IndexError):
            while True:
                yield self._committed.popleft()

    def join(self) -> None:
        """Waits for the save that is under way, in any thread, and raises what it raised; so does `wait`, after it."""
        if (writing := self._writing) is not None:  # the loop's thread may forget it meanwhile
            writing.wait()
            if writing.error is not None:
                raise writing.error

    def wait(self) -> None:
        """Waits for the save that is under way, and raises what it raised, once. For the loop's thread alone."""
        if self._writing is not None:
            self._writing.wait()
            error, self._writing = self._writing.error, None
            try:
                if error is not None:
                    raise error
            finally:
                del error  # or this frame and its own exception would keep each other, and the state's values, alive

    def leave(self, close: Callable[[], None]) -> None:
        """Ends the work for a run: calls `close` at once, or, if a save is under way, when that is over.

        Nobody is told any more if that one fails.
        """
        self._failed = lambda: None
        self._background.end()
        if self._writing is None:
            self._background.wait()
            close()
        else:
            self._writing.finally_(close)

    def _run(self, writing: Writing, compare: Compare, parts: Mapping[str, Any]) -> None:
        if not writing.claim():
            return
        try:
            self._write(writing.record, compare, parts)
        except BaseException as error:
            self._failed()
            writing.end(error)
        else:
            writing.end(None)

    def _write(self, record: Record, compare: Compare, parts: Mapping[str, Any]) -> None:
        try:
            if self._finite and (wrong := self._not_finite()):
                raise FloatingPointError(
                    f"The state after step {record.step} has values that are NaN or infinite, and was not saved: "
                    f"{wrong}. {self._latest()} Checkpoint(save_nonfinite=True) would save it. "
                    "NaNGuard(weights=True) ends the run at the step, and names its rows."
                )
            # sync: copies one value after the other to the host, in this thread.
            digests = tuple(map(digest, self._snapshot.values.values()))
            self._snapshot.hold(compare(dict(zip(self._snapshot.values, digests, strict=True))))
            self._store.commit(
                record,
                self._write_files,
                lambda files: Manifest(record, files, digests=digests, format=FORMAT, **parts),
            )
            self._committed.append(record.step)
            if self._standing.count + 1 != self._store.count:  # somebody has removed the directory meanwhile
                self._standing = Standing(self._rule, self._store.records()[:-1])
            # Only now: until the new one is committed, the old ones are all there is.
            self._store.remove(self._standing.add(record))
        except (FloatingPointError, Differing):
            raise
        except Exception as error:
            # Without its frames, which hold the values of the state.
            raise self._explained(record, error) from error.with_traceback(None)
        finally:
            self._snapshot.drop()

    def _write_files(self, prefix: str) -> None:
        self._bundle.write(prefix)
        self._rows.write(prefix)

    def _not_finite(self) -> str:
        """Returns the paths of what was given that has values that are not finite, each with their number."""
        wrong = {}
        with np.errstate(all="ignore"):
            for path, value in self._snapshot.values.items():
                if path in self._trained and (value.dtype.is_floating or value.dtype.is_complex):
                    array = np.asarray(value)
                    if not np.isfinite(array.sum()):  # or has grown too large; looked at first because it takes no time
                        wrong[path] = np.count_nonzero(~np.isfinite(array))
        return ", ".join(f"{path} ({count})" for path, count in wrong.items() if count)

    def _explained(self, record: Record, error: Exception) -> OSError:
        if isinstance(error, OSError):
            number, reason = error.errno or errno.EIO, error.strerror or str(error)
            if isinstance(error.filename, str):
                reason += f" ({os.path.relpath(error.filename, self._store.files.where)})"
        else:
            reason = re.sub(r"\{\{.*?\}\} ?| \[Op:\w+\]", "", str(error) or repr(error))  # where in TensorFlow it was
            reason = reason.replace(self._store.files.prefix, self._store.files.where).strip()
            number = ERRNO.get(type(error), errno.EIO)
        where = f"in {self._store.files.where!r}: {reason}.{self._space() if number in FULL else ''}"
        if self._store.has(record.stem):
            return OSError(number, f"Step {record.step} is saved, but no older one was removed {where}")
        return OSError(
            number,
            f"The checkpoint of step {record.step} was not saved {where} {self._latest()} "
            "With Checkpoint(on_error='warn'), training would go on",
        )

    def _space(self) -> str:
        values, free = self._snapshot.values.values(), self._store.files.free()
        needed = max(self._store.size, sum(value.dtype.size * (value.shape.num_elements() or 0) for value in values))
        return "" if free is None else f" It needs about {needed:,} bytes; {free:,} are free."

    def _latest(self) -> str:
        records = self._store.records()
        return f"The one of step {records[-1].step} is as it was." if records else "There is none before it."


@functools.cache
def _say_once(why: str) -> None:
    log.warning("Training waits while checkpoints are written: %s.", why)
