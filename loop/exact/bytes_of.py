"""Bytes in memory or in a file, of which much may be skipped."""

from typing import BinaryIO, Protocol

BLOCK = 4096  # how many are looked at in one place


class Bytes(Protocol):
    """Bytes in memory or in a file."""

    def __getitem__(self, part: slice, /) -> bytes: ...


class InFile:
    """Bytes of a file, which are read when they are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getitem__(self, part: slice, /) -> bytes:
        self._file.seek(part.start)
        return self._file.read(max(part.stop - part.start, 0))


def sampled(data: Bytes, first: int, last: int) -> list[bytes]:
    """Returns what is at the beginning, in the middle and at the end of a part of bytes."""
    starts = (max(first, at) for at in (first, (first + last - BLOCK) // 2, last - BLOCK))
    return [data[at : min(at + BLOCK, last)] for at in starts]  # of a short one, three times the same
