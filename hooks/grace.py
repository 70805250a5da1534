"""How long a run may take from a signal until its last save begins, and what is said if that is not enough."""

import logging
import math
import time
from threading import Timer

from loop import Loop, Moment

log = logging.getLogger("exactloop")


class Grace:
    """Watches that the last save begins in time, and says so if it does not; nothing can make it begin earlier.

    Args:
        seconds: How long it may take.

    Raises:
        ValueError: If that is no positive number.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"Preemption(grace=...) must be a positive number of seconds. Received: {seconds!r}.")
        self._seconds = seconds
        self._timer: Timer | None = None

    def begin(self, loop: Loop) -> None:
        """Begins to watch a run."""
        self._loop, self._signal, self._asked_at, self._saved = loop, "", 0.0, False
        self._step, self._spent, self._told = 0, 0.0, False

    def asked(self, name: str) -> None:
        """Notes that a signal of this name asks for the end; called in any thread."""
        if not self._signal:  # a second one does not give more time
            self._asked_at = time.monotonic()  # first: the main thread looks at both, perhaps just now
            self._signal = name
            self._timer = Timer(self._seconds, self._late)
            self._timer.daemon = True  # or the process would wait for it at its end
            try:
                self._timer.start()
            except RuntimeError as error:  # no thread can be made
                log.warning("If no save has begun in %g s, nobody will say so: %s.", self._seconds, error)
            if self._saved:  # meanwhile
                self.end()

    def settled(self, moment: Moment) -> None:
        """Looks at how long steps take, and, if this is the end that was asked for, how long it took to come here."""
        # Seconds of steps alone: evaluations and saves between two halts are no part of what one step takes.
        spent, steps = self._loop.spent.get("steps", 0.0), moment.step - self._step
        each = (spent - self._spent) / steps if steps else 0.0
        if each > self._seconds and self._step and not self._told:  # the first ones since the start take longer
            self._told = True
            log.warning(
                "A step takes %.1f s, so after a signal the last save may begin later than grace=%g. What a kill would "
                "lose by that is less if Checkpoint(every=...) saves more often, or if steps are smaller.",
                each,
                self._seconds,
            )
        self._step, self._spent = moment.step, spent
        if self._signal and not self._saved:
            self._saved = True
            self.end()
            took = time.monotonic() - self._asked_at
            late = took > self._seconds
            log.log(
                logging.WARNING if late else logging.INFO,
                "Step %d is to be saved, %.1f s after %s%s.",
                moment.step,
                took,
                self._signal,
                f": {took - self._seconds:.1f} s later than grace={self._seconds:g}" if late else "",
            )

    def end(self) -> None:
        """Stops watching."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _late(self) -> None:  # in the timer's thread
        log.warning(
            "%s came %g s ago, and no save has begun: step %d is complete, and the next one, an evaluation or a hook "
            "takes longer than grace=%g. If this process is killed now, the next run goes on from the last checkpoint.",
            self._signal,
            self._seconds,
            self._loop.step,
            self._seconds,
        )
