"""What does not change while a run goes on, and is in each of its checkpoints, though it is written once."""

import contextlib
import hashlib
from collections.abc import Mapping

import tensorflow as tf

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.files import Measure
from hooks.checkpoint.disk.stems import ROWS
from hooks.checkpoint.record.manifest import CorruptCheckpoint
from hooks.checkpoint.record.rows import encoded


class RowsFile:
    """The file of rows in memory that each checkpoint of a run has.

    It is one file with a name for each of them, so that it goes with the last, and that a checkpoint is whole by its
    own files alone: it can be pinned, set aside or copied as any other. Where files have one name, each has a copy.

    Args:
        store: Where the checkpoints are.
        tensors: The rows, by name; if there are none, there is no file.
    """

    def __init__(self, store: Store, tensors: Mapping[str, tf.Tensor]) -> None:
        self._store, self._tensors = store, tensors
        self._measure: Measure | None = None  # nobody has asked yet

    def write(self, prefix: str) -> None:
        """Puts it beside the files of TensorFlow, under the same prefix."""
        if not self._tensors:
            return
        files = self._store.files
        name = f"{prefix.removeprefix(f'{files.prefix}/')}{ROWS}"
        if self._measure is None:
            content = encoded(self._tensors)
            self._measure = len(content), hashlib.sha256(content).hexdigest()
        if not self._is_linked(name):
            files.remove(name)
            files.write(name, encoded(self._tensors))

    def _is_linked(self, name: str) -> bool:
        """Gives the file of the latest checkpoint this name besides. Returns whether it has these rows in it."""
        if record := self._store.latest:
            with contextlib.suppress(OSError, CorruptCheckpoint):  # it has none, or a file can have one name only
                self._store.files.link(f"{record.stem}{ROWS}", name)
                return self._store.files.measure(name) == self._measure
        return False
