"""Commands that only look at files, without TensorFlow, so that they answer at once."""

import json
import math
import time
from collections.abc import Callable, Sequence

import rich.console

from exactloop.options import JSON
from exactloop.printing import as_json, report
from exactloop.watching.watch import watch
from hooks.checkpoint.record.manifest import Manifest, content
from hooks.checkpoint.report import Entry, described, entries
from hooks.shared.figures import counted


def ls(directory: str) -> int:
    """Lists the checkpoints of a directory."""
    return listed(entries(directory, thorough=False), "sizes right")


def show(path: str) -> int:
    """Prints a manifest."""
    said = content(described(path))
    if JSON.value:
        print(as_json(said))
    else:
        rich.console.Console().print_json(json.dumps(said))
    return 0


def listed(found: Sequence[Entry], whole: str) -> int:
    """Prints checkpoints, and returns the exit status: 1 if one is damaged.

    Args:
        found: The checkpoints.
        whole: What is said of those of which no damage was found.
    """
    rows: list[dict[str, object]] = []
    for entry in found:
        row: dict[str, object] = {"checkpoint": entry.stem}
        if entry.manifest:  # without one, there is only its name and what is wrong
            record, age = entry.manifest.record, age_of(entry.manifest)
            row |= {"step": record.step, "epoch": record.epoch, "age": age, "bytes": entry.size}
            row |= {"best": entry.best, "logs": dict(entry.manifest.logs)}
        rows.append(row | {"files": entry.damage or whole})
    damaged = sum(bool(entry.damage) for entry in found)
    report(rows, rows, f"{counted(len(found), 'checkpoint')}, {damaged} damaged.")
    return int(damaged > 0)


def age_of(manifest: Manifest) -> float:
    """Returns how old a checkpoint is, in seconds; NaN if by the clock it is yet to come, because that was set back."""
    made = manifest.made.get("time")
    age = time.time() - made if isinstance(made, int | float) else math.nan
    return age if age >= 0 else math.nan  # NaN is shown as "unknown", and is null in JSON


COMMANDS: dict[str, Callable[..., int]] = {"ls": ls, "show": show, "watch": watch}
