"""A file of rows: each once, whatever happens to the run or the disk."""

import collections
import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from hooks.shared.flushing import flushed
from hooks.shared.row_format import Row, format_of, head_of

log = logging.getLogger("exactloop")
LIMIT = 10_000  # rows that wait for room on the disk: some MB


class RowFile:
    """One session's view of a file of rows, in the order of their steps.

    What a `flush` could not write waits for the next one, and what it has written in part is taken back.

    Args:
        path: The file, whose name ends in `.csv` or `.jsonl`.
        step: The step from which the session goes on: when it is opened, what comes after is cut away, and a line that
            a kill has torn. A row of that very step that comes again, such as an evaluation that was still due, takes
            the place of the one that is there.
        names: The names that rows will have, as far as they are known.
    """

    def __init__(self, path: Path, step: int, names: tuple[str, ...]) -> None:
        self.path, self.format, self._from, self._names = path, format_of(path), step, names
        self._waiting = collections.deque[Row]()
        self._lost: list[int] = []  # the first and the latest step of which there was no room to wait
        self._file: io.FileIO | None = None
        self._size = 0  # bytes that are certain
        self._latest = step  # of the rows that are
        self._there: dict[tuple[str, int], int] = {}  # where the rows of step `step` begin

    def check(self) -> None:
        """Raises `ValueError` if there is a file that nobody has written here, and which is not to be overwritten."""
        if not os.path.lexists(self.path):  # a link that leads nowhere counts as there
            return
        if self.path.is_file():
            with self.path.open("rb") as file:
                head = head_of(file)
            if not head or format_of(self.path).takes(head):
                return
        raise ValueError(
            f"{str(self.path)!r} is there, and no log of values: it is left as it is. Give another name, or remove it."
        )

    def add(self, row: Row) -> None:
        """Takes a row for the next `flush`."""
        if len(self._waiting) == LIMIT:
            self._lost = [*self._lost[:1], self._waiting.popleft().step]
        self._waiting.append(row)

    def flush(self) -> None:
        """Writes what waits. If that fails, it goes on waiting."""
        file = self._file or self._open()
        if not self._waiting:
            return
        if self._is_gone(file):
            file = self._open_again()
        elif os.fstat(file.fileno()).st_nlink > 1:  # it is in a copy by hard links, too, which is not to change
            file = self._rewrite(self._size)
        # New names in mid-run, such as those of a hook that reports late: CSV needs them in its first line.
        if self.format.widen(name for row in self._waiting for name in row.values):
            file = self._rewrite(self._size)
        size = self._size
        for row in self._waiting:
            size = min(size, self._there.get((row.kind, row.step), size))
        self._there = {key: at for key, at in self._there.items() if at < size}
        # From the first row that comes again on, all is written anew, in the order of this session.
        self._size = size
        self._write(file, b"".join(map(self.format.line, self._waiting)))
        self._latest = self._waiting[-1].step
        self._waiting.clear()

    def close(self) -> None:
        """Writes what waits, for the last time, and says what is missing."""
        try:
            self.flush()
        finally:
            self._leave()
            if missing := [*self._lost, *(row.step for row in self._waiting)]:
                log.warning("No values of steps %d to %d in %s.", missing[0], missing[-1], self.path)

    def rows(self, start: int) -> Iterator[tuple[int, Row]]:
        """Yields what is certain from a place in the file on: where each row ends, and the row."""
        with self.path.open("rb") as file:
            start = start or len(head_of(file) if self.format.head() else b"")
        for at, line in self._lines(start, self._size):
            if (row := self.format.row(line)) is not None:
                yield at + len(line), row

    def _open(self) -> io.FileIO:
        """Cuts what is there, and mends it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with self.path.open("rb") as file:
            head, total = head_of(file), os.fstat(file.fileno()).st_size
        # From step 0 nothing of the file is gone on with, also if it is ours: another training has made it.
        known = head.endswith(b"\n") and self.format.takes(head) and self._from > 0
        end, wrong, self._there = len(head) if known and self.format.head() else 0, 0, {}
        for at, line in self._lines(end, total) if known else ():
            row = self.format.row(line) if line.endswith(b"\n") else None
            if row is None:
                wrong += line.endswith(b"\n")
                continue
            if row.step > self._from:  # rows are in the order of steps: all that follows goes
                break
            end = at + len(line)
            if row.step == self._from:
                self._there[row.kind, row.step] = at
        if wrong:
            log.warning("%s: %d of its lines are no rows of values, and are left out.", self.path, wrong)
        shared = self.path.stat().st_nlink > 1  # with a copy by hard links (`cp -al`)
        if self.format.widen(self._names) or wrong or shared or not known:
            return self._rewrite(end)
        self._file, self._size = self.path.open("r+b", buffering=0), end
        self._file.truncate(end)
        return self._file

    def _is_gone(self, file: io.FileIO) -> bool:
        """Returns whether what would be written would be nowhere: the file was removed, exchanged, or cut."""
        try:
            there, here = os.stat(self.path), os.fstat(file.fileno())
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or there.st_size < self._size

    def _open_again(self) -> io.FileIO:
        self.check()  # it may be somebody else's by now: then this one stays open, and the next `flush` looks again
        self._leave()
        wrong = "%s was removed, replaced or cut by somebody. What is missing in it up to step %d stays missing."
        log.warning(wrong, self.path, self._latest)
        self._from = self._latest
        return self._open()

    def _rewrite(self, end: int) -> io.FileIO:
        """Puts another file in the place of this one, with the rows up to a place."""
        path = self.path.resolve()  # what a link leads to
        temporary = path.with_name(f".{path.name}.tmp")
        places = dict[tuple[str, int], int]()
        with temporary.open("wb") as file:
            size = file.write(self.format.head())
            for row in self._rows(end):
                if row.step == self._from:
                    places[row.kind, row.step] = size
                size += file.write(self.format.line(row))
            file.flush()
            flushed(file.fileno())  # or a power failure after the rename could lose what was there
        self._leave()
        # In one instant: a kill leaves the old file or the new one, and perhaps `.run.csv.tmp`.
        temporary.replace(path)
        self._there, self._size = places, size
        self._file = self.path.open("r+b", buffering=0)
        return self._file

    def _rows(self, end: int) -> Iterator[Row]:
        """Yields the rows up to a place, which may have been written when fewer names were known."""
        before = format_of(self.path)
        with self.path.open("rb") as file:
            head = head_of(file)
        before.takes(head)
        for _, line in self._lines(len(head) if before.head() else 0, end):
            if (row := before.row(line)) is not None:
                yield row

    def _lines(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        with self.path.open("rb") as file:
            file.seek(start)
            at = start
            while at < end and (line := file.readline(end - at)):
                yield at, line
                at += len(line)

    def _write(self, file: io.FileIO, data: bytes) -> None:
        try:
            file.truncate(self._size)  # what an earlier attempt has left, or what comes again
            file.seek(self._size)
            view = memoryview(data)  # a write may be short, as when the disk gets full
            while view:
                view = view[file.write(view) :]
        except BaseException:
            # Half a row is worse than none: it waits, and comes again as a whole.
            with contextlib.suppress(OSError):
                file.truncate(self._size)
            raise
        # With the system, not on the disk: a power failure may take rows that no resume writes again.
        self._size += len(data)

    def _leave(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
