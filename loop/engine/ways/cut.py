"""How many steps a call may have whose end is the first time that anything is heard."""

from loop.engine.traced.ring import LONGEST

SECONDS = 0.01  # half of what may pass before a stop is heard, because steps differ
GROWTH = 8


class Cut:
    """The length of a call of a program that cannot see its bound move, from how long calls have taken.

    It differs from run to run, and may: where calls are cut leaves no trace.

    Attributes:
        length: Steps.
    """

    def __init__(self) -> None:
        self.length = 1

    def took(self, steps: int, seconds: float) -> None:
        """Learns from a call. One that was short says little: most of it may be the call itself."""
        if steps >= self.length or seconds > SECONDS:
            fits = int(steps * SECONDS / seconds) if seconds else LONGEST
            self.length = max(1, min(fits, GROWTH * self.length, LONGEST))
