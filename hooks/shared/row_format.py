"""How a row of logged values is written, and read again: as CSV or as a JSON object a line."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

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
        self._columns: list[str] = []  # what they are called in the file

    def head(self) -> bytes:
        return _csv([*FIXED, *self._columns])

    def takes(self, head: bytes) -> bool:
        if not head.endswith(b"\n") or head.count(b'"') % 2:  # torn off, when the file was made
            return _csv(FIXED)[:-1].startswith(head[: len(_csv(FIXED)) - 1])
        try:
            (names,) = csv.reader(io.StringIO(head.decode(), newline=""))
        except (csv.Error, UnicodeDecodeError, ValueError):
            return False
        self._columns = names[len(FIXED) :]
        return (*names[: len(FIXED)],) == FIXED

    def widen(self, names: Iterable[str]) -> bool:
        new = [each for each in dict.fromkeys(map(_in_csv, names)) if each not in self._columns]
        self._columns += new
        return bool(new)

    def line(self, row: Row) -> bytes:
        values = {_in_csv(name): value for name, value in row.values.items()}
        # `repr` has as many digits as tell a float64 from all others, so what is read is what was logged.
        cells = [repr(values[each]) if each in values else "" for each in self._columns]
        return _csv([row.kind, str(row.step), str(row.epoch), *cells])

    def row(self, line: bytes) -> Row | None:
        try:
            kind, step, epoch, *cells = line.decode().rstrip("\n").split(",")  # cells are numbers, so none is in quotes
            values = {named(each): float(cell) for each, cell in zip(self._columns, cells, strict=True) if cell}
            return _row(kind, int(step), int(epoch), values)
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
            values = {named(name): float(value) for name, value in said.items()}
            return _row(kind, int(step), int(epoch), values)
        # Of what somebody has made up: numbers that are larger than any float, and brackets within brackets.
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None


def _row(kind: str, step: int, epoch: int, values: Mapping[str, float]) -> Row | None:
    """Returns a row; None if no run has such a one."""
    return Row(kind, step, epoch, values) if kind in KINDS and 0 <= step < 2**63 and 0 <= epoch < 2**63 else None


QUOTE, SPECIAL = '"', re.compile('[",\r\n]')
START = b'{"kind": "'  # with what `line` begins: kind is the first key
CLASH = "value:"  # before a value that is called like a fixed column
CLASHES = re.compile(rf"(?:{CLASH})*(?:{'|'.join(FIXED)})")
FORMATS: Final[dict[str, type[Csv] | type[JsonLines]]] = {".csv": Csv, ".jsonl": JsonLines}


def column(name: str) -> str:
    """Returns what a value is called in a file: as it is, unless another column is called so."""
    return f"{CLASH}{name}" if CLASHES.fullmatch(name) else name


def named(column: str) -> str:
    """Returns the name of the value that is called so in a file."""
    return column.removeprefix(CLASH) if CLASHES.fullmatch(column) else column


def head_of(file: BinaryIO) -> bytes:
    """Returns the first line of a file; of CSV, a name may have line breaks within quotes."""
    head = file.readline()
    while head.count(b'"') % 2 and not head.startswith(b"{") and (more := file.readline()):
        head += more
    return head


def format_of(path: Path) -> Format:
    """Returns the format that a name stands for. Raises `ValueError` if it stands for none."""
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"A log of values needs a name that ends in .csv or .jsonl. Received: {str(path)!r}.")
    return FORMATS[path.suffix.lower()]()


def _in_csv(name: str) -> str:
    # A lone surrogate is no text: it is written as \udc80, and called so from then on.
    return column(name).encode(errors="backslashreplace").decode()


def _csv(cells: Iterable[str]) -> bytes:
    # Not by the module, which leaves a carriage return without quotes, and then cannot read it.
    quoted = (f'"{cell.replace(QUOTE, QUOTE * 2)}"' if SPECIAL.search(cell) else cell for cell in cells)
    return f"{','.join(quoted)}\n".encode()
