"""A file to which somebody else appends, or which somebody replaces or cuts: what is new in it."""

import os
import stat

BLOCK = 2**24  # bytes that are read at once
MARK = 64  # bytes by which it is known again


class Growing:
    """Reads on where it was, as long as the file is the same.

    Attributes:
        changed: When it was written to last, in seconds since 1970.

    Args:
        path: The file; what is none, such as a pipe, is an empty one.
    """

    def __init__(self, path: str) -> None:
        self.path, self.changed = path, 0.0
        self._is: tuple[int, int] | None = None
        self._at, self._mark = 0, b""  # up to where it was read, and the bytes before that

    def look(self, most: int = BLOCK) -> tuple[bool, bytes, int]:
        """Returns whether what was read before is void, what comes next, and how many bytes there are in all of that.

        Args:
            most: How many bytes to read.

        Raises:
            OSError: If it cannot be read, or is gone.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for a pipe's other end
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return False, b"", 0
            now, self.changed = (status.st_dev, status.st_ino), status.st_mtime
            # A file that was cut and has grown again is known by what stands before the place: it is another text.
            before = os.pread(descriptor, len(self._mark), self._at - len(self._mark))
            anew = self._is not in (None, now) or status.st_size < self._at or before != self._mark
            self._is = now
            if anew:
                self._at, self._mark = 0, b""
            # One descriptor for all of it: what is renamed in between does not matter.
            left = status.st_size - self._at
            return anew, os.pread(descriptor, min(most, left), self._at), left
        finally:
            os.close(descriptor)

    def took(self, data: bytes, size: int) -> None:
        """Goes on after so many bytes: of the data, or beyond them, if what is there is too large to be of interest."""
        self._at, self._mark = self._at + size, data[max(0, size - MARK) : size] if size <= len(data) else b""
