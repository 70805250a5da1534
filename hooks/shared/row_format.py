"""How a row of logged values is written, and read again: as CSV or as a JSON object a line."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

STEP, EVALUATION, EPOCH = KINDS = ("step", "evaluation", "epoch")
FIXED: Final = ("kind", "step", "epoch")  # what each row has, in this order


class Row(NamedTuple):
    """What was logged at once.

    Attributes:
        kind: `step`, `evaluation` or `epoch`.
        step: Train steps completed.
        epoch: The epoch of that step, from 1.
        values: Name to value.
    """

    kind: str
    step: int
    epoch: int
    values: Mapping[str, float]


class Format(Protocol):
    """A format of lines."""

    def head(self) -> bytes:
        """Returns what a file begins with."""
        ...

    def takes(self, head: bytes) -> bool:
        """Takes over what a file begins with; returns whether it was this format that wrote it, or a part of it."""
        ...

    def widen(self, names: Iterable[str]) -> bool:
        """Takes note of names that rows will have; returns whether a file with other names has to be rewritten."""
        ...

    def line(self, row: Row) -> bytes:
        """Returns a row as a line."""
        ...

    def row(self, line: bytes) -> Row | None:
        """Returns a line as a row; None if it is none."""
        ...


class Csv:
    """A line with the names, then a line for each row, with nothing where a row has no such value."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def head(self) -> bytes:
        return _csv([*FIXED, *map(column, self._names)])

    def takes(self, head: bytes) -> bool:
        if not head.endswith(b"\n"):  # torn off, when the file was made
            return _csv(FIXED)[:-1].startswith(head[: len(_csv(FIXED)) - 1])
        try:
            (names,) = csv.reader(io.StringIO(head.decode(), newline=""))
        except (csv.Error, UnicodeDecodeError, ValueError):
            return False
        self._names = [name.removeprefix(CLASH) for name in names[len(FIXED) :]]
        return (*names[: len(FIXED)],) == FIXED

    def widen(self, names: Iterable[str]) -> bool:
        new = [name for name in dict.fromkeys(names) if name not in self._names]
        self._names += new
        return bool(new)

    def line(self, row: Row) -> bytes:
        # `repr` has as many digits as tell a float64 from all others, so what is read is what was logged.
        cells = [repr(row.values[name]) if name in row.values else "" for name in self._names]
        return _csv([row.kind, str(row.step), str(row.epoch), *cells])

    def row(self, line: bytes) -> Row | None:
        try:
            kind, step, epoch, *cells = line.decode().rstrip("\n").split(",")  # cells are numbers, so none is in quotes
            values = {name: float(cell) for name, cell in zip(self._names, cells, strict=True) if cell}
            return Row(kind, int(step), int(epoch), values) if kind in KINDS else None
        except ValueError:
            return None


class JsonLines:
    """A JSON object for each row, with the values that it has; NaN and Infinity as Python and pandas read them."""

    def head(self) -> bytes:
        return b""

    def takes(self, head: bytes) -> bool:
        if head.endswith(b"\n"):
            return self.row(head) is not None
        return head.startswith(START[: len(head)])  # of a first line that a kill has cut off

    def widen(self, names: Iterable[str]) -> bool:
        return False

    def line(self, row: Row) -> bytes:
        fixed = dict(zip(FIXED, row[:3], strict=True))
        values = {column(name): value for name, value in row.values.items()}
        return json.dumps(fixed | values, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

    def row(self, line: bytes) -> Row | None:
        try:
            said = json.loads(line)
            kind, step, epoch = (said.pop(name) for name in FIXED)  # what is left are the values
            values = {name.removeprefix(CLASH): float(value) for name, value in said.items()}
            return Row(kind, int(step), int(epoch), values) if kind in KINDS else None
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


START = b'{"kind": "'  # with what `line` begins: kind is the first key
CLASH = "value:"  # before a value that is called like a fixed column
FORMATS: Final[dict[str, type[Csv] | type[JsonLines]]] = {".csv": Csv, ".jsonl": JsonLines}


def column(name: str) -> str:
    """Returns what a value is called in a file: as it is, unless another column is called so."""
    return f"{CLASH}{name}" if name in FIXED else name


def format_of(path: Path) -> Format:
    """Returns the format that a name stands for. Raises `ValueError` if it stands for none."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"A log of values needs a name that ends in .csv or .jsonl. Received: {str(path)!r}.")
    return FORMATS[path.suffix.lower()]()


def _csv(cells: Iterable[str]) -> bytes:
    written = io.StringIO(newline="")
    # Names may have commas, quotes and line breaks in them; a lone surrogate is written as \udc80.
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue().encode(errors="backslashreplace")
