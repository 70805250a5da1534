"""Signals that are heard while Python itself hears none, by the process that asked for them and no child of it."""

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

log = logging.getLogger("exactloop")
END = 0  # no signal has this number
OPEN: list["SignalListener"] = []  # those that listen in this process
BEFORE_FORK = threading.local()  # the signals that the forking thread had blocked


class SignalListener:
    """Calls a function for each signal, at once, from a thread of its own.

    Python calls its handlers between its own instructions, so not while a compiled function runs. But it writes the
    number of each signal to `signal.set_wakeup_fd` at once, and a thread can read that.

    A child that is forked from this process (a data loader, `multiprocessing`, `os.fork`) has the handlers that were
    there before. Otherwise it would stay alive, and write what it was sent into the pipe that it has in common with
    this process. Signals wait while a process is being forked, so that none is heard by the wrong one.

    Args:
        numbers: The signals. One that is ignored stays so.
        hear: Called in the thread with the number of each.
        handle: What Python calls in the main thread, as for `signal.signal`.

    Raises:
        ValueError: Outside the main thread.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        hear: Callable[[int], object],
        handle: Callable[[int, FrameType | None], object],
    ) -> None:
        _leave_in_children()
        self._hear = hear
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._previous_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = self._started()
        handle = handle if self._thread is not None else self._hearing(handle)
        heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self.previous: dict[int, signal._HANDLER] = {number: signal.signal(number, handle) for number in heeded}
        OPEN.append(self)

    def close(self) -> None:
        """Puts back the handlers that were there before. What was sent until then has been heard when this returns."""
        if self not in OPEN:  # a child, which has left already
            return
        OPEN.remove(self)
        self._put_back()
        os.set_blocking(self._write, True)  # it may be full
        os.write(self._write, bytes([END]))  # not by closing it: a child that was made in another way may have it open
        if self._thread is not None:
            self._thread.join()
        os.close(self._write)
        os.close(self._read)

    def block(self) -> None:
        """Makes the signals wait for this thread, which is about to fork."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self.previous)

    def leave(self) -> None:
        """Lets go of all that is the parent's. Called in a child, where the thread is not."""
        self._put_back()
        os.close(self._write)
        os.close(self._read)

    def _started(self) -> threading.Thread | None:
        """Returns the thread that listens; None if none can be made."""
        thread = threading.Thread(target=self._listen, daemon=True, name="signals")
        try:
            thread.start()
        except RuntimeError as error:
            log.warning("Signals are heard only between calls of the compiled loop, as Python hears them: %s.", error)
            return None
        return thread

    def _hearing(self, handle: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
        def both(number: int, frame: FrameType | None) -> None:
            self._hear(number)
            handle(number, frame)

        return both

    def _put_back(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)

    def _listen(self) -> None:
        while True:
            for number in os.read(self._read, 64):
                if number == END:
                    return
                self._hear(number)


@functools.cache
def _leave_in_children() -> None:
    """Has every later fork of this process go through what follows; it cannot be taken back."""

    def before() -> None:
        BEFORE_FORK.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        for listener in OPEN:
            listener.block()

    def in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, BEFORE_FORK.blocked)

    def in_child() -> None:
        for listener in OPEN:
            listener.leave()
        OPEN.clear()
        in_parent()

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
