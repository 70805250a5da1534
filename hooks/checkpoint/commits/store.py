"""The protocol of checkpoints: what is committed, what is whole, and what may go.

A directory of `tf.train.CheckpointManager` holds `ckpt-<step>.index` and `.data-...` as TensorFlow writes them, and one
`ckpt-<step>.json` for each: the manifest, with the sizes and SHA-256 of the files. Writing it is the commit, the last
thing a save does. No manifest, no checkpoint. TensorFlow's own `checkpoint` file is kept up for others, never believed.

A save costs the same however many are kept: it lists no directory, and reads, of what is kept, what is in memory.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping

from hooks.checkpoint.commits.aside import drop, next_aside
from hooks.checkpoint.commits.erasing import erase, sweep, write_flushed
from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.disk.files import Files, Measure
from hooks.checkpoint.disk.state_file import LISTED, tell_tensorflow
from hooks.checkpoint.disk.stems import MARK, ROOM, ROWS, check_complete, committed_by, order, written_for
from hooks.checkpoint.record.limit import SMALL, limit
from hooks.checkpoint.record.manifest import HEAD, CorruptCheckpoint, Head, Manifest, Record, decode, encode, peek

log = logging.getLogger("exactloop")


def _check_file(path: str, data: int) -> None:
    """Imports `check_file` when it is needed: TensorFlow comes with it, and who only looks goes without."""
    from hooks.checkpoint.commits.index import check_file

    check_file(path, data)


class Store:
    """The checkpoints in a directory.

    Args:
        files: The directory. For a reader it need not be locked.
        check_index: Raises `ValueError` if TensorFlow would not survive to read an index, given its path and how many
            bytes all files have.
    """

    def __init__(self, files: Files, *, check_index: Callable[[str, int], None] = _check_file) -> None:
        self.files, self._survives = files, check_index
        self.size = 0  # of the latest checkpoint, in bytes
        self._heads: dict[str, Head] = {}  # the oldest first
        self._replaced = False  # by a directory that is not ours to write to; for good

    def stems(self) -> list[str]:
        """Returns what the names of committed checkpoints begin with, the oldest first.

        Files whose manifest is gone, but not by us, belong to one as well: it is damaged.
        """
        # One listing for both questions: of two, a commit in between would look like damage.
        names = {*self.files.names()}
        committed = {stem for name in names if (stem := committed_by(name))}
        written = {stem for name in names if (stem := written_for(name)) and f"{stem}{MARK}" not in names}
        return sorted(committed | written, key=order)

    def records(self) -> list[Record]:
        """Returns what `load` found and `commit` added, the oldest first; from memory, in any thread."""
        return [head.record for head in list(self._heads.values())]  # a copy: the thread that saves adds to it

    @property
    def latest(self) -> Record | None:
        """The last of those, without a look at the others; None if there are none."""
        head = next(reversed(self._heads.values()), None)
        return head and head.record

    @property
    def count(self) -> int:
        """How many of those there are."""
        return len(self._heads)

    def has(self, stem: str) -> bool:
        """Returns whether there is one whose names begin with this."""
        return stem in self._heads

    def load(self) -> list[CorruptCheckpoint]:
        """Clears away what a crash left behind and reads the heads of manifests; returns what is wrong with the others.

        The rest of a manifest, and hashes, are for the one that is restored.

        Raises:
            RuntimeError: If another version of this package wrote one that this one cannot read.
        """
        damaged, self._heads = list[CorruptCheckpoint](), {}
        sweep(self.files)
        # Only heads: 16 kB of each, where a manifest of thousands of variables has megabytes.
        stems, names = self.stems(), {*self.files.names()}
        for stem in stems:
            try:
                head = self.glance(stem)
                self.check_sizes(head.files)
                self._heads[stem], self.size = head, sum(size for size, _ in head.files.values())
            except CorruptCheckpoint as error:
                damaged.append(error)
        tell_tensorflow(self.files, [stem for stem in stems if f"{stem}.json" in names])
        return damaged

    def glance(self, stem: str) -> Head:
        """Returns the head of a manifest, which costs the same however large that is. Raises what `read` does."""
        head = peek(*self.files.beginning(f"{stem}.json", HEAD))
        if head is None:
            manifest = self.read(stem)
            return Head(manifest.record, manifest.files)
        self._check(stem, head)
        return head

    def read(self, stem: str) -> Manifest:
        """Returns the manifest of a checkpoint, whose files are not looked at.

        Raises:
            CorruptCheckpoint: If it cannot be read, or is not the manifest of this checkpoint.
            RuntimeError: If another version of this package wrote it that this one cannot read.
        """
        name = f"{stem}.json"
        try:
            # The index is asked for its size only if that matters: at an address, each question is a round trip.
            most = SMALL if self.files.size(name) <= SMALL else limit(self.files.size(f"{stem}.index"))
            manifest = decode(self.files.read(name, most))
        except ValueError as error:
            raise CorruptCheckpoint(self._path(name), str(error)) from error
        except RuntimeError as error:
            raise RuntimeError(f"{self._path(name)}: {error}. Use that version, or another directory.") from error
        self._check(stem, Head(manifest.record, manifest.files))
        return manifest

    def _check(self, stem: str, head: Head) -> None:
        """Raises `CorruptCheckpoint` if this is not the head of the manifest of a checkpoint."""
        path = self._path(f"{stem}.json")
        # A copy under another name would be another step's state under this step's number.
        if head.record.stem != stem:
            raise CorruptCheckpoint(path, f"it is the manifest of {head.record.stem}")
        for named in head.files:
            if written_for(named) != stem:
                raise CorruptCheckpoint(path, f"it names a file that is not its own: {named[:100]!r}")
        try:
            check_complete(stem, head.files)
        except FileNotFoundError as error:
            raise CorruptCheckpoint(path, str(error)) from error

    def check_sizes(self, files: Mapping[str, Measure]) -> None:
        """Raises `CorruptCheckpoint` if a file is missing, no plain file, or of another size."""
        for name, (size, _) in files.items():
            if (found := self.files.size(name)) != size:
                raise CorruptCheckpoint(self._path(name), f"has {found} bytes instead of {size}")

    def pin(self, stem: str) -> Pin:
        """Returns a checkpoint after comparing all its files to its manifest. Close it when it has been read.

        Raises:
            CorruptCheckpoint: If it is not what was committed.
        """
        # Read again, even if its head is known: what is pinned is what is on the disk now.
        manifest = self.read(stem)
        with contextlib.ExitStack() as held:
            directory = held.enter_context(self.files.pinned(manifest.files))
            self._check_index(f"{directory}/{stem}.index", manifest)
            return Pin(manifest, f"{directory}/{stem}", held.pop_all())

    def _check_index(self, path: str, manifest: Manifest) -> None:
        index = self._path(f"{manifest.record.stem}.index")
        try:
            self._survives(path, sum(size for name, (size, _) in manifest.files.items() if not name.endswith(ROWS)))
        except FileNotFoundError as error:  # at an address, where nothing can be held fast
            raise CorruptCheckpoint(index, "was removed while it was looked at") from error
        except ValueError as error:
            raise CorruptCheckpoint(index, f"its SHA-256 is right, but TensorFlow did not write it: {error}") from error

    def newest(self, stems: Iterable[str]) -> tuple[Pin | None, list[CorruptCheckpoint]]:
        """Returns the last of these that is whole, if one is, and what is wrong with those after it."""
        damaged: list[CorruptCheckpoint] = []
        for stem in sorted(stems, key=order, reverse=True):  # hashing stops at the first that is whole
            try:
                return self.pin(stem), damaged
            except CorruptCheckpoint as error:
                damaged.append(error)
        return None, damaged

    # What follows is for the one that holds the lock.

    def commit(
        self, record: Record, write: Callable[[str], object], manifest: Callable[[dict[str, Measure]], Manifest]
    ) -> None:
        """Saves a checkpoint: when this returns, it is there even if the power fails. If it raises, nothing is left.

        Args:
            record: What it is a checkpoint of; nothing is written if that is committed already.
            write: Writes the files `<stem>.*`, given what is before the dot. Nothing else is there.
            manifest: Makes the manifest from the sizes and hashes of these files.
        """
        stem = record.stem
        if self.files.ensure():
            there = self.stems()
            if there != sorted(self._heads, key=order):  # else it is the same again, or a copy
                self._heads, self._replaced = {}, bool(there)
        if self._replaced:
            raise FileExistsError(f"{self.files.where!r} was replaced by a directory with other checkpoints")
        # A stop may have a step settled twice.
        if stem in self._heads:
            return
        try:
            write_flushed(self.files, f"{stem}{MARK}", b"")  # what is found beside it is a save that was cut off
            self.files.sync()
            room = f"{stem}{ROOM}"
            self.files.remove(room)  # or TensorFlow would write where it leads
            self.files.make(room)  # an empty one: TensorFlow looks through all of the directory that it writes to
            write(f"{self.files.prefix}/{room}/{stem}")
            written = [name for name in sorted(self.files.names(room)) if written_for(name) == stem]
            check_complete(stem, written)  # TensorFlow may write several parts, and all of them count
            for name in written:
                self.files.rename(f"{room}/{name}", name)
            self.files.remove(room)
            for name in written:
                # Data before names: one that survives a power failure must not lead to an empty file.
                self.files.sync(name)
            self.files.sync()  # or their names could be lost, and that of the manifest not
            measured = {name: self.files.measure(name) for name in written}
            write_flushed(self.files, f"{stem}{MARK}", encode(manifest(measured)))
            self.files.rename(f"{stem}{MARK}", f"{stem}.json")
            self.files.sync()
        except BaseException:
            with contextlib.suppress(Exception):  # what was raised first says why
                erase(self.files, [stem], self.files.names())
                self._tell_tensorflow()
            raise
        self._heads[stem], self.size = Head(record, measured), sum(size for size, _ in measured.values())

    def remove(self, stems: Iterable[str]) -> None:
        """Removes committed checkpoints; what is not there any more, or was never heard of, is none."""
        # Forgotten first: what cannot be removed now is found, and judged again, when the next run loads.
        heads = {stem: head for stem in stems if (head := self._heads.pop(stem, None))}
        if heads:
            manifests = [f"{stem}.json" for stem in heads]
            erase(self.files, heads, [*manifests, *(name for head in heads.values() for name in head.files)])
        self._tell_tensorflow()

    def set_aside(self, stems: Iterable[str]) -> None:
        """Moves checkpoints that must not be picked up again into a directory `set-aside-<n>`; see `drop`."""
        if not (stems := sorted(stems, key=order, reverse=True)):
            return
        there = self.files.names()
        aside, of = next_aside(there), dict[str, list[str]]()
        for name in there:
            if stem := committed_by(name) or written_for(name):
                of.setdefault(stem, []).append(name)
        self.files.make(aside)
        for stem in stems:
            # In any order: what is left behind by a kill is damaged, and set aside at the next start.
            for name in of.get(stem, ()):
                self.files.rename(name, f"{aside}/{name}")
            self._heads.pop(stem, None)
        self.files.sync(aside)
        self.files.sync()
        self._tell_tensorflow()
        log.warning("Set aside in %s: %s.", self._path(aside), ", ".join(stems))
        drop(self.files, next(reversed(self._heads), None))

    def _tell_tensorflow(self) -> None:
        tell_tensorflow(self.files, [*itertools.islice(reversed(self._heads), LISTED)][::-1])

    def _path(self, name: str) -> str:
        return f"{self.files.where}/{name}"
