"""The uninterrupted run, to which the lives of a killed one are compared."""

import dataclasses
from collections.abc import Iterator, Sequence

from exactloop.proof.journal import Divergence, Journal, Line, place
from exactloop.proof.recorder import SHORT

OVER = ("end", "exit")  # where a run, or the program, is over
UNHEARD = ("step_end", "settled")  # what only a run that stops after each step has for each step


class Reference:
    """The record of the uninterrupted run.

    Attributes:
        record: The record.
        unseeded: Random states that are not the same each time, although nothing has been killed. They count for
            nothing: if anything comes of them, that differs.
        python: What hooks keep in Python, and was not the same at the end.

    Args:
        record: The record.
    """

    def __init__(self, record: Journal) -> None:
        self.record, self.unseeded, self.python = record, set[str](), set[str]()
        self._events: dict[int, list[Line]] = {loop: [] for loop in record.loops()}
        for line in record.lines:
            if line["event"] not in ("begin", *OVER):  # of which a killed program has more
                self._events[line["loop"]].append(line)
        self._ends, self._exits = ({line["loop"]: line for line in record.of(event)} for event in OVER)
        self._done = dict.fromkeys(self._events, -1)  # the place up to which the lives that were compared have come
        self._lives = 0

    def compare(self, life: Journal, *, stepwise: bool = True, last: bool = False) -> Divergence | None:
        """Returns the first difference of a life that goes on where the one before it was saved; None if none.

        Args:
            life: What it wrote down.
            stepwise: Whether it stopped after each step. Otherwise it is compared where it did.
            last: Whether it was not killed, and so has to come to the end.
        """
        self._lives += 1
        next_places: dict[int, set[int]] = {}  # where a loop may go on; more than one only after "begin"
        for line in life.lines:
            loop = line["loop"]
            if loop not in self._events:
                return Divergence(line, "events", "the uninterrupted run has no such loop")
            events, expected = self._events[loop], next_places.get(loop, set())
            if line["event"] == "begin":
                # It goes on behind what was saved, and does again what came after that.
                next_places[loop] = self._after(line)
            elif line["event"] not in OVER:
                here = next((p for p in self._reachable(events, expected, stepwise) if _same(events[p], line)), None)
                if here is None:
                    awaited = self._named(loop, expected, stepwise)
                    return Divergence(line, "events", f"this event comes instead of {awaited}")
                # It went on later than the life before it has come: something was neither done nor saved.
                if min(expected) > self._done[loop] + 1:
                    missed = place(events[self._done[loop] + 1])
                    return Divergence(line, "events", f"this event comes, but {missed} never did")
                # Not only new events: what is done again has to come out the same.
                if found := self._first(events[here], line):
                    return found
                next_places[loop], self._done[loop] = {here + 1}, max(self._done[loop], here)
        return self._unfinished(life, next_places) if last else None

    def _unfinished(self, life: Journal, next_places: dict[int, set[int]]) -> Divergence | None:
        """Returns what the last life left undone, or ended with otherwise."""
        ends = {line["loop"]: line for line in life.lines if line["event"] != "exit"}
        exits = {line["loop"]: line for line in life.of("exit")}
        for loop, events in self._events.items():
            if loop not in next_places:
                if self._done[loop] + 1 < len(events):
                    return Divergence(events[self._done[loop] + 1], "missing", "no life came to this event")
            elif len(events) not in next_places[loop]:
                what = f"nothing comes after this, instead of {self._named(loop, next_places[loop], True)}"
                return Divergence(ends[loop], "missing", what)
            elif then := self._ends.get(loop):
                if ends[loop]["event"] != "end":
                    return Divergence(ends[loop], "missing", "the run never ended")
                if found := self._first(then, ends[loop]) or _unsaved(then, ends[loop]):
                    return found
                self.python |= set(_differing(then, ends[loop], "python"))
                # None of a loop that goes on in a thread, or in a process that was forked.
                both = loop in self._exits and loop in exits
                if both and (found := self._first(self._exits[loop], exits[loop])):
                    return found
        return None

    def _after(self, begin: Line) -> set[int]:
        """Returns the places at which a run may go on: after the round that was saved, or with what was left of it."""
        events, step = self._events[begin["loop"]], begin["step"]
        here = [p for p, line in enumerate(events) if line["step"] == step]
        if begin["pending"]:
            return {p for p in here if events[p]["event"] == begin["pending"]}
        return {p + 1 for p in here if events[p]["event"] == "settled"} if step else {0}

    def _reachable(self, events: list[Line], expected: set[int], stepwise: bool) -> Iterator[int]:
        for start in sorted(expected):
            # In the program's own chunks, events of steps in between are left out; all others have to come.
            for p in range(start, len(events)):
                yield p
                if stepwise or events[p]["event"] not in UNHEARD:
                    break

    def _named(self, loop: int, expected: set[int], stepwise: bool) -> str:
        left = self._events[loop][min(expected) :] if expected else []
        return place(next((line for line in left if stepwise or line["event"] not in UNHEARD), None))

    def _first(self, then: Line, now: Line) -> Divergence | None:
        if (then["epoch"], then["step_in_epoch"]) != (now["epoch"], now["step_in_epoch"]):
            return Divergence(now, "events", f"this is step {now['step_in_epoch']} of epoch {now['epoch'] + 1} here")
        # First what was read, then what came of it: the first cause is worth most.
        if then.get("batches") != now.get("batches"):
            return Divergence(now, "batches", "the batch is another one")
        for name in sorted({*then["logs"], *now["logs"]}):
            values = [_number(side["logs"].get(name)) for side in (then, now)]
            if then["logs"].get(name) != now["logs"].get(name):
                return Divergence(now, "logs", f"{name} was {values[0]} and is {values[1]}")
        if changed := self._changed(then, now):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            return Divergence(now, "state", f"{changed[0]}{more} differ" + ("" if more else "s"))
        if "host" in self._but_unseeded(["host"] if then.get("host") != now.get("host") else [], then, now):
            return Divergence(now, "host", "Python's or NumPy's random state differs")
        if then.get("result") != now.get("result"):
            return Divergence(now, "result", f"the result was {then['result']} and is {now['result']}")
        return None

    def _changed(self, then: Line, now: Line) -> list[str]:
        """Returns the paths of the variables that differ, or that only one has."""
        left, right = _hashes(then), _hashes(now)
        changed = [path for path in {**left, **right} if left.get(path) != right.get(path)]
        return self._but_unseeded(changed, then, now)

    def _but_unseeded(self, names: list[str], then: Line, now: Line) -> list[str]:
        if "state" not in then or "state" not in now:
            return []
        # In the first life nothing was killed before, so what differs then is no matter of resuming.
        if self._lives == 1:
            self.unseeded |= {name for name in names if name == "host" or name.startswith("random/")}
        return [name for name in names if name not in self.unseeded]


