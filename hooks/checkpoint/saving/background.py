"""The thread that writes checkpoints, one after the other."""

import contextlib
import os
import queue
import threading
from collections.abc import Callable

IDLE = 1.0  # seconds after which it looks whether it is still wanted


class Background:
    """Does what it is given in a thread of its own, one thing after the other.

    It is one thread for all of them, because TensorFlow keeps something of each that has ever called it. It is no
    daemon, so Python does not end in the midst of a save; it ends by itself when no more will come, or nothing is left
    to do and the main thread has ended. It is no pool's, because pools take no work any more once the main thread has
    ended, and training may go on in another.

    An interrupt may come anywhere in a method: then a call was given or it was not, and is done once at most.
    """

    def __init__(self) -> None:
        self._calls = queue.SimpleQueue[Callable[[], None]]()  # of C: no interrupt leaves it locked
        self._runs_in: int | None = None  # the process; not `Thread.is_alive`, which an interrupt makes a lie of
        self._ended = queue.SimpleQueue[None]()
        self._over = False

    def do(self, call: Callable[[], None]) -> None:
        """Has something done, which should not raise.

        Raises:
            RuntimeError: If no thread can be started. It may be done nevertheless, when one can.
        """
        self._calls.put(call)
        if self._runs_in != os.getpid():  # none yet, or this is a child that was forked
            threading.Thread(target=self._run, name="checkpoint").start()

    def end(self) -> None:
        """Says that no more will come; what was given is done."""
        self._over = True
        self._calls.put(lambda: None)  # wakes it

    def wait(self) -> None:
        """Waits until the thread has ended, after `end`."""
        while self._runs_in == os.getpid():
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=IDLE)

    def _run(self) -> None:
        self._runs_in = os.getpid()
        try:
            while not self._over and threading.main_thread().is_alive():
                with contextlib.suppress(queue.Empty):
                    self._calls.get(timeout=IDLE)()  # in C, without the interpreter's lock
        finally:
            self._runs_in = None  # first: whoever gives something from here on starts another thread
            with contextlib.suppress(queue.Empty):
                while True:
                    self._calls.get_nowait()()
            self._ended.put(None)
