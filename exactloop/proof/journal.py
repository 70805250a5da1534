"""What a life of a program wrote down, and what it can differ in."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]
OF_FILES = ("removed", "written")  # events that are no loop's


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The first thing that is not what it was in the uninterrupted run.

    Attributes:
        line: The event at which it was seen.
        kind: "events", "missing", "batches", "logs", "state", "host", "result" or "unsaved".
        what: What it is.
    """

    line: Line
    kind: str
    what: str

    def __str__(self) -> str:
        over = self.line["step_in_epoch"] == 0 and self.line["event"] in ("epoch_end", "settled", "end", "exit")
        epoch = self.line["epoch"] + (not over)  # from 1; where one ends, it is counted already
        loop = f", loop {self.line['loop']}" if self.line["loop"] else ""
        return f"step {self.line['step']} (epoch {epoch}), {named(self.line['event'])}{loop}: {self.what}"


class Journal:
    """What one life wrote down.

    Attributes:
        lines: Of each event, in order. "begin" stands where a run has begun, "end" where `run` was over, "exit"
            where the program was. Those with hashes have the paths of the variables as well.
        removed: What the program removed or renamed by its path.
        written: The files that it wrote to by itself.
    """

    def __init__(self, path: Path) -> None:
        *texts, _ = path.read_bytes().split(b"\n")  # the last one was cut off, or is empty
        # Of hundreds of MB for long runs, all in memory: a proof is of a short one.
        every = [_line(path, number, text) for number, text in enumerate(texts, start=1)]
        self.removed: list[str] = [line["path"] for line in every if line["event"] == "removed"]
        self.written: list[str] = [line["path"] for line in every if line["event"] == "written"]
        self.lines: list[Line] = [line for line in every if line["event"] not in OF_FILES]
        paths: dict[int, list[str]] = {}
        for line in every:
            if line["event"] == "begin":
                # Only where a run begins, since the paths are longer than the hashes.
                paths[line["loop"]] = line["variables"]
            elif "state" in line:
                line["variables"] = paths.get(line["loop"], [])

    def of(self, *events: str) -> list[Line]:
        """Returns the lines of these events."""
        return [line for line in self.lines if line["event"] in events]

    @property
    def failure(self) -> Line | None:
        """The end of the first run that failed, whether or not the program made something of it."""
        return next((line for line in self.of("end") if "error" in line), None)

    def loops(self) -> list[int]:
        """Returns the loops that were run, by number."""
        return sorted({line["loop"] for line in self.lines})


def _line(path: Path, number: int, text: bytes) -> dict[str, Any]:
    """Returns a line of a record. Raises `ValueError` if it is none that a life writes."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):  # not JSON; what a script writes there by accident, say
        line = None
    event = line.get("event") if isinstance(line, dict) else None
    of_run = {"loop": int, "step": int, "epoch": int, "step_in_epoch": int}
    shape = {"path": str} if event in OF_FILES else of_run | ({"variables": list} if event == "begin" else {})
    right = isinstance(event, str) and all(type(line.get(name)) is kind for name, kind in shape.items())
    if not right or ("state" in line and not isinstance(line["state"], str)):
        raise ValueError(f"{str(path)!r}, line {number}: no life of a program writes this: {text[:80]!r}")
    return line


def named(event: str) -> str:
    """Returns what people call an event."""
    others = {"begin": "RUN_BEGIN", "end": "the end of run()", "exit": "the end of the program"}
    return others.get(event, event.upper())


def place(line: Line | None) -> str:
    """Returns the event of a line, and where it is."""
    return "the end" if line is None else f"{named(line['event'])} of step {line['step']}"
