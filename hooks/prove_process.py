"""Lives of a program, each in a process of its own, and how one is killed from outside in the middle of a save."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hooks.places import BELOW
from hooks.prove_life import VARIABLE, Death, Orders
from hooks.prove_record import Record

TAIL = 2000  # characters of what a program that failed said last
MARK, COMMITTED = ".json.tmp", ".json"  # what a save that is under way has in its directory, and what a complete one


class Life(NamedTuple):
    """How a life ended.

    Attributes:
        status: The exit status; negative for the signal that ended it.
        record: What it wrote down.
        said: The end of what the program printed.
        saving: The names of the checkpoints that were being saved when it was killed.
    """

    status: int
    record: Record
    said: str
    saving: tuple[str, ...]

    @property
    def killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self.status == -signal.SIGKILL


class Program:
    """What is started again and again.

    Attributes:
        path: The file.

    Args:
        command: A file of Python, and its arguments.
        function: The name of the function in that file that makes the loop; empty if it is a script.
        totals: For the loop's `run`.
    """

    def __init__(self, command: Sequence[str], function: str = "", totals: Mapping[str, int] | None = None) -> None:
        self.path = command[0]
        self._command, self._function, self._totals = list(command), function, dict(totals or {})
        self._count = 0

    def live(self, root: Path, where: str, death: Death | None = None, checkpoints: Sequence[str] = ()) -> Life:
        """Lives once.

        Args:
            root: Where to write down what happens.
            where: The name of the run, to which this is the first or the next life.
            death: Where to die.
            checkpoints: The directories in which it saves, relative to that of the run.
        """
        self._count += 1
        record, output = (root / f"{self._count}-{where}.{ending}" for ending in ("jsonl", "txt"))
        record.touch()
        orders, below = Orders(str(record), death, self._function, self._totals), root / where
        environment = os.environ | {VARIABLE: orders.encode(), BELOW: str(below)}
        directories = [below / name for name in checkpoints]
        with output.open("w") as file:
            command = [sys.executable, "-P", "-m", "hooks.prove_life", *self._command]
            with subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT) as process:
                try:
                    while death is not None and death.event == "save" and process.poll() is None:
                        if any(step >= death.step for step in _saving(directories).values()):
                            process.kill()
                        time.sleep(0.0005)
                    status = process.wait()
                finally:
                    process.kill()
        said = output.read_text(errors="replace")[-TAIL:]
        return Life(status, Record(record), said, tuple(_saving(directories)))


def _saving(directories: Sequence[Path]) -> dict[str, int]:
    """Returns the checkpoints that are begun and not committed: their names, and their steps."""
    found = dict[str, int]()
    for directory in directories:
        try:
            names = set(os.listdir(directory))
        except FileNotFoundError:
            continue
        stems = [name.removesuffix(MARK) for name in names if name.endswith(MARK)]
        found |= {stem: int(stem.rpartition("-")[2]) for stem in stems if f"{stem}{COMMITTED}" not in names}
    return found
