"""What the lives of a program wrote down, and the first thing in which one differs from the uninterrupted one."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hooks.prove_life import SHORT

Line = Mapping[str, Any]
Key = tuple[int, int, str]  # loop, step, event


@dataclasses.dataclass(frozen=True)
class Difference:
    """The first thing that is not what it was in the uninterrupted run.

    Attributes:
        line: The event at which it was seen.
        kind: "events", "batches", "logs", "state" or "host".
        what: What it is.
    """

    line: Line
    kind: str
    what: str

    def __str__(self) -> str:
        where = f"step {self.line['step']} (epoch {self.line['epoch'] + 1}), {self.line['event'].upper()}"
        loop = f", loop {self.line['loop']}" if self.line["loop"] else ""
        return f"{where}{loop}: {self.what}"


class Record:
    """What one life wrote down.

    Attributes:
        lines: Of each event, in order; "begin" stands where `run` was called.
        refusal: Why a loop refused to run; empty if none did.
    """

    def __init__(self, path: Path) -> None:
        every = [
            json.loads(text) for text in path.read_text(encoding="utf-8").splitlines(keepends=True) if text[-1] == "\n"
        ]
        self.refusal: str = next((line["message"] for line in every if line["event"] == "refused"), "")
        self.lines: list[Line] = [line for line in every if line["event"] != "refused"]

    def of(self, *events: str) -> list[Line]:
        """Returns the lines of these events."""
        return [line for line in self.lines if line["event"] in events]


class Reference:
    """The record of the uninterrupted run, to which others are compared one after the other.

    Args:
        record: The record.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._lines = [line for line in record.lines if line["event"] != "begin"]
        self._places = {_key(line): place for place, line in enumerate(self._lines)}
        self._paths = {line["loop"]: line["variables"] for line in record.of("begin")}
        self._done = -1  # the place up to which the lives that were compared have come

    def compare(self, life: Record) -> Difference | None:
        """Returns the first difference of a life that goes on where the one before it was saved; None if none."""
        next_place: int | None = None
        for line in life.lines:
            if line["event"] == "begin":
                next_place = None
                if line["variables"] != self._paths.get(line["loop"]):
                    return Difference(line, "events", "the state has other variables than in the uninterrupted run")
                continue
            place = self._places.get(_key(line))
            if place is None or next_place not in (None, place):
                expected = self._lines[next_place] if next_place is not None and next_place < len(self._lines) else None
                return Difference(line, "events", f"this event comes instead of {_named(expected)}")
            if place > self._done + 1:
                return Difference(
                    line, "events", f"this event comes, but {_named(self._lines[self._done + 1])} never did"
                )
            if found := self._first(self._lines[place], line):
                return found
            next_place, self._done = place + 1, max(self._done, place)
        return None

    def missing(self) -> Difference | None:
        """Returns what no life came to; None if all was done."""
        left = self._lines[self._done + 1 :]
        return Difference(left[0], "events", "no life came to this event") if left else None

    def _first(self, then: Line, now: Line) -> Difference | None:
        if (then["epoch"], then["step_in_epoch"]) != (now["epoch"], now["step_in_epoch"]):
            return Difference(now, "events", f"this is step {now['step_in_epoch']} of epoch {now['epoch'] + 1} here")
        if then.get("batches") != now.get("batches"):
            return Difference(now, "batches", "the batch is another one")
        if other := [
            name for name in sorted({*then["logs"], *now["logs"]}) if then["logs"].get(name) != now["logs"].get(name)
        ]:
            values = [_number(side["logs"].get(other[0])) for side in (then, now)]
            return Difference(now, "logs", f"{other[0]} was {values[0]} and is {values[1]}")
        left, right = (
            [side.get("state", "")[i : i + SHORT] for i in range(0, len(side.get("state", "")), SHORT)]
            for side in (then, now)
        )
        paths = self._paths[now["loop"]]
        if (
            changed := [path for path, a, b in zip(paths, left, right, strict=False) if a != b]
            if left and right
            else []
        ):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            return Difference(now, "state", f"{changed[0]}{more} differ" + ("" if more else "s"))
        if "host" in then and "host" in now and then["host"] != now["host"]:
            return Difference(now, "host", "Python's or NumPy's random state differs")
        return None


def _key(line: Line) -> Key:
    return line["loop"], line["step"], line["event"]


def _named(line: Line | None) -> str:
    return "the end" if line is None else f"{line['event'].upper()} of step {line['step']}"


def _number(text: str | None) -> str:
    return "absent" if text is None else f"{float.fromhex(text):.9g}"
