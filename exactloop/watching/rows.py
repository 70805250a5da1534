"""The values in a file of rows, as `MetricsLog` and `Tracker` keep it."""

import io
from pathlib import Path

from exactloop.watching.growing import BLOCK, Growing
from exactloop.watching.series import Series
from hooks.shared.row_format import EPOCH, Format, format_of, head_of

HEAD = 2**16  # bytes in which the first line ends; more of a file of another kind is not read


class RowReader:
    """One file of rows; a line that is not yet there as a whole is left for the next look.

    Args:
        path: The file, whose name ends in `.csv` or `.jsonl`.
    """

    def __init__(self, path: str) -> None:
        self._file, self.series = Growing(path), Series()
        self._format: Format | None = None

    @property
    def changed(self) -> float:
        """When it was written to last, in seconds since 1970; 0 if it is no file of rows."""
        return self._file.changed if self._format else 0.0

    def read(self) -> None:
        """Takes in what is new. Raises `OSError` if it cannot be read."""
        while True:
            # Until its head is known, it may be anything that ends in .csv, of any size.
            anew, data, _ = self._file.look(BLOCK if self._format else HEAD)
            if anew:
                self.series, self._format = Series(), None
            whole = data[: data.rfind(b"\n") + 1]  # a line that is being written has no end yet
            at = self._head(whole)
            if self._format is None:
                return
            for line in whole[at:].splitlines(keepends=True):
                self._take(line)
            self._file.took(data, len(whole))
            if not whole:
                return
            if self.series.epochs:
                # Rows have no time of day: when the file was written to is as near as one can tell.
                self.series.at(self._file.changed, self.series.epochs[0])

    def _head(self, whole: bytes) -> int:
        """Finds out what file it is, and returns where its rows begin."""
        if self._format is not None:
            return 0
        head, known = head_of(io.BytesIO(whole)), format_of(Path(self._file.path))
        if not head.endswith(b"\n") or not known.takes(head):
            return 0
        self._format = known
        return len(head) if known.head() else 0

    def _take(self, line: bytes) -> None:
        row = self._format.row(line) if self._format else None
        if row is not None:
            self.series.epochs = row.step, row.epoch
            for name, value in row.values.items():
                self.series.put(name, row.step, value, of_epoch=row.kind == EPOCH)
