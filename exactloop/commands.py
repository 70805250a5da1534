"""What the command `exactloop` does: looks at checkpoints, averages them, proves that a script is resumed exactly."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence

import rich.box
import rich.console
import rich.table

from exactloop.cli import AT, JSON, KILLS, LAST, OUT, TWICE, WORKERS
from exactloop.proving import prove_script
from hooks.checkpoint.average import average as averaged
from hooks.checkpoint.manifest import Manifest, content
from hooks.checkpoint.report import Entry, differences, entries, pinned
from hooks.figures import figure
from hooks.progress_line import fitting

UNPROVED = 3  # the exit status if nothing was proved, neither that it is exact nor that it is not
NUMBERS = ("step", "epoch", "bytes", "count", "largest")


def ls(directory: str) -> int:
    """Lists the checkpoints of a directory."""
    return _list(entries(directory, thorough=False), "sizes right")


def verify(directory: str) -> int:
    """Hashes all files of all checkpoints of a directory."""
    found = entries(directory, thorough=True)
    if not found:
        raise FileNotFoundError(f"There is no checkpoint in {directory!r}.")
    return _list(found, "whole")


def diff(first: str, second: str) -> int:
    """Compares two checkpoints, value by value."""
    count, found = differences(first, second)
    rows = [dataclasses.asdict(difference) for difference in found]
    _print({"values": count, "differences": rows}, rows, f"{len(found)} of {count} values differ.")
    return int(bool(found))


def show(path: str) -> int:
    """Prints a manifest."""
    with pinned(path) as pin:
        said = content(pin.manifest)
    if JSON.value:
        print(_json(said))
    else:
        rich.console.Console().print_json(json.dumps(said))
    return 0


def average(directory: str) -> int:
    """Averages the weights of the latest checkpoints of a directory."""
    out = OUT.value or f"{directory.rstrip('/')}/average"
    stems, paths, written = averaged(directory, LAST.value, out)
    said = {"checkpoints": stems, "averaged": paths, "written": written}
    print(_json(said) if JSON.value else f"Averaged {len(paths)} values of {', '.join(stems)}. Written: {written}")
    return 0


def prove(script: str, *arguments: str) -> int:
    """Proves that a script can be killed and started again."""
    wrong = [step for step in AT.value if not step.isdecimal()]
    if wrong:
        raise ValueError(f"--at needs steps, as in --at 3,20. Received: {','.join(AT.value)}.")
    say = (lambda line: None) if JSON.value else (lambda line: print(line, flush=True))
    at = [int(step) for step in AT.value]
    workers = WORKERS.value or 1
    proof = prove_script(script, *arguments, kills=KILLS.value, at=at, twice=TWICE.value, workers=workers, say=say)
    print(_json(dataclasses.asdict(proof)) if JSON.value else proof)
    return UNPROVED if proof.unproved else int(not proof.exact)


def _list(found: Sequence[Entry], whole: str) -> int:
    rows: list[dict[str, object]] = []
    for entry in found:
        row: dict[str, object] = {"checkpoint": entry.stem}
        if entry.manifest:
            record, age = entry.manifest.record, _age(entry.manifest)
            row |= {"step": record.step, "epoch": record.epoch, "age": age, "bytes": entry.size}
            row |= {"best": entry.best, "logs": dict(entry.manifest.logs)}
        rows.append(row | {"files": entry.damage or whole})
    damaged = sum(bool(entry.damage) for entry in found)
    _print(rows, rows, f"{len(found)} checkpoints, {damaged} damaged.")
    return int(damaged > 0)


def _age(manifest: Manifest) -> float:
    """Returns how old a checkpoint is, in seconds; NaN if by the clock it is yet to come, because that was set back."""
    made = manifest.made.get("time")
    age = time.time() - made if isinstance(made, int | float) else math.nan
    return age if age >= 0 else math.nan


def _print(for_machines: object, rows: Sequence[dict[str, object]], summary: str) -> None:
    if JSON.value:
        print(_json(for_machines))
        return
    console = rich.console.Console()
    if rows:
        table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [{name: _text(name, row[name]) if name in row else "" for name in names} for row in rows]
        if console.is_terminal and "logs" in names:
            _shorten(cells, rows, console.width)
        for name in names:
            is_text = name in ("logs", "files", "name", "path")
            table.add_column(name, overflow="fold", no_wrap=not is_text, justify="right" if name in NUMBERS else "left")
        for of_row in cells:
            table.add_row(*of_row.values())
        console.print(table)
    console.print(summary, highlight=False)


def _shorten(cells: Sequence[dict[str, str]], rows: Sequence[dict[str, object]], width: int) -> None:
    """Leaves as many of the logged values as fit beside everything else."""
    others = [name for name in cells[0] if name != "logs"]
    longest = {name: max(len(cell[name]) for cell in cells) for name in others}
    longest["files"] = min(longest["files"], 12)  # what is wrong with files may be long, and goes on in the next lines
    taken = sum(max(len(name), longest[name]) + 2 for name in others)
    for cell, row in zip(cells, rows, strict=True):
        logs = row.get("logs")
        cell["logs"] = fitting(logs, max(8, width - taken - 2)) if isinstance(logs, dict) else ""


def _json(value: object) -> str:
    """Returns JSON as everybody reads it, which has no word for NaN, nor for what is infinite."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _text(name: str, value: object) -> str:
    """Returns a cell of a table, for people."""
    if name == "age":
        return "unknown" if math.isnan(age := float(str(value))) else _span(age)
    if isinstance(value, bool):
        return "best" if value else ""
    if isinstance(value, dict):
        return "  ".join(f"{key} {figure(number)}" for key, number in value.items())
    if isinstance(value, float):
        return "" if math.isnan(value) else figure(value)
    return f"{value:,}" if isinstance(value, int) and name == "bytes" else rich.markup.escape(str(value))


def _span(seconds: float) -> str:
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


COMMANDS: dict[str, Callable[..., int]] = {
    **{"ls": ls, "verify": verify, "diff": diff, "show": show},
    **{"average": average, "prove": prove},
}
