"""Training time, and the alarm that makes the compiled loop halt when a time has come."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from loop.tensors import write

log = logging.getLogger("exactloop")


class Clock(tf.Module):
    """Counts the seconds of training over all the runs that a training was cut into.

    Args:
        ring: Called from a thread of its own at the time that was set.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__(name="clock")
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="seconds")
        self._ring = ring
        self._before = 0.0  # training seconds up to `start`
        self._started: float | None = None
        self._alarm: threading.Timer | None = None
        self._alarm_at: float | None = None
        self._said = False

    def start(self) -> None:
        """Goes on from what `seconds` says."""
        self._before, self._started = float(self.seconds), time.monotonic()

    def now(self) -> float:
        """Returns the training time, in seconds."""
        return float(self.seconds) if self._started is None else self._before + time.monotonic() - self._started

    def mark(self) -> None:
        """Writes the time into the state."""
        write(self.seconds, self.now())

    def set_alarm(self, at: float | None) -> None:
        """Rings once at that training time, instead of any time set before; None: not at all."""
        if at != self._alarm_at or (self._alarm is not None and not self._alarm.is_alive()):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm, self._alarm_at = None, at
            if at is not None:
                # A thread that is to wait longer than that, 292 years, ends at once with an error.
                seconds = min(max(0.0, at - self.now()), threading.TIMEOUT_MAX)
                alarm = threading.Timer(seconds, self._ring)
                alarm.daemon = True
                try:
                    alarm.start()
                except RuntimeError as error:
                    self._ring_at_once(error)
                else:
                    self._alarm = alarm

    def _ring_at_once(self, error: RuntimeError) -> None:
        """Has the compiled loop halt after one step, so that the time is looked at, where no thread can be made."""
        if not self._said:
            log.warning("The compiled loop halts after each step, to look at the time: %s.", error)
        self._said, self._alarm_at = True, None  # tried again before the next step
        self._ring()

    def stop(self) -> None:
        """Stands still until the next `start`."""
        self.set_alarm(None)
        self.mark()
        self._started = None


class TimeSpent:
    """Adds up what time goes into.

    Attributes:
        seconds: Seconds by what they went into.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def with_rest(self, others: Mapping[str, float]) -> dict[str, float]:
        """Returns this and what others have added up, and what is missing to the time since this was made: `loop`."""
        known = {**others, **self.seconds}
        return {**known, "loop": max(0.0, time.monotonic() - self._began - sum(known.values()))}

    @contextlib.contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Takes the time of what is done within."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began
