"""Measures a script as it is, and with one thing or another changed, each in a process of its own."""

import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from exactloop.quiet import LEVEL
from exactloop.script import await_all, given, start
from exactloop.speed.behind import Behind
from exactloop.speed.config import VARIABLE, Measured, SpeedConfig
from hooks.shared.figures import counted
from hooks.shared.paths import BELOW

TAIL = 2000  # characters of what a script that failed said last
CHILD = "exactloop.speed.child"
THREADS = {"TF_NUM_INTRAOP_THREADS": "1"}  # read by TensorFlow when it starts, so only from outside
LARGER = (2, 4)  # times the size of batches
AGAIN = "as it is, again"
FEWEST = 2  # batches in an epoch of larger ones


@dataclasses.dataclass(frozen=True)
class Change:
    """Something to try.

    Attributes:
        name: What to write, to have it so.
        jit_compile: See `SpeedConfig`.
        times: See `SpeedConfig`.
        environment: What it adds to the environment.
    """

    name: str
    jit_compile: bool | None = None
    times: int = 1
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of trying something.

    Attributes:
        name: What was tried.
        measured: How long steps took; None if it cannot be done.
        error: Why not.
    """

    name: str
    measured: Measured | None
    error: str = ""


class Script:
    """A script that is measured.

    Args:
        command: A file of Python, and its arguments.
        seconds: See `SpeedConfig`.
        steps: See `SpeedConfig`.
    """

    def __init__(self, command: Sequence[str], seconds: float, steps: int | None) -> None:
        self._command, self._seconds, self._steps, self._given = command, seconds, steps, given()

    def measure(self, change: Change | None = None) -> Measured:
        """Measures it, with something changed; or as it is, and then also what the time goes into.

        Raises:
            RuntimeError: If it fails, with what it said.
        """
        with tempfile.TemporaryDirectory(prefix="exactloop-speed-", ignore_cleanup_errors=True) as root:
            record, output = Path(root, "record.json"), Path(root, "said.txt")
            config = SpeedConfig(str(record), os.getpid(), self._seconds, self._steps, whole=change is None)
            if change is not None:
                config = dataclasses.replace(config, jit_compile=change.jit_compile, times=change.times)
            for name in ("below", "temporary"):
                os.mkdir(os.path.join(root, name))
            own = {VARIABLE: config.encode(), BELOW: os.path.join(root, "below")}
            own |= {"TMPDIR": os.path.join(root, "temporary")}  # it ends without clearing up behind itself
            environment = {LEVEL: "3"} | os.environ | own | (dict(change.environment) if change else {})
            # One for each thing to try: what a process has allocated and compiled makes the next thing faster.
            behind = Behind(root)
            process = start(CHILD, self._command, environment, output, self._given)
            try:
                behind.kill_group(process.pid)
                # Not `wait`: it stays a zombie until its group is killed, so its number is nobody else's.
                await_all([process.pid], together=True)
            finally:
                os.killpg(process.pid, signal.SIGKILL)  # what it has started dies with it
                status = process.wait()
                behind.end()
            # Whatever the status: a script may end well and never run a loop.
            if not record.exists():
                said = output.read_text(errors="replace")[-TAIL:].strip() or "nothing."
                why = f"failed, with status {status}" if status else "ended without calling Loop.run()"
                raise RuntimeError(f"The script {why}, so there is nothing to measure. It said:\n{said}")
            found = json.loads(record.read_text(encoding="utf-8"))
        if "error" in found:
            raise RuntimeError(found["error"])
        return Measured(**found)

    def try_out(self, change: Change, rows: int) -> Outcome:
        """Measures it with something changed, if that can be done.

        Args:
            change: What is changed.
            rows: In a batch, as it is.
        """
        try:
            found = self.measure(change)
        except RuntimeError as error:
            return Outcome(change.name, None, str(error))
        if found.rows != change.times * rows:
            had = counted(found.rows, "row")
            why = f"The first batch had {had} then, and not {change.times * rows:,}: they cannot be compared."
            return Outcome(change.name, None, why)
        return Outcome(change.name, found)


def changes(as_it_is: Measured) -> list[Change]:
    """Returns what to try with a script."""
    other = not as_it_is.jit_compile
    found = [Change(f"jit_compile={other}", jit_compile=other)]
    if as_it_is.sized and as_it_is.batches is not None:
        # With one batch an epoch, ends of epochs would be all that is measured.
        larger = [times for times in LARGER if as_it_is.batches >= FEWEST * times]
        found += [Change(f"batch_size={times * as_it_is.rows}", times=times) for times in larger]
    if (os.cpu_count() or 1) > 1 and as_it_is.on_cpu:
        found.append(Change(" ".join(f"{name}={value}" for name, value in THREADS.items()), environment=THREADS))
    return found


def tried(
    command: Sequence[str], seconds: float, steps: int | None, say: Callable[[str], None]
) -> tuple[Measured, list[Outcome]]:
    """Returns how fast a script is, at first and in the end, and how fast it would be.

    Args:
        command: A file of Python, and its arguments.
        seconds: See `SpeedConfig`.
        steps: See `SpeedConfig`.
        say: Is told what is being measured.
    """
    script = Script(command, seconds, steps)
    say("as it is")
    as_it_is, found = script.measure(), list[Outcome]()
    for change in changes(as_it_is):
        say(change.name)
        found.append(script.try_out(change, as_it_is.rows))
    say(AGAIN)
    # Last, to see what else goes on: what the same differs by, other things may differ by for no reason.
    again = script.try_out(Change(AGAIN), as_it_is.rows).measured
    return dataclasses.replace(as_it_is, again=again.compiled if again else None), found
