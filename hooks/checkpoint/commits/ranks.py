"""Which checkpoints are the best ones."""

import math
from collections.abc import Iterable

from hooks.checkpoint.record.manifest import Record

Rank = tuple[float, tuple[int, bool], str]  # the smaller the better: by value, then by step


def ranks(records: Iterable[Record], name: str, mode: str) -> list[Rank]:
    """Returns those that have a value of a metric, the best first; of equals, the earliest. NaN is no value."""
    sign = 1 if mode == "min" else -1
    # Of an earlier metric, values say nothing of this one: `best=` may be another one after a restart.
    named = [record for record in records if record.best.get("name") == name]
    valued = [(float(record.best["value"]), record) for record in named]
    return sorted((sign * value, record.order, record.stem) for value, record in valued if not math.isnan(value))
