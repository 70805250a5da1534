"""What the command prints: tables for people, JSON for machines."""

import json
import math
from collections.abc import Mapping, Sequence

import rich.box
import rich.console
import rich.table
from rich.cells import cell_len
from rich.text import Text

from exactloop.options import JSON
from hooks.shared.figures import figure
from hooks.shared.plain import plain
from hooks.shared.progress_line import fitting, said_of

NUMBERS = ("step", "epoch", "bytes", "count", "largest")
LESS = ("bytes", "epoch", "step", "age", "largest", "logs", "count", "best")  # what goes first where there is no room
BETWEEN = 2  # columns of the screen that a column takes besides
LEAST = {"logs": 15, "files": 12, "name": 20, "path": 20}  # columns of what is shortened, or goes on in further lines


class Console(rich.console.Console):
    """Where the command writes to."""

    def on_broken_pipe(self) -> None:
        raise


def report(for_machines: object, rows: Sequence[dict[str, object]], summary: str) -> None:
    """Prints JSON if that is asked for, or else a table of rows, and a line."""
    if JSON.value:
        print(as_json(for_machines))
        return
    console = Console()
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))  # a row without a manifest has fewer
        cells = [{name: _cell(name, row[name]) if name in row else "" for name in names} for row in rows]
        longest = {name: max(cell_len(text) for text in (name, *(cell[name] for cell in cells))) for name in names}
        # In a pipe nothing is left out, and each row is a line, as wide as it has to be.
        widths = _fitting(longest, console.width) if console.is_terminal else longest
        console.width = max(console.width, sum(widths.values()) + BETWEEN * len(widths) + 1)
        table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        for name, width in widths.items():
            table.add_column(name, width=width, overflow="fold", justify="right" if name in NUMBERS else "left")
        for cell, row in zip(cells, rows, strict=True):
            logs = row.get("logs")
            if isinstance(logs, Mapping) and "logs" in widths:
                cell["logs"] = fitting(logs, widths["logs"])
            table.add_row(*(Text(cell[name]) for name in widths))  # no marks of rich's own are looked for in names
        console.print(table)
    console.print(Text(summary))


def as_json(value: object) -> str:
    """Returns JSON as everybody reads it, which has no word for NaN, nor for what is infinite."""
    return json.dumps(_finite(value), allow_nan=False)  # raises for what `_finite` has overlooked


def span(seconds: float) -> str:
    """Returns a length of time in the unit that suits it, such as `3 min`."""
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:  # 90 s, and not 2 min
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _fitting(longest: Mapping[str, int], width: int) -> dict[str, int]:
    """Returns how wide columns can be of which each would like to be so wide; without those for which is no room."""
    kept = {name: min(most, LEAST.get(name, most)) for name, most in longest.items()}

    def spare() -> int:
        return width - sum(kept.values()) - BETWEEN * len(kept) - 1

    for name in LESS:
        if spare() < 0:
            kept.pop(name, None)
    for name in kept:  # what is left, the first one takes, as far as it needs it
        kept[name] += min(longest[name] - kept[name], max(0, spare()))
    for name in reversed(kept):  # in a very narrow window, texts are broken wherever
        kept[name] -= min(max(0, kept[name] - 3), max(0, -spare()))
    return kept


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _cell(name: str, value: object) -> str:
    """Returns a cell of a table, for people."""
    if name == "age":
        return "unknown" if math.isnan(age := float(str(value))) else span(age)
    if isinstance(value, bool):
        return "best" if value else ""
    if isinstance(value, Mapping):
        return "  ".join(said_of(key, number) for key, number in value.items())
    if isinstance(value, float):
        return "" if math.isnan(value) else figure(value)
    return f"{value:,}" if isinstance(value, int) and name == "bytes" else plain(str(value))
