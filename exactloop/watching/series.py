"""Values over steps, as a file has them."""

import math
from dataclasses import dataclass, field

OFTEN, MOST = 0.5, 1000  # seconds between two times that are kept, and how many of them are


@dataclass
class Series:
    """What a file of values says.

    Attributes:
        points: Step to value, by name.
        means: The same of what was measured over an epoch.
        times: When there was which step, in seconds since 1970, in the session that wrote last: the latest of these.
        epochs: The latest step and the epoch, from 1, in which that is; empty if that is not known.
    """

    points: dict[str, dict[int, float]] = field(default_factory=dict)
    means: dict[str, dict[int, float]] = field(default_factory=dict)
    times: list[tuple[float, int]] = field(default_factory=list)
    epochs: tuple[int, int] | None = None

    def put(self, name: str, step: int, value: float, *, of_epoch: bool = False) -> None:
        """Takes a value."""
        # By step, so what a resumed run has done again takes the place of what was there.
        (self.means if of_epoch else self.points).setdefault(name, {})[step] = value

    def at(self, time: float, step: int) -> None:
        """Takes note of when there was a step; of a time that a damaged file says, and that is none, it takes none."""
        if not math.isfinite(time):
            return
        # The latest is always kept, and else one for each half second: a rate needs no more.
        if len(self.times) > 1 and time - self.times[-2][0] < OFTEN:
            self.times.pop()
        self.times.append((time, step))
        del self.times[:-MOST]
