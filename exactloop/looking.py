"""Commands that only look at files, without TensorFlow, so that they answer at once."""

import json
import math
import os
import time
from collections.abc import Callable

from exactloop import wanted
from exactloop.options import JSON
from exactloop.printing import Console, as_json, report
from exactloop.watching.watch import watch
from hooks.checkpoint.record.manifest import Manifest, content
from hooks.checkpoint.report import Entry, described, entries
from hooks.shared.figures import counted


def ls(directory: str) -> int:
    """Lists the checkpoints of a directory, or of those below it."""
    return listed("ls", directory, thorough=False)


def show(path: str) -> int:
    """Prints a manifest."""
    said = content(described(wanted.checkpoint("exactloop show", path)))
    if JSON.value:
        print(as_json(said))
    else:
        text = json.dumps(said, ensure_ascii=False)
        # Letters of all languages as they are, unless there is something among them that is none.
        Console().print_json(text, ensure_ascii=not text.isprintable())
    return 0


def listed(command: str, directory: str, *, thorough: bool) -> int:
    """Prints checkpoints, and returns the exit status: 1 if one is damaged.

    Args:
        command: For messages.
        directory: Where they are: itself, or below it.
        thorough: Whether to hash all files, for which TensorFlow is needed, or only to look at their sizes.
    """
    rows, damaged = list[dict[str, object]](), 0
    directories = wanted.directories(f"exactloop {command}", directory)
    for each in directories:
        # From where one is to be named, as in `show` and `diff`, if there are several.
        where = "" if each == directory else f"{os.path.relpath(each, directory)}/"
        there = entries(each, thorough=thorough)
        rows += [_row(entry, where, "whole" if thorough else "sizes right") for entry in there]
        damaged += sum(bool(entry.damage) for entry in there)
    if not rows:
        raise FileNotFoundError(f"There is no checkpoint in {directory!r}.")
    several = f" in {len(directories)} directories" if len(directories) > 1 else ""
    report(rows, rows, f"{counted(len(rows), 'checkpoint')}{several}, {damaged} damaged.")
    return int(damaged > 0)


def _row(entry: Entry, where: str, whole: str) -> dict[str, object]:
    row: dict[str, object] = {"checkpoint": f"{where}{entry.stem}"}
    if entry.manifest:  # without one, there is only its name and what is wrong
        record, logs = entry.manifest.record, dict(entry.manifest.logs)
        watched = str(record.best.get("name", ""))  # comes first, so it is the last to be left out
        logs = {watched: logs[watched], **logs} if watched in logs else logs
        row |= {"step": record.step, "epoch": record.epoch, "age": age_of(entry.manifest), "bytes": entry.size}
        row |= {"best": entry.best, "logs": logs}
    return row | {"files": entry.damage or whole}


def age_of(manifest: Manifest) -> float:
    """Returns how old a checkpoint is, in seconds; NaN if by the clock it is yet to come, because that was set back."""
    made = manifest.made.get("time")
    age = time.time() - made if isinstance(made, int | float) else math.nan
    return age if age >= 0 else math.nan  # NaN is shown as "unknown", and is null in JSON


COMMANDS: dict[str, Callable[..., int]] = {"ls": ls, "show": show, "watch": watch}
