"""Signals that are heard while Python itself hears none, by the process that asked for them and no child of it."""

import contextlib
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

    There is one such descriptor in a process, and asyncio, for one, uses it too. What arrives here and is none of these
    signals is passed on at once to the one that was there before; `pass_on` does it for the others. Who takes the
    descriptor while this listens, has it until `listen`.

    A child that is forked from this process (a data loader, `multiprocessing`, `os.fork`) has the handlers that were
    there before. Otherwise it would stay alive, and write what it was sent into the pipe that it has in common with
    this process. Signals wait while a process is being forked, so that none is heard by the wrong one.

    Args:
        numbers: The signals. One that is ignored stays so.
        hear: Called with the number of each: in the thread, or in the main thread while this is being closed.
        handle: What Python calls in the main thread, as for `signal.signal`.

    Attributes:
        previous: The handlers that were there before, by the numbers of the signals that are heard.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        hear: Callable[[int], object],
        handle: Callable[[int, FrameType | None], object],
    ) -> None:
        self._numbers, self._hear, self._handle, self._closing = numbers, hear, handle, False
        self.previous: dict[int, signal._HANDLER] = {}
        self._previous_fd = -1
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begins to listen. Whatever it raises, also of an interrupt in the midst of it, `close` undoes what there is.

        Raises:
            ValueError: Outside the main thread.
        """
        _leave_in_children()
        heeded = [number for number in self._numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._read, self._write = os.pipe()
        OPEN.append(self)
        os.set_blocking(self._write, False)
        self._previous_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._thread = self._started()
        if self._thread is None:
            self._put_back_descriptor()  # nobody would read what comes, of others too, and one day it would be full
        for number in heeded:
            self.previous[number] = signal.getsignal(number)  # first: it may come as soon as it is handled
            signal.signal(number, self._handled)

    def listen(self) -> bool:
        """Takes back the descriptor if somebody else has taken it since, and returns whether that was so."""
        if self._thread is None:
            return False
        taken_by = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        if taken_by == self._write:
            return False
        self._previous_fd = taken_by  # or none any more, as asyncio has it when its loop is closed
        return True

    def close(self) -> None:
        """Puts back the handlers that were there before. What was sent until then has been heard when this returns."""
        if self not in OPEN:  # a child, which has left already, or an interrupt came before anything was done
            return
        OPEN.remove(self)
        self._closing = True
        self._put_back_descriptor()
        if self._thread is not None:
            os.set_blocking(self._write, True)  # it may be full
            # Not by closing it: a child that was made in another way may have it open.
            os.write(self._write, bytes([END]))
            self._thread.join()
        os.close(self._write)
        os.close(self._read)
        self._put_back_handlers()

    def pass_on(self, number: int) -> None:
        """Does what would have been done about a signal that was heard. It may end the process."""
        previous = self.previous[number]
        self._forward(number)
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, None)

    def block(self) -> None:
        """Makes the signals wait for this thread, which is about to fork."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self.previous)

    def leave(self) -> None:
        """Lets go of all that is the parent's. Called in a child, where the thread is not."""
        self._put_back_handlers()
        self._put_back_descriptor()
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

    def _handled(self, number: int, frame: FrameType | None) -> None:
        """What Python calls in the main thread."""
        if self._closing or self._thread is None:
            self._hear(number)
        elif self.listen():
            with contextlib.suppress(BlockingIOError):  # it is full, of others
                os.write(self._write, bytes([number]))
        self._handle(number, frame)

    def _put_back_descriptor(self) -> None:
        # Without a warning when it is full, which nobody can ask for: asyncio has it so.
        if (now := signal.set_wakeup_fd(self._previous_fd, warn_on_full_buffer=False)) != self._write:
            signal.set_wakeup_fd(now, warn_on_full_buffer=False)  # of somebody who came later, and is not done

    def _put_back_handlers(self) -> None:
        for number, handler in self.previous.items():
            if signal.getsignal(number) == self._handled:  # or somebody has set another since
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _forward(self, number: int) -> None:
        if self._previous_fd >= 0:
            with contextlib.suppress(OSError):  # it is full, or closed
                os.write(self._previous_fd, bytes([number]))

    def _listen(self) -> None:
        while True:
            for number in os.read(self._read, 64):
                if number == END:
                    return
                self._hear(number) if number in self.previous else self._forward(number)


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
