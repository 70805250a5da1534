"""A directory of exported models: each is there whole, or not at all."""

import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from hooks.shared.flushing import flushed

log = logging.getLogger("exactloop")
SET_ASIDE, HALF_WRITTEN = "set-aside-", "half-"  # what no server of models takes for a version


class Exports:
    """Exported models in a directory, by the step after which each was exported.

    One is written into a directory of its own, flushed, and renamed into place; what a kill has left of that is removed
    when the next run begins.

    Args:
        directory: Where they are.
        ending: Of their names, behind the step: empty for directories, as TensorFlow Serving wants them.
    """

    def __init__(self, directory: str, ending: str) -> None:
        self._directory, self._ending = Path(directory), ending
        # No leading zeros: 007 would be listed as 7, which is not there.
        self._name = re.compile(rf"(0|[1-9][0-9]*){re.escape(ending)}")

    def elsewhere(self, directory: str) -> "Exports":
        """Returns the same in another directory."""
        return Exports(directory, self._ending)

    def path(self, step: int) -> Path:
        """Returns where the model of a step is, or would be."""
        return self._directory / f"{step}{self._ending}"

    def steps(self) -> list[int]:
        """Returns the steps of the models there are, in order."""
        if not self._directory.is_dir():
            return []
        return sorted(int(match[1]) for name in os.listdir(self._directory) if (match := self._name.fullmatch(name)))

    def add(self, step: int, write: Callable[[str], object]) -> None:
        """Adds the model of a step, which survives a power failure when this returns.

        Args:
            step: The step.
            write: Writes it, given the path of what it is to be.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        half = self._directory / f"{HALF_WRITTEN}{step}"
        shutil.rmtree(half, ignore_errors=True)  # of an export that failed earlier in this run
        half.mkdir()
        try:
            written = half / self.path(step).name
            write(str(written))
            # Contents before the name: after a power failure, what has its name is whole.
            for path in [*written.rglob("*"), written, half]:
                _flush(path)
            os.rename(written, self.path(step))  # in one instant, also of a whole directory
            _flush(self._directory)
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def remove(self, step: int) -> None:
        """Removes the model of a step; first it gets a name that nobody takes for a model."""
        half = self._directory / f"{HALF_WRITTEN}{step}"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        os.rename(self.path(step), half / self.path(step).name)  # a kill from here on leaves a name that `sweep` knows
        _flush(self._directory)
        shutil.rmtree(half)

    def sweep(self) -> None:
        """Removes what a kill has left of additions and removals."""
        if self._directory.is_dir():
            for name in os.listdir(self._directory):
                if re.fullmatch(rf"{HALF_WRITTEN}(0|[1-9][0-9]*)", name):
                    shutil.rmtree(self._directory / name)

    def set_aside(self, steps: list[int]) -> None:
        """Moves models of another training into a directory `set-aside-<n>`."""
        taken = [name for name in os.listdir(self._directory) if name.startswith(SET_ASIDE)]
        number = next(n for n in range(1, len(taken) + 2) if f"{SET_ASIDE}{n}" not in taken)
        aside = self._directory / f"{SET_ASIDE}{number}"
        aside.mkdir()
        for step in steps:
            os.rename(self.path(step), aside / self.path(step).name)
        log.warning("Set aside in %s: the exports of steps %s.", aside, ", ".join(map(str, steps)))


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a directory, survive a power failure, where they can."""
    number = os.open(path, os.O_RDONLY)
    try:
        flushed(number)
    finally:
        os.close(number)
