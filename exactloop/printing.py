"""What the command prints: tables for people, JSON for machines."""

import json
import math
from collections.abc import Mapping, Sequence

import rich.box
import rich.console
import rich.markup
import rich.table

from exactloop.options import JSON
from hooks.shared.figures import figure
from hooks.shared.progress_line import fitting

NUMBERS = ("step", "epoch", "bytes", "count", "largest")


def report(for_machines: object, rows: Sequence[dict[str, object]], summary: str) -> None:
    """Prints JSON if that is asked for, or else a table of rows, and a line."""
    if JSON.value:
        print(as_json(for_machines))
        return
    console = rich.console.Console()
    if rows:
        table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        names = list(dict.fromkeys(name for row in rows for name in row))  # a row without a manifest has fewer
        cells = [{name: _text(name, row[name]) if name in row else "" for name in names} for row in rows]
        # In a pipe nothing is left out: a table is then as wide as it has to be.
        if console.is_terminal and "logs" in names:
            _shorten(cells, rows, console.width)
        for name in names:
            is_text = name in ("logs", "files", "name", "path")
            table.add_column(name, overflow="fold", no_wrap=not is_text, justify="right" if name in NUMBERS else "left")
        for of_row in cells:
            table.add_row(*of_row.values())
        console.print(table)
    console.print(summary, highlight=False)


def as_json(value: object) -> str:
    """Returns JSON as everybody reads it, which has no word for NaN, nor for what is infinite."""
    return json.dumps(_finite(value), allow_nan=False)  # raises for what `_finite` has overlooked


def span(seconds: float) -> str:
    """Returns a length of time in the unit that suits it, such as `3 min`."""
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:  # 90 s, and not 2 min
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _shorten(cells: Sequence[dict[str, str]], rows: Sequence[dict[str, object]], width: int) -> None:
    """Leaves as many of the logged values as fit beside everything else."""
    others = [name for name in cells[0] if name != "logs"]
    longest = {name: max(len(cell[name]) for cell in cells) for name in others}
    longest["files"] = min(longest["files"], 12)  # what is wrong with files may be long, and goes on in the next lines
    taken = sum(max(len(name), longest[name]) + 2 for name in others)
    for cell, row in zip(cells, rows, strict=True):
        logs = row.get("logs")
        cell["logs"] = fitting(logs, max(8, width - taken - 2)) if isinstance(logs, dict) else ""


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _text(name: str, value: object) -> str:
    """Returns a cell of a table, for people."""
    if name == "age":
        return "unknown" if math.isnan(age := float(str(value))) else span(age)
    if isinstance(value, bool):
        return "best" if value else ""
    if isinstance(value, dict):
        return "  ".join(f"{key} {figure(number)}" for key, number in value.items())
    if isinstance(value, float):
        return "" if math.isnan(value) else figure(value)
    return f"{value:,}" if isinstance(value, int) and name == "bytes" else rich.markup.escape(str(value))
