"""The last line of a terminal, below what others write there."""

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import IO

WIPE = "\r\x1b[2K"  # to the first column, and the line is empty
INVISIBLE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")  # such as colours


class LastLine:
    """Stands in the last line; what others write comes above it, as they write it.

    While somebody has written a part of a line, such as a bar of their own, it is not there, and waits for the rest.
    The cursor is always to be seen, so a run that is killed leaves a terminal as it was.

    Args:
        file: The terminal. Wherever it is written to here, it may raise.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file, self._lock = file, threading.RLock()  # a handler of signals may print while this thread does
        self._text, self._there, self._whole = "", False, True

    def show(self, text: str) -> None:
        """Puts a text there, which is to be shorter than the terminal is wide."""
        with self._lock:
            self._text = text
            if self._whole:
                self._write(f"{WIPE}{text}")
                self._there = True

    def above(self, line: str, text: str) -> None:
        """Writes a line above it, and puts a text there."""
        with self._lock:
            before, self._text = self._before(), text
            self._write(f"{before}{line}\n{text}")
            self._whole = self._there = True

    def end(self, *, keep: bool) -> None:
        """Leaves what is there, or takes it away."""
        with self._lock:
            left = f"{self._before()}{self._text}\n" if keep and self._text else WIPE if self._there else ""
            self._text, self._there, self._whole = "", False, True
            if left:
                self._write(left)

    @contextlib.contextmanager
    def others(self, data: bytes) -> Iterator[None]:
        """Makes room while somebody else writes something; it comes again when that ends with a line."""
        with self._lock:
            with contextlib.suppress(Exception):  # theirs is no place to be told of it
                if self._there:
                    self._write(WIPE)
                    self._there = False
            yield
            *lines, rest = data.split(b"\n")
            self._whole = (bool(lines) or self._whole) and not INVISIBLE.sub(b"", rest)
            with contextlib.suppress(Exception):
                if self._text:
                    self.show(self._text)

    def _before(self) -> str:
        return WIPE if self._there else "" if self._whole else "\n"

    def _write(self, text: str) -> None:
        self._file.write(text)  # in one piece, so that nobody sees it half
        self._file.flush()
