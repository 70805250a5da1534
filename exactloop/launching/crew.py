"""All workers of this machine, from their start to the end of the last one."""

import selectors
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from exactloop.launching.keeper import Keeper
from exactloop.launching.output import WorkerOutput
from exactloop.launching.worker import Worker

APART = 60.0  # seconds after which it is told that some are over, and others are not
LAST_WORDS = 1.0  # seconds that a pipe is waited for whose worker is over: who holds it may never let go


class Failure(NamedTuple):
    """The first worker that failed.

    Attributes:
        rank: Which one.
        status: Its exit status; negative for the signal that killed it.
    """

    rank: int
    status: int

    @property
    def exit_status(self) -> int:
        """What a shell says of it: 128 and the number of the signal."""
        return self.status if self.status > 0 else 128 - self.status


class Crew:
    """Runs a command once for each worker of this machine.

    Args:
        command: What to run.
        environments: In what environment, for each, by rank.
        grace: Seconds that the others have to end, from SIGTERM to SIGKILL, when one has failed.
        tell: Called with the ranks of those that have ended well, when the others go on for long: who has joined the
            others ends when they do, so these may be waited for in vain.
    """

    def __init__(
        self,
        command: Sequence[str],
        environments: Mapping[int, Mapping[str, str]],
        grace: float,
        tell: Callable[[Sequence[int]], None],
    ) -> None:
        self._command, self._environments, self._grace, self._tell = command, environments, grace, tell
        self._workers: list[Worker] = []
        self._asked: int | None = None  # the latest signal that all were to get
        self._keeper = Keeper()  # a process, from here on: `run` ends it

    def run(self) -> Failure | None:
        """Starts all, and waits for the end of all. When one fails, the others are ended.

        Returns:
            The first one that failed, if one did.
        """
        try:
            for rank, environment in self._environments.items():
                self._workers.append(Worker(rank, self._command, environment, self._keeper.group))
                # A handler runs between any two lines, and knew nothing of this worker.
                if self._asked is not None and self._asked not in self._workers[-1].told:
                    self._workers[-1].send(self._asked)  # it was asked for while this one was started
            with selectors.DefaultSelector() as selector:
                failure = self._watch(selector)
                self._keeper.kill()  # what workers have left behind
                # What is in the pipes is printed to the end: the last lines of a worker say why it failed.
                while selector.get_map() and (ready := selector.select(LAST_WORDS)):
                    _pass_on(selector, ready)
        finally:
            self.kill()
            self._keeper.end()
            # Emptied first: a signal that comes now must not be sent by descriptors that are being closed.
            workers, self._workers = self._workers, []
            for worker in workers:
                worker.end()  # reaped, or it would stay as a zombie in a process that restarts for weeks
                worker.close()
        return failure

    def ask(self, number: int) -> None:
        """Sends all of them a signal; may be called by a handler of signals, until `run` is over."""
        self._asked = number
        for worker in self._workers:
            worker.send(number)

    def kill(self) -> None:
        """Kills all, at once, and what they have started; likewise."""
        self._keeper.kill()
        self.ask(signal.SIGKILL)  # of those that have left the group

    def _watch(self, selector: selectors.BaseSelector) -> Failure | None:
        """Waits until all are over."""
        for worker in self._workers:
            selector.register(worker, selectors.EVENT_READ)
            for output in worker.outputs:
                selector.register(output, selectors.EVENT_READ)
        failure, over, deadline = None, list[int](), float("inf")
        while len(over) < len(self._workers):
            left = deadline - time.monotonic()
            # Without an end as long as none is over. Signals are handled within.
            ready = selector.select(None if deadline == float("inf") else max(0.0, left))
            statuses = [(worker.end(), worker.rank) for worker in _pass_on(selector, ready)]
            if statuses and not over:
                deadline = time.monotonic() + APART
            over += [rank for _, rank in statuses]
            failed = sorted((status, rank) for status, rank in statuses if status)  # of several, one that was killed
            if failed and failure is None:
                failure, deadline = Failure(failed[0][1], failed[0][0]), time.monotonic() + self._grace
                self.ask(signal.SIGTERM)  # so that each may still save what it has
            elif left <= 0 and failure is not None:
                self.kill()
            elif left <= 0 and len(over) < len(self._workers):
                self._tell(sorted(over))
                deadline = float("inf")  # once
        return failure


def _pass_on(selector: selectors.BaseSelector, ready: Iterable[tuple[selectors.SelectorKey, int]]) -> list[Worker]:
    """Passes on what workers print; returns those that are over."""
    over = []
    # A worker that is over and a pipe at its end would be ready forever.
    for key, _ in ready:
        if isinstance(key.fileobj, Worker):
            over.append(key.fileobj)
        if not isinstance(key.fileobj, WorkerOutput) or not key.fileobj.pass_on():
            selector.unregister(key.fileobj)
    return over
