"""Lives of a program, each in a process of its own, and what is left of one."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exactloop.launching.places import on_loopback
from exactloop.proof.config import VARIABLE, ChildConfig, KillPoint
from exactloop.proof.journal import Journal
from exactloop.script import await_all, start
from hooks.checkpoint.disk.stems import MARK
from hooks.shared.paths import BELOW

TAIL = 2000  # characters of what a program that failed said last
CHILD = "exactloop.proof.child"


class Attempt(NamedTuple):
    """How a life ended.

    Attributes:
        status: The exit status, negative for the signal that ended it; of several workers that of the one that was to
            die, or else of the first that failed.
        records: What each worker wrote down.
        said: The end of what that worker printed.
        saving: The names of the checkpoints that were being saved when it was killed.
    """

    status: int
    records: tuple[Journal, ...]
    said: str
    saving: tuple[str, ...]

    @property
    def record(self) -> Journal:
        """What the first worker wrote down."""
        return self.records[0]

    @property
    def killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self.status == -signal.SIGKILL


class ProvedProgram:
    """What is started again and again.

    Attributes:
        path: The file.
        workers: How many processes it is run by.

    Args:
        command: A file of Python, and its arguments.
        given: What it can read from its standard input.
        module: Of `function`; empty if that is in the file itself.
        function: The name of the function that makes the loop; empty if it is a script.
        totals: For the loop's `run`.
        workers: How many processes it is run by.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        given: bytes = b"",
        module: str = "",
        function: str = "",
        totals: Mapping[str, int] | None = None,
        workers: int = 1,
    ) -> None:
        self.path, self.workers = command[0], workers
        self._command, self._given, self._totals = list(command), given, dict(totals or {})
        self._module, self._function = module, function
        self._count = 0

    def live(
        self,
        root: Path,
        where: str,
        death: KillPoint | None = None,
        *,
        stepwise: bool = True,
        in_vain: bool = True,
        entropy: int | None = None,
    ) -> Attempt:
        """Lives once.

        Args:
            root: Where to write down what happens.
            where: The name of the run, to which this is the first or the next life.
            death: Where to die.
            stepwise: Whether the compiled loop is to stop after each step.
            in_vain: Whether to go on where a loop begins that nobody saves.
            entropy: What Python's and NumPy's streams begin with; None: what the system gives them.
        """
        self._count += 1
        config = ChildConfig(
            "",
            os.getpid(),
            stepwise=stepwise,
            in_vain=in_vain,
            module=self._module,
            function=self._function,
            totals=self._totals,
            entropy=entropy,
            path=sys.path if self._function else [],
        )
        victims = () if death is None else death.ranks
        names = [
            f"{self._count}-{where}{f'-worker-{rank}' if self.workers > 1 else ''}" for rank in range(self.workers)
        ]
        processes: list[subprocess.Popen] = []
        with contextlib.ExitStack() as cleared:
            # For each life anew: ports of workers that were killed may linger.
            places = cleared.enter_context(on_loopback(self.workers)) if self.workers > 1 else None
            try:
                for rank, name in enumerate(names):
                    own = {} if places is None else places.variables(rank)
                    (record := root / f"{name}.jsonl").touch()  # opened for appending by the child, never made there
                    mine = dataclasses.replace(config, record=str(record), death=death if rank in victims else None)
                    # One directory for all lives of a run: they find one another's checkpoints there.
                    environment = {**os.environ, **own, VARIABLE: mine.encode(), BELOW: str(root / where)}
                    processes.append(start(CHILD, self._command, environment, root / f"{name}.txt", self._given))
                first = await_all([process.pid for process in processes], together=len(victims) > 1)
            finally:
                for process in processes:
                    os.killpg(process.pid, signal.SIGKILL)  # what it has started dies with it, if it has not itself
                statuses = [process.wait() for process in processes]
        told = victims[0] if victims else first  # whose end and last words count
        records = tuple(Journal(root / f"{name}.jsonl") for name in names)
        said = (root / f"{names[told]}.txt").read_text(errors="replace")[-TAIL:]
        return Attempt(statuses[told], records, said, _saving(records[0]))


def _saving(record: Journal) -> tuple[str, ...]:
    """Returns the names of the checkpoints that are begun and not committed."""
    found = []
    for directory in sorted({each for line in record.of("begin") for each in line["directories"]}):
        names = set(os.listdir(directory)) if os.path.isdir(directory) else set()
        stems = [name.removesuffix(MARK) for name in names if name.endswith(MARK)]
        found += [stem for stem in stems if f"{stem}.json" not in names]
    return tuple(sorted(found))
