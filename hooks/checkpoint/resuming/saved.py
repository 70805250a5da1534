"""What would be restored, as its manifest says it: nothing is locked, hashed or changed for that."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint.record.tensors import CheckpointNames, read_tensors
from hooks.checkpoint.record.writer import is_comparable
from hooks.checkpoint.resuming.resume import kept_rows
from loop.tf_internals import Tensors


class Newest:
    """The newest checkpoint whose manifest can be read; whether its files are whole is seen when it is restored.

    Attributes are those of `loop.running.finished.Saved`, and:
        stem: What the names of its files begin with.

    Args:
        manifest: Its manifest.
        open_files: Opens the directory.
    """

    def __init__(self, manifest: Manifest, open_files: Callable[[], Files]) -> None:
        record, self._open = manifest.record, open_files
        self.stem, self.step, self.epoch, self.pending = record.stem, record.step, record.epoch, record.pending
        self.description: Mapping[str, Mapping[str, Any]] = manifest.description
        self.notes: Mapping[str, int] = manifest.notes.get("data", {})
        result = manifest.result if is_comparable(manifest) else {}  # or a trace has to tell what is known without one
        self.names: Mapping[str, Sequence[Sequence[str]]] = result.get("names", {})
        self.sketches: Mapping[str, str] = result.get("sketches", {})
        self.logs: Mapping[str, float] = result.get("logs", {})
        self.last: bool = result.get("last", False)

    def values(self, variables: Mapping[str, tf.Variable]) -> dict[str, tf.Tensor]:
        """Returns what was saved of some variables, by their paths; nothing if it cannot be read.

        Not by `tf.train.Checkpoint`, which would remember what it has not found, and restore it when it comes.
        """
        # A hint only: whoever restores it reads it again, with all checks, and says what is wrong.
        reading = contextlib.suppress(CorruptCheckpoint, OSError, RuntimeError, ValueError, tf.errors.OpError)
        with reading, contextlib.closing(self._open()) as files, contextlib.closing(Store(files).pin(self.stem)) as pin:
            names = CheckpointNames(pin.prefix, self.description["variables"]).of(variables)
            found = read_tensors(pin.prefix, {name: variables[path].dtype for path, name in names.items()})
            return {path: found[name] for path, name in names.items()}
        return {}  # what is wrong with it is told when it is to be restored

    def rows(self) -> Tensors:
        """Returns the rows in memory that were kept with it; nothing if none were, or they cannot be read."""
        reading = contextlib.suppress(CorruptCheckpoint, OSError, RuntimeError, ValueError, tf.errors.OpError)
        with reading, contextlib.closing(self._open()) as files, contextlib.closing(Store(files).pin(self.stem)) as pin:
            return kept_rows(Store(files), pin)
        return {}


def newest(open_files: Callable[[], Files]) -> Newest | None:
    """Returns what would be restored from a directory; None if that is nothing, or cannot be told by manifests."""
    with contextlib.suppress(OSError, RuntimeError, ValueError), contextlib.closing(open_files()) as files:
        store = Store(files)
        for stem in reversed(store.stems()):  # the newest whose manifest can be read is what would be restored
            # Looks at sizes and hashes nothing: this is asked at each start, also of a finished run.
            with contextlib.suppress(CorruptCheckpoint):
                manifest = store.read(stem)
                store.check_sizes(manifest.files)
                return Newest(manifest, open_files)
    return None
