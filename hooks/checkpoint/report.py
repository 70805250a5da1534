"""What is in a directory of checkpoints: read only, without a lock, and without TensorFlow."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

from hooks.checkpoint.commits.ranks import ranks
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest


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
        store, found = Store(files), []
        for stem in store.stems():  # no lock: a trainer may write and prune meanwhile
            manifest, damage = None, ""
            try:
                manifest = store.read(stem)
                if thorough:
                    store.pin(stem).close()
                store.check_sizes(manifest.files)
            except CorruptCheckpoint as error:
                damage = f"{os.path.basename(error.file)} {error.reason}"
            found.append((stem, manifest, damage))
        # What was removed between the listing and the look is no damage.
        still = set(store.stems() if any(damage for *_, damage in found) else ())
        found = [
            (stem, manifest, damage) for stem, manifest, damage in found if not damage or stem in still
        ]  # not pruned
    records = [manifest.record for _, manifest, damage in found if manifest and not damage]
    named = next((record.best for record in reversed(records) if record.best), {"name": "", "mode": "min"})
    best = [stem for *_, stem in ranks(records, str(named["name"]), str(named["mode"]))[:1]]
    return [Entry(stem, manifest, damage, stem in best) for stem, manifest, damage in found]


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[Store, str]]:
    """Yields the directory that a path leads to, and the stem of the checkpoint that it stands for.

    Args:
        path: `DIRECTORY/ckpt-120`, or a directory, for its newest.

    Raises:
        FileNotFoundError: If there is none.
    """
    directory, stem = (path, "") if _is_directory(path) else os.path.split(path)
    with contextlib.closing(open_files(directory or ".", make=False)) as files:
        store = Store(files)
        stems = store.stems()
        if not stems or (stem and stem not in stems):
            raise FileNotFoundError(f"There is no checkpoint {path!r}. There are: {', '.join(stems) or 'none'}.")
        yield store, stem or stems[-1]


def described(path: str) -> Manifest:
    """Returns the manifest of one checkpoint, whose files have the sizes that it says.

    Args:
        path: See `opened`.

    Raises:
        FileNotFoundError: If there is none.
        CorruptCheckpoint: If it is damaged.
    """
    with opened(path) as (store, stem):
        manifest = store.read(stem)
        store.check_sizes(manifest.files)  # sizes cost nothing; hashes are for `verify`
        return manifest


def _is_directory(path: str) -> bool:
    if "://" not in path:
        return os.path.isdir(path)
    import tensorflow as tf  # here, because it takes seconds

    # In memory, any beginning of a name is a directory to TensorFlow; a checkpoint has its index beside it.
    return bool(tf.io.gfile.isdir(path)) and not tf.io.gfile.exists(f"{path}.index")
