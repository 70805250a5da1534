"""Runs a script in a process of its own, as if it had been started itself, and watched or changed from within.

Without TensorFlow.
"""

import contextlib
import ctypes
import os
import runpy
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
PACKAGES = str(Path(__file__).parents[1])
PATIENCE = 1.0  # seconds that a pipe is waited for; nobody may ever write to it, nor close it
GRACE = 30.0  # seconds for the others to end by themselves when one has failed; they need 15 at most
TASKS = "SLURM_STEP_NUM_TASKS"  # set by srun in each of the tasks that it starts


def refuse_in_cluster(why: str) -> None:
    """Raises `ValueError` where a script that is started from here would join a cluster.

    Args:
        why: What is done instead, in a sentence, and what to write.
    """
    if os.environ.get("TF_CONFIG"):
        raise ValueError(f"This process is one of a cluster: TF_CONFIG is set. {why}, and unset TF_CONFIG.")
    if (count := int(os.environ.get(TASKS) or 1)) > 1:
        raise ValueError(f"This process is one of a cluster: SLURM runs it {count} times. {why}, with srun --ntasks=1.")


def start(
    module: str, command: Sequence[str], environment: Mapping[str, str], output: Path, given: bytes = b""
) -> subprocess.Popen:
    """Starts a process, in a group of its own, in which a module's `main` is called, and has the script to run.

    Args:
        module: The module.
        command: A file of Python, and its arguments.
        environment: Of the process.
        output: Where to write what it prints.
        given: What it can read from its standard input.
    """
    code = f"import sys; sys.path.append({PACKAGES!r}); from {module} import main; main()"
    with output.open("w") as said, tempfile.TemporaryFile() as read:
        read.write(given)  # a file and no pipe, which the script need not read for this to go on
        read.seek(0)
        return subprocess.Popen(
            # -P: without the working directory in sys.path, which would come before the script's own.
            [sys.executable, "-P", "-c", code, *command],
            env=environment,
            stdin=read,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def await_all(pids: Sequence[int], *, together: bool) -> int:
    """Waits until all children are over, or one has failed and the others have had the time to end because of it.

    Args:
        pids: The children. What they end with is still there to be waited for.
        together: Whether none of the others has that time.

    Returns:
        The place of the first that failed; 0 if none has.
    """
    first, deadline, left = None, float("inf"), dict(enumerate(pids))
    with contextlib.ExitStack() as opened:
        poll = select.poll()
        # Readable when the process is over. It is not reaped by that, so its number stays its own.
        descriptors = {os.pidfd_open(pid): place for place, pid in left.items()}
        for descriptor in descriptors:
            opened.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
        # Whoever has not ended in time is left for the caller to kill.
        while left and (remaining := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(None if first is None else 1000 * remaining):
                poll.unregister(descriptor)
                place = descriptors[descriptor]
                if _failed(left.pop(place)) and first is None:
                    first, deadline = place, time.monotonic() + (0.0 if together else GRACE)
    return first or 0


def begin(parent: int) -> str:
    """Returns the script to run, in the process that was started; from now on it dies with the one that started it."""
    # Holds for this process alone; whoever started it kills its group.
    ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it was gone before this could hear of it
    del sys.argv[0]  # "-c", so the script finds itself in its place
    return sys.argv[0]


def run(script: str) -> None:
    """Runs the script, in the process that was started for that."""
    sys.path.insert(0, os.path.dirname(os.path.realpath(script)))  # as Python does for a script
    runpy.run_path(script, run_name="__main__")


def names_in(script: str) -> dict:
    """Returns what a file defines, run as a module that has another name."""
    return runpy.run_path(script, run_name="proved")


def given() -> bytes:
    """Returns what there is to be read from the standard input; nothing of a terminal."""
    found = b""
    try:
        if stat.S_ISFIFO(mode := os.fstat(0).st_mode) or stat.S_ISREG(mode):
            while select.select([0], [], [], PATIENCE)[0] and (part := os.read(0, 2**16)):
                found += part
    except OSError:  # it is closed
        return b""
    return found


def _failed(pid: int) -> bool:
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # WNOWAIT: looks, and leaves it to be waited for
    return found is not None and (found.si_code != os.CLD_EXITED or found.si_status != 0)
