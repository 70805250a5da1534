"""One worker: a process, what it prints, and how it ends."""

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from exactloop.launching.output import WorkerOutput
from exactloop.script import DIES_WITH_PARENT

# Called in the new process before it becomes the worker: no Python, in which the launcher's handlers of signals would
# be called there, too.
_die_with_launcher = functools.partial(ctypes.CDLL(None).prctl, DIES_WITH_PARENT, signal.SIGKILL)


class Worker:
    """A process that has been started.

    Attributes:
        rank: Its number among all.
        outputs: What it prints, to be passed on line by line, with its rank before each; of rank 0 without, and a
            terminal it has for itself: its progress bar is one, and the others have none.
        told: The signals that it was sent.

    Args:
        rank: As above.
        command: What to run.
        environment: In what environment.
        group: The group of processes that it joins.
    """

    def __init__(self, rank: int, command: Sequence[str], environment: Mapping[str, str], group: int) -> None:
        self.rank, self.told = rank, set[int]()
        # None: the launcher's own.
        out, err = (subprocess.PIPE if rank or not os.isatty(number) else None for number in (1, 2))
        # No standard input: several that read from one terminal would each get some of it.
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=group,
            preexec_fn=_die_with_launcher,  # also if the keeper was killed with it, as by `pkill -f launch`
        )
        # Not the pid, which the system may have given to another process by the time a signal is sent.
        self._descriptor = os.pidfd_open(self._process.pid)
        pipes = ((self._process.stdout, 1), (self._process.stderr, 2))
        prefix = f"[{rank}] " if rank else ""
        self.outputs = [WorkerOutput(pipe, prefix, number) for pipe, number in pipes if pipe is not None]

    def fileno(self) -> int:
        """Returns what to wait for: it can be read when the process is over."""
        return self._descriptor

    def send(self, number: int) -> None:
        """Sends it a signal, unless it is over; may be called by a handler of signals."""
        self.told.add(number)  # also if it is over: it need not be told once more
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)  # which no other process can get

    def end(self) -> int:
        """Returns with what status it ended, and waits for that; negative for the signal that killed it."""
        return self._process.wait()

    def close(self) -> None:
        """Lets go of it, when it is over."""
        os.close(self._descriptor)
        for output in self.outputs:
            output.close()


def described(status: int) -> str:
    """Returns how a process ended, for people."""
    if status >= 0:
        return f"ended with status {status}"
    known = -status in {*signal.Signals}
    why = ", perhaps because memory ran out" if -status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name if known else f'signal {-status}'}{why}"
