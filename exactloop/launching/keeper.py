"""Ends a group of processes when the one that started them is gone, however it went."""

import os
import signal
import sys


class Keeper:
    """The leader of a group of processes: a process that only waits for its parent to end, and then kills the group.

    It reads from a pipe that nobody writes to. When the parent is gone, by SIGKILL too, the system closes the other
    end, and the keeper kills the group, itself included: also what workers have started, unless that has left the
    group. If it is killed, too, workers die with their parent by `PR_SET_PDEATHSIG`, which reaches them alone. Whoever
    would join the group too late finds no group, and is not started.

    Attributes:
        group: The group, for `subprocess.Popen(process_group=...)`; 0 when it is ended.
    """

    def __init__(self) -> None:
        sys.stdout.flush()  # or what is held there would be written twice
        sys.stderr.flush()
        read, self._write = os.pipe()  # which no process that is started inherits
        # No other thread is there, and nothing is imported or allocated in the child: it reads one byte.
        self.group = os.fork()
        if not self.group:
            os.close(self._write)  # or it would keep the end open for which it waits
            _keep(read)
        os.close(read)
        os.setpgid(self.group, self.group)  # here as well, so that it has happened when workers join

    def kill(self) -> None:
        """Kills whoever is in the group; may be called by a handler of signals."""
        if self.group:
            os.killpg(self.group, signal.SIGKILL)

    def end(self) -> None:
        """Kills whoever is in the group, and ends it."""
        self.kill()
        group, self.group = self.group, 0  # before the system may give this number to somebody else
        os.waitpid(group, 0)  # the keeper is in the group, and dead by now
        os.close(self._write)


def _keep(read: int) -> None:
    """Waits for the end of the parent. Never returns."""
    try:
        # Ctrl-C goes to all of the terminal's group; this one has to outlive what it keeps.
        for number in {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        os.setpgid(0, 0)
        os.read(read, 1)  # returns when all copies of the other end are closed, however that came about
    finally:
        os.killpg(0, signal.SIGKILL)
