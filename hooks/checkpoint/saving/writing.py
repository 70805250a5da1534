"""One save that is under way in a thread, and how to wait for it in another."""

import contextlib
import threading
from collections.abc import Callable

from hooks.checkpoint.record.manifest import Record


class Writing:
    """One save that is under way, in a thread, and how to wait for it in another that may be interrupted anywhere.

    Only operations of C are used, which an interrupt finds done or not done: one within `Condition.__enter__`, on which
    events and futures stand, leaves a lock behind, and `Thread.join` takes a living thread for an ended one.

    Attributes:
        record: What it is a checkpoint of.
        over: Whether it is over, with all that had to be done then.
        error: What it raised.

    Args:
        record: As above.
    """

    def __init__(self, record: Record) -> None:
        self.record, self.over = record, False
        self.error: BaseException | None = None
        # The gate is a lock that is held until all is over, so whoever waits for it waits in C.
        self._begun, self._gate = threading.Lock(), threading.Lock()
        self._gate.acquire()
        self._written, self._last = False, list[Callable[[], None]]()

    def claim(self) -> bool:
        """Returns whether nobody else has done so: the thread, to write, or whoever starts it, to take it back."""
        return self._begun.acquire(blocking=False)

    def wait(self) -> None:
        while not self.over:
            self._gate.acquire(timeout=1.0)  # nobody else may get it: all look at `over`, in time

    def finally_(self, call: Callable[[], None]) -> None:
        """Has something done once all is written: in the thread, or here if it is."""
        self._last.append(call)
        if self._written:
            self._do_last()

    def end(self, error: BaseException | None) -> None:
        """Says, in the thread, that all is written, or what was raised."""
        self.error, self._written = error, True
        try:
            self._do_last()  # first, so whoever finds it over finds the directory closed
        finally:
            self.over = True
            self._gate.release()

    def _do_last(self) -> None:
        with contextlib.suppress(IndexError):  # one of two threads has it
            while True:
                self._last.pop()()
