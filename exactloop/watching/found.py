"""The files of runs below a directory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from hooks.checkpoint.disk.lock import NAME as LOCK
from hooks.checkpoint.disk.stems import committed_by

DEEPEST = 4  # floors below the directory that is given
TRAIN = "train"


@dataclass
class Found:
    """The paths of what there is of a run.

    Attributes:
        saves: Directories of checkpoints.
        events: Event files of TensorBoard, in the order in which they were written.
        rows: Files that may be logs of values.
    """

    saves: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many runs these are the files of, at least."""
        # Each session of a run has a file of its own in the same directory.
        trained = {os.path.dirname(path) for path in self.events}
        return max(len(self.saves), sum(os.path.basename(each) == TRAIN for each in trained))


def found(directory: str) -> Found:
    """Returns what there is below a directory. What disappears meanwhile is not there."""
    there = Found()
    for where, names in _walked(directory):
        files = sorted(names)
        nested = any(where.startswith(f"{saves}{os.sep}") for saves in there.saves)  # an average, or set aside
        if not nested and (LOCK in names or any(map(committed_by, files))):
            there.saves.append(where)
        # The profiler's files lie in the same tree, and have no scalars.
        there.events += [os.path.join(where, name) for name in files if "tfevents" in name and "profile" not in name]
        there.rows += [os.path.join(where, name) for name in files if name.endswith((".csv", ".jsonl"))]
    return there


def runs(directory: str) -> list[str]:
    """Returns the directories of the runs below a directory: itself, if all that is there can be one run's."""
    if found(directory).count < 2:  # its checkpoints, events and rows may lie in directories of their own
        return [directory]
    with os.scandir(directory) as there:
        # Where `found` looks as well: a link to a run would be that run once more, and one upwards without an end.
        seen = [each for each in there if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")]
    several = [run for each in sorted(each.path for each in seen) if found(each).count for run in runs(each)]
    return several or [directory]


def _walked(directory: str) -> Iterator[tuple[str, set[str]]]:
    depth = directory.rstrip(os.sep).count(os.sep)
    for where, inner, names in os.walk(directory):  # what cannot be read is passed over
        deep = where.rstrip(os.sep).count(os.sep) - depth >= DEEPEST
        inner[:] = sorted(name for name in inner if not deep and not name.startswith("."))
        yield where, {*names}
