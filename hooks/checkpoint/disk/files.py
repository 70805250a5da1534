"""What a checkpoint asks of the place where its files are."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol

from hooks.checkpoint.record.manifest import CorruptCheckpoint

Measure = tuple[int, str]  # size in bytes, SHA-256 in hex


class Files(Protocol):
    """A directory. All names are relative to it, and come from a listing of it or from this package.

    Attributes:
        where: What it is called, for messages.
        prefix: What TensorFlow takes for it.
    """

    where: str
    prefix: str

    def lock(self) -> None:
        """Becomes the only writer. Raises `RuntimeError` if there is another, with its pid, host and start."""
        ...

    def close(self) -> None:
        """Lets others write."""
        ...

    def ensure(self) -> bool:
        """Makes the directory again if it is gone, and returns whether that was so.

        Raises:
            OSError: If it was moved, or somebody else has the lock by now.
        """
        ...

    def free(self) -> int | None:
        """Returns how many bytes can still be written; None if nobody knows."""
        ...

    def names(self, directory: str = ".") -> list[str]:
        """Returns the names of all that is there, or in a directory that is there."""
        ...

    def size(self, name: str) -> int:
        """Returns the size of a file in bytes. Raises `CorruptCheckpoint` if it is no plain file."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Returns what is in a file. Raises `CorruptCheckpoint` if it is no plain file, or larger than `limit`."""
        ...

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        """Returns up to so many bytes of a file, and its size. Raises `CorruptCheckpoint` if it is no plain file."""
        ...

    def measure(self, name: str) -> Measure:
        """Returns size and SHA-256 of a file. Raises `CorruptCheckpoint` if it is no plain file."""
        ...

    def pinned(self, files: Mapping[str, Measure]) -> contextlib.AbstractContextManager[str]:
        """Compares files to what was measured, and yields a directory in which TensorFlow finds just these.

        Raises:
            CorruptCheckpoint: If one is missing, no plain file, or another.
        """
        ...

    # What follows changes something.

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or into the one that has this name."""
        ...

    def sync(self, name: str = ".") -> None:
        """Waits until a file, or the directory's list of names, survives a power failure."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Gives a file another name, in one instant; what had that name is gone."""
        ...

    def link(self, name: str, to: str) -> None:
        """Gives a file another name besides, or, where a file has only one, makes a copy. Nothing has that name yet.

        Raises:
            OSError: If that cannot be done.
        """
        ...

    def remove(self, name: str) -> None:
        """Removes a file, or a directory with all that is in it, if it is there; a link, but not what it leads to."""
        ...

    def make(self, name: str) -> None:
        """Makes a directory."""
        ...


def compare(path: str, measured: Measure, size: int, sha256: Callable[[], str]) -> None:
    """Raises `CorruptCheckpoint` if a file is not what it was. Size first: one that claims to be huge is not read."""
    if size != measured[0]:
        raise CorruptCheckpoint(path, f"has {size} bytes instead of {measured[0]}")
    if sha256() != measured[1]:
        raise CorruptCheckpoint(path, "its SHA-256 is not the one in the manifest")
