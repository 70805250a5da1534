"""What the manifests of checkpoints say of a run."""

import contextlib
import os
import socket

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.disk.lock import NAME as LOCK
from hooks.checkpoint.disk.stems import committed_by, order
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest

MOST = 200  # of the latest are read


class Saves:
    """The checkpoints of a directory of this machine. Each is read once.

    Attributes:
        manifests: The latest of them, the oldest first.
        wrong: What is the matter with those that cannot be read; empty if nothing is.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._read = dict[tuple[str, int, int], Manifest]()
        self.manifests, self.wrong = list[Manifest](), ""

    def read(self) -> None:
        """Takes in what is new. Raises `OSError` if the directory cannot be read."""
        found, self.wrong = dict[tuple[str, int, int], Manifest](), ""
        with contextlib.closing(open_files(self._directory, make=False)) as files:
            # Committed ones alone: one that is being written is no damage.
            stems = [stem for name in files.names() if (stem := committed_by(name))]
            for stem in sorted(stems, key=order)[-MOST:]:
                with contextlib.suppress(FileNotFoundError):  # it has been removed since
                    # A manifest is renamed into place and never written to: another one has another inode.
                    status = os.stat(os.path.join(self._directory, f"{stem}.json"))
                    key = stem, status.st_ino, status.st_mtime_ns
                    if manifest := self._read.get(key) or self._manifest(Store(files), stem):
                        found[key] = manifest
        self._read, self.manifests = found, [*found.values()]

    def _manifest(self, store: Store, stem: str) -> Manifest | None:
        try:
            return store.read(stem)
        except CorruptCheckpoint as error:
            if os.path.exists(error.file):  # else it has been removed since
                self.wrong = f"{os.path.basename(error.file)} {error.reason}"
        except RuntimeError as error:
            self.wrong = str(error)
        return None

    def holder(self) -> int | None:
        """Returns the process that writes here: its number, 0 if there is none, None if that cannot be known."""
        try:
            path = os.path.join(self._directory, LOCK)
            # `pid 123 on host since ...`, as `Lock` signs it.
            _, process, _, host, *_ = _beginning(path).decode(errors="replace").split("\n")[0].split()
            with open("/proc/locks", encoding="utf-8") as file:
                # device:inode stands before two offsets. Counted from the end: who waits has an arrow in front.
                locked = {line.split()[-3].rsplit(":", 1)[1] for line in file if " FLOCK " in line}
            if host != socket.gethostname():  # a directory that machines share: their locks are not seen here
                return None
            return int(process) if str(os.stat(path).st_ino) in locked else 0
        except (OSError, ValueError, IndexError):
            return None


def _beginning(path: str) -> bytes:
    """Returns the first bytes of a file, whatever that is: of a pipe that nobody writes to, nothing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 200)
    finally:
        os.close(descriptor)
