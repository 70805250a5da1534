"""What is in a directory of checkpoints, and how two of them differ: read only, and without a lock."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from hooks.checkpoint.graph import CheckpointNames
from hooks.checkpoint.manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint.resume import open_files
from hooks.checkpoint.retention import ranks
from hooks.checkpoint.store import Pin, Store
from loop.tf_internals import OBJECT_GRAPH

# TensorFlow's own, and the time that it took: no part of what is trained.
IGNORED = {OBJECT_GRAPH, *(f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("save_counter", "clock/seconds"))}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One checkpoint of a directory.

    Attributes:
        stem: What the names of its files begin with, such as "ckpt-120".
        manifest: What its manifest says; None if that cannot be read.
        damage: What is wrong with it; empty if nothing was found.
        best: Whether it is the best one by the metric that was watched.
    """

    stem: str
    manifest: Manifest | None
    damage: str
    best: bool

    @property
    def size(self) -> int:
        """The bytes of its files, without the manifest."""
        return sum(size for size, _ in self.manifest.files.values()) if self.manifest else 0


@dataclasses.dataclass(frozen=True)
class Difference:
    """A value that is not the same in two checkpoints.

    Attributes:
        name: What it is called in both: the path of a variable, as in a manifest.
        what: How it differs: "only in the first", "only in the second", "shape", "dtype" or "values".
        count: How many of its numbers differ, in bits; 0 if they cannot be compared.
        largest: The largest absolute difference; NaN if there is none, as between texts.
    """

    name: str
    what: str
    count: int = 0
    largest: float = float("nan")


def entries(directory: str | os.PathLike[str], *, thorough: bool) -> list[Entry]:
    """Returns the checkpoints of a directory, the oldest first.

    Args:
        directory: The directory that was given to `Checkpoint`.
        thorough: Whether to hash all files, or only to look at their sizes.

    Raises:
        FileNotFoundError, NotADirectoryError: If there is no such directory.
    """
    with contextlib.closing(open_files(directory, make=False)) as files:
        store, found = Store(files), []
        for stem in store.stems():
            manifest, damage = None, ""
            try:
                manifest = store.read(stem)
                if thorough:
                    store.pin(stem).close()
                store.check_sizes(manifest.files)
            except CorruptCheckpoint as error:
                damage = f"{os.path.basename(error.file)} {error.reason}"
            found.append((stem, manifest, damage))
        still = set(store.stems() if any(damage for *_, damage in found) else ())
        found = [
            (stem, manifest, damage) for stem, manifest, damage in found if not damage or stem in still
        ]  # not pruned
    records = [manifest.record for _, manifest, damage in found if manifest and not damage]
    named = next((record.best for record in reversed(records) if record.best), {"name": "", "mode": "min"})
    best = [stem for *_, stem in ranks(records, str(named["name"]), str(named["mode"]))[:1]]
    return [Entry(stem, manifest, damage, stem in best) for stem, manifest, damage in found]


@contextlib.contextmanager
def pinned(path: str) -> Iterator[Pin]:
    """Yields one checkpoint, whole, for as long as it is read.

    Args:
        path: `DIRECTORY/ckpt-120`, or a directory, for its newest.

    Raises:
        FileNotFoundError: If there is none.
        CorruptCheckpoint: If it is damaged.
    """
    directory, stem = (path, "") if _is_directory(path) else os.path.split(path)
    with contextlib.closing(open_files(directory or ".", make=False)) as files:
        store = Store(files)
        stems = store.stems()
        if not stems or (stem and stem not in stems):
            raise FileNotFoundError(f"There is no checkpoint {path!r}. There are: {', '.join(stems) or 'none'}.")
        with contextlib.closing(store.pin(stem or stems[-1])) as pin:
            yield pin


def differences(first: str, second: str) -> tuple[int, list[Difference]]:
    """Returns how many values two checkpoints have, and which of them differ, in bits. The training time is none.

    Args:
        first: See `pinned`.
        second: The same.
    """
    with pinned(first) as one, pinned(second) as other:
        left, right = _values(one), _values(other)
        found = [Difference(name, "only in the first") for name in left.keys() - right.keys()]
        found += [Difference(name, "only in the second") for name in right.keys() - left.keys()]
        for name in left.keys() & right.keys():
            found += _compared(name, np.asarray(left[name]()), np.asarray(right[name]()))
        return len(left.keys() | right.keys()), sorted(found, key=lambda difference: difference.name)


def _values(pin: Pin) -> dict[str, Callable[[], object]]:
    """Returns what reads each value of a checkpoint: variables by their path, anything else by TensorFlow's name."""
    variables, reader = pin.manifest.description["variables"], tf.train.load_checkpoint(pin.prefix)
    paths = {name: path for path, name in CheckpointNames(pin.prefix, variables).of(variables).items()}
    there = set(reader.get_variable_to_shape_map()) - IGNORED
    return {paths.get(name, name): functools.partial(reader.get_tensor, name) for name in there}


def _compared(name: str, left: np.ndarray, right: np.ndarray) -> list[Difference]:
    if left.shape != right.shape:
        return [Difference(name, "shape")]
    if left.dtype.kind in "OSU" and right.dtype.kind in "OSU":  # texts, of any length
        count = int(np.count_nonzero(left != right))
        return [Difference(name, "values", count)] if count else []
    if left.dtype != right.dtype:
        return [Difference(name, "dtype")]
    if not left.size:
        return []
    bits = [np.ascontiguousarray(side).reshape(-1).view(np.uint8).reshape(left.size, -1) for side in (left, right)]
    count = int(np.count_nonzero((bits[0] != bits[1]).any(axis=1)))
    if not count:
        return []
    wide = np.complex128 if np.iscomplexobj(left) else np.longdouble if left.dtype.kind in "iu" else np.float64
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(left.astype(wide) - right.astype(wide))))
    return [Difference(name, "values", count, largest)]


def _is_directory(path: str) -> bool:
    return tf.io.gfile.isdir(path) if "://" in path else os.path.isdir(path)
