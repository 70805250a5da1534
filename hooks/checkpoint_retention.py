"""Which checkpoints stay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hooks.checkpoint_manifest import Record
from hooks.monitor import Monitor
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

    def ranks(self, value: float, records: Sequence[Record]) -> bool:
        """Returns whether a value is among the best, if all records stay: of equals, the earlier one is better."""
        best = self._ranked(records)[: self.keep_best]
        last = float(best[-1].best["value"]) if len(best) == self.keep_best else None
        return self.monitor is not None and self.monitor.better(value, last)

    def kept(self, records: Sequence[Record]) -> set[str]:
        """Returns the stems of those that stay.

        Args:
            records: All there are, the oldest first.
        """
        whole = [record for record in records if not record.pending]
        stay = [*whole[-self.keep :], *self._ranked(whole)[: self.keep_best], *self._for_good(whole)]
        if records and records[-1].pending:  # else its round has been completed, and saved
            stay.append(records[-1])
        return {record.stem for record in stay}

    def _ranked(self, records: Sequence[Record]) -> list[Record]:
        return ranked(records, self.monitor.name, self.monitor.mode) if self.monitor else []

    def _for_good(self, records: Sequence[Record]) -> list[Record]:
        found, since = [], 0.0
        for record in records:
            epoch = record.epoch if record.step_in_epoch == 0 else None
            if self.keep_every.due(Halt(record.step, epoch, since, record.seconds)):
                found.append(record)
            since = record.seconds
        return found


def ranked(records: Sequence[Record], name: str, mode: str) -> list[Record]:
    """Returns those that have a value of a metric, the best first; of equals, the earliest. NaN is no value."""
    named = [record for record in records if record.best.get("name") == name]
    valued = [record for record in named if not math.isnan(float(record.best["value"]))]
    sign = 1 if mode == "min" else -1
    return sorted(valued, key=lambda record: (sign * float(record.best["value"]), record.order))
