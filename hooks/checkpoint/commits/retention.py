"""Which checkpoints stay."""

import bisect
import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hooks.checkpoint.commits.ranks import Rank, ranks
from hooks.checkpoint.record.manifest import Record
from hooks.shared.monitor import Monitor
from loop import Halt, Trigger


@dataclass(frozen=True)
class Retention:
    """The rule by which checkpoints stay: the latest, the best, and some for good.

    Attributes:
        keep: How many of the latest stay.
        monitor: The metric by which one is the best; None: none is.
        keep_best: How many of the best stay.
        keep_every: The steps, epochs, or grid of training time whose checkpoints stay for good: of the latter, the
            first in each interval.
    """

    keep: int
    monitor: Monitor | None
    keep_best: int
    keep_every: Trigger


class Standing:
    """Which checkpoints stay by a rule. What a new one costs does not grow with the number of those that stay.

    One that is pending stays until there is a later one: then its round has been completed, and saved.

    Attributes:
        count: How many there are.

    Args:
        rule: The rule.
        records: All there are, the oldest first.
    """

    def __init__(self, rule: Retention, records: Iterable[Record]) -> None:
        # All that follows is made of the records, so a restart needs no file of its own for it.
        self._rule, self.count = rule, 0
        self._latest = collections.deque[str]()
        self._best: list[Rank] = []  # the best first, `keep_best` at most
        self._reasons: dict[str, int] = {}  # of those that may go: how many there are for each to stay
        self._since = 0.0  # seconds of training at the checkpoint before, from which `keep_every` counts
        self._pending: Record | None = None  # stays until the next one is added, whatever the rule says
        self._gone: list[str] = []
        # As if each had just been saved: what would have gone by then is told by the next `add`.
        for record in records:
            self._add(record)

    def add(self, record: Record) -> list[str]:
        """Takes in a checkpoint that is later than all others, and returns the stems of those that go."""
        self._add(record)
        gone, self._gone = self._gone, []
        self.count -= len(gone)
        return gone

    def ranks(self, value: float, writing: Record | None) -> bool:
        """Returns whether a value is among the best, if all stay: of equals, the earlier one is better.

        Args:
            value: The value; never NaN for one that is.
            writing: What may be committed in another thread meanwhile.
        """
        monitor, count = self._rule.monitor, self._rule.keep_best
        if monitor is None:
            return False
        best = self._best.copy()  # at one instant
        for rank in self._ranked([record for record in (self._pending, writing) if record]):
            place = bisect.bisect_left(best, rank)
            if best[place : place + 1] != [rank]:  # not committed just now
                best.insert(place, rank)
        last = best[count - 1] if len(best) >= count else None
        return monitor.better(value, None if last is None else _value(last, monitor.mode))

    def _add(self, record: Record) -> None:
        self.count += 1
        if self._pending is not None:
            self._gone.append(self._pending.stem)
        self._pending = record if record.pending else None
        if record.pending:
            return
        self._reasons[record.stem] = 1  # as one of the latest
        self._latest.append(record.stem)
        for rank in self._ranked([record]):
            bisect.insort(self._best, rank)
            self._reasons[record.stem] += 1
            if len(self._best) > self._rule.keep_best:
                self._less(self._best.pop()[-1])
        if self._is_for_good(record):
            self._reasons[record.stem] += 1
        self._since = record.seconds
        if len(self._latest) > self._rule.keep:
            self._less(self._latest.popleft())

    def _less(self, stem: str) -> None:
        self._reasons[stem] -= 1
        if not self._reasons[stem]:
            del self._reasons[stem]
            self._gone.append(stem)

    def _ranked(self, records: Sequence[Record]) -> list[Rank]:
        return ranks(records, self._rule.monitor.name, self._rule.monitor.mode) if self._rule.monitor else []

    def _is_for_good(self, record: Record) -> bool:
        epoch = record.epoch if record.step_in_epoch == 0 else None
        return self._rule.keep_every.due(Halt(record.step, epoch, self._since, record.seconds))


def _value(rank: Rank, mode: str) -> float:
    return rank[0] if mode == "min" else -rank[0]
