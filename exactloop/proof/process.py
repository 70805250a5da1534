"""Lives of a program, each in a process of its own, and what is left of one."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exactloop.proof.journal import Record
from exactloop.proof.orders import VARIABLE, Death, Orders
from hooks.places import BELOW

TAIL = 2000  # characters of what a program that failed said last
MARK, COMMITTED = ".json.tmp", ".json"  # what a save that is under way has in its directory, and what a complete one
PACKAGES = str(Path(__file__).parents[2])
CODE = f"import sys; sys.path.append({PACKAGES!r}); from exactloop.proof.child import main; main()"


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
        given: What it can read from its standard input.
        module: Of `function`; empty if that is in the file itself.
        function: The name of the function that makes the loop; empty if it is a script.
        totals: For the loop's `run`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        given: bytes = b"",
        module: str = "",
        function: str = "",
        totals: Mapping[str, int] | None = None,
    ) -> None:
        self.path = command[0]
        self._command, self._given, self._totals = list(command), given, dict(totals or {})
        self._module, self._function = module, function
        self._count = 0

    def live(
        self,
        root: Path,
        where: str,
        death: Death | None = None,
        *,
        stepwise: bool = True,
        in_vain: bool = True,
        entropy: int | None = None,
    ) -> Life:
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
        record, output = (root / f"{self._count}-{where}.{ending}" for ending in ("jsonl", "txt"))
        record.touch()
        orders = Orders(
            str(record),
            os.getpid(),
            stepwise=stepwise,
            death=death,
            in_vain=in_vain,
            module=self._module,
            function=self._function,
            totals=self._totals,
            entropy=entropy,
            path=sys.path if self._function else [],
        )
        environment = os.environ | {VARIABLE: orders.encode(), BELOW: str(root / where)}
        with output.open("w") as said, tempfile.TemporaryFile() as given:
            given.write(self._given)
            given.seek(0)
            command = [sys.executable, "-P", "-c", CODE, *self._command]
            with subprocess.Popen(
                command, env=environment, stdin=given, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            ) as process:
                try:
                    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
                finally:
                    os.killpg(process.pid, signal.SIGKILL)  # what it has started dies with it, if it has not itself
        lived = Record(record)
        return Life(process.returncode, lived, output.read_text(errors="replace")[-TAIL:], _saving(lived))


def _saving(record: Record) -> tuple[str, ...]:
    """Returns the names of the checkpoints that are begun and not committed."""
    found = []
    for directory in sorted({each for line in record.of("begin") for each in line["directories"]}):
        names = set(os.listdir(directory)) if os.path.isdir(directory) else set()
        stems = [name.removesuffix(MARK) for name in names if name.endswith(MARK)]
        found += [stem for stem in stems if f"{stem}{COMMITTED}" not in names]
    return tuple(sorted(found))
