"""What is in a directory of checkpoints: read only, without a lock, and without TensorFlow."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

from hooks.checkpoint.commits.beside import TRIES, beside, listed
from hooks.checkpoint.commits.ranks import ranks
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest

Looked: TypeAlias = tuple[str, Manifest | None, str]  # the stem, the manifest, and what is wrong
Result = TypeVar("Result")


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


def entries(directory: str | os.PathLike[str], *, thorough: bool) -> list[Entry]:
    """Returns the checkpoints of a directory, the oldest first.

    Args:
        directory: The directory that was given to `Checkpoint`.
        thorough: Whether to hash all files, for which TensorFlow is needed, or only to look at their sizes.

    Raises:
        FileNotFoundError, NotADirectoryError: If there is no such directory.
    """
    if not os.fsdecode(directory):
        raise FileNotFoundError("A directory needs a name. Received: an empty one. The present one is '.'.")
    with contextlib.closing(open_files(directory, make=False)) as files:
        store, found = Store(files), list[Looked]()
        for _ in range(TRIES):
            stems = listed(store)  # no lock: a trainer may write and prune meanwhile
            found = _looked_at(store, stems, thorough=thorough)
            if found or not stems:  # else all of them were removed while they were looked at
                break
    records = [manifest.record for _, manifest, damage in found if manifest and not damage]
    named = next((record.best for record in reversed(records) if record.best), {"name": "", "mode": "min"})
    best = [stem for *_, stem in ranks(records, str(named["name"]), str(named["mode"]))[:1]]
    return [Entry(stem, manifest, damage, stem in best) for stem, manifest, damage in found]


def _looked_at(store: Store, stems: Iterable[str], *, thorough: bool) -> list[Looked]:
    """Returns what is to be said of some checkpoints, but for those that were removed meanwhile."""
    found = list[Looked]()
    for stem in stems:
        manifest, damage = None, ""
        try:
            manifest = store.read(stem)
            if thorough:
                store.pin(stem).close()
            store.check_sizes(manifest.files)
        except CorruptCheckpoint as error:
            damage = f"{os.path.basename(error.file)} {error.reason}"
        found.append((stem, manifest, damage))
    still = {*(store.stems() if any(damage for *_, damage in found) else ())}
    return [looked for looked in found if not looked[-1] or looked[0] in still]


def of_one(path: str, read: Callable[[Store, str], Result]) -> Result:
    """Returns what `read` returns of one checkpoint, given the directory and its stem; of the next if it is removed.

    Args:
        path: `DIRECTORY/ckpt-120`, or a directory, for its newest.
        read: May be called again.

    Raises:
        FileNotFoundError: If there is none.
        CorruptCheckpoint: If it is damaged, as `read` says.
    """
    directory, stem = (path, "") if _is_directory(path) else os.path.split(path)

    def chosen(stems: list[str]) -> Result:
        if not stems or (stem and stem not in stems):
            raise FileNotFoundError(f"There is no checkpoint {path!r}. There are: {', '.join(stems) or 'none'}.")
        return read(store, stem or stems[-1])

    with contextlib.closing(open_files(directory or ".", make=False)) as files:
        store = Store(files)
        return beside(store, chosen)


def described(path: str) -> Manifest:
    """Returns the manifest of one checkpoint, whose files have the sizes that it says. See `of_one`."""

    def read(store: Store, stem: str) -> Manifest:
        manifest = store.read(stem)
        store.check_sizes(manifest.files)  # sizes cost nothing; hashes are for `verify`
        return manifest

    return of_one(path, read)


def _is_directory(path: str) -> bool:
    if "://" not in path:
        return os.path.isdir(path)
    import tensorflow as tf  # here, because it takes seconds

    # In memory, any beginning of a name is a directory to TensorFlow; a checkpoint has its index beside it.
    return bool(tf.io.gfile.isdir(path)) and not tf.io.gfile.exists(f"{path}.index")
