"""How fast a run is, and how long it will take."""

import collections

from hooks.shared.progress_line import clock

WINDOW = 5.0  # seconds of training over which the rate is taken


class Pace:
    """The rate of the last seconds of training, and the time that is left. What earlier runs did says nothing of it.

    Attributes:
        began: When the run began, by the clock of the console.

    Args:
        now: That.
        step: The step that it begins with.
        total: At which step it will end; None if nobody knows.
    """

    def __init__(self, now: float, step: int, total: int | None) -> None:
        self.began, self._first, self._total = now, step, total
        self._samples = collections.deque([(0.0, step)])  # seconds of training, and steps

    def rate(self, step: int, seconds: float) -> str:
        """Returns the rate; evaluations, hooks and saving are not in it.

        Args:
            step: Train steps completed.
            seconds: What this run has trained, and nothing else.
        """
        samples = self._samples
        if samples[-1][1] != step:
            samples.append((seconds, step))
        # Two stay in any case: steps of a minute each have a rate, too.
        while len(samples) > 2 and seconds - samples[1][0] >= WINDOW:
            samples.popleft()
        (began, first), (ended, last) = samples[0], samples[-1]
        return f"{(last - first) / (ended - began):.1f} steps/s" if ended > began else ""

    def time(self, step: int, now: float) -> str:
        """Returns the time left; how long the run has taken, if nobody knows when it ends."""
        if self._total is None:
            return clock(now - self.began)
        done, left = step - self._first, self._total - step
        # By the time of day of this run, so evaluations and saves are in what is left.
        return clock(left * (now - self.began) / done if done else None if left else 0.0)