class Whole:
    """The uninterrupted run of a program, in all its workers.

    Attributes:
        record: What the first worker wrote down.

    Args:
        records: What each of them did.
    """

    def __init__(self, records: Sequence[Journal]) -> None:
        self.record, self._workers = records[0], [Reference(record) for record in records]

    @property
    def unseeded(self) -> set[str]:
        """Random states that are not the same each time. See `Reference`."""
        return {name for worker in self._workers for name in worker.unseeded}

    @property
    def python(self) -> set[str]:
        """What hooks keep in Python, and was not the same at the end. See `Reference`."""
        return {name for worker in self._workers for name in worker.python}

    def compare(self, lives: Sequence[Journal], *, stepwise: bool = True, last: bool = False) -> Divergence | None:
        """Returns the first difference of a life, in the first worker that has one. See `Reference`."""
        for rank, (worker, life) in enumerate(zip(self._workers, lives, strict=True)):
            if found := worker.compare(life, stepwise=stepwise, last=last):
                of = f" (worker {rank})" if len(self._workers) > 1 else ""
                return dataclasses.replace(found, what=f"{found.what}{of}")
        return None


def _same(then: Line, now: Line) -> bool:
    return (then["step"], then["event"]) == (now["step"], now["event"])


def _unsaved(then: Line, now: Line) -> Divergence | None:
    """Returns a difference in variables that only hooks have: at the end, because until then they may be made anew."""
    changed = _differing(then, now, "unsaved")
    return Divergence(now, "unsaved", f"{changed[0]}, which no checkpoint holds, differs") if changed else None


def _differing(then: Line, now: Line, part: str) -> list[str]:
    # Only what both have: what a hook has not made yet, it may make when it is called.
    left, right = then.get(part, {}), now.get(part, {})
    return [name for name, value in left.items() if name in right and right[name] != value]


def _hashes(line: Line) -> dict[str, str]:
    """Returns the hash of each variable, by its path."""
    hashes = line.get("state", "")
    # In the order of the variables.
    parts = (hashes[i : i + SHORT] for i in range(0, len(hashes), SHORT))
    return dict(zip(line.get("variables", ()), parts, strict=False))


def _number(text: str | None) -> str:
    # Hexadecimal, in which no digit is lost.
    return "absent" if text is None else repr(float.fromhex(text)).removesuffix(".0")
