"""Looks at something that takes long, while the loop is in it."""

import contextlib
import threading
import time
from collections.abc import Callable

EACH, AFTER = 0.25, 0.5  # seconds: how often it looks, and for how long it leaves alone what has just begun


class Ticker:
    """A thread that calls something while what `begin` has begun goes on.

    To begin and to end costs a microsecond, and what is over soon is not looked at.

    Args:
        call: What is called, in that thread; never after `end`. What it raises ends the calls, and nothing else.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call, self._since, self._lock = call, 0.0, threading.Lock()
        self._over = threading.Event()

    def start(self) -> None:
        """Starts the thread, if one can be started."""
        # A new one each time: a thread of before that has not ended yet sees its own.
        self._over = threading.Event()
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._run, args=(self._over,), name="progress", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread."""
        self.end()
        self._over.set()

    def begin(self) -> None:
        """Says that something begins."""
        self._since = time.monotonic()  # one assignment, which needs no lock

    def end(self) -> None:
        """Says that it is over."""
        with self._lock:  # waits for a call that is under way, so none comes after this
            self._since = 0.0

    def _run(self, over: threading.Event) -> None:
        with contextlib.suppress(Exception):
            while not over.wait(EACH):
                with self._lock:
                    if self._since and time.monotonic() - self._since > AFTER and not over.is_set():
                        self._call()
