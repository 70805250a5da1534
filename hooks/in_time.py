"""When to look at the values of steps that are handed out without a halt."""

from dataclasses import dataclass

from loop import Every, Halt, Trigger

SECOND = Every(seconds=1.0)


@dataclass(frozen=True, repr=False)
class InTime:
    """Fires each second, so that the values of some steps, which are handed out without a halt, come soon enough.

    Attributes:
        steps: Which steps they are.
    """

    steps: Trigger

    def next_after(self, step: int) -> int | None:
        return None

    def next_time(self, seconds: float) -> float | None:
        return SECOND.next_time(seconds)

    def due(self, halt: Halt) -> bool:
        return SECOND.due(halt)

    def __or__(self, other: Trigger) -> Trigger:
        return self.steps | other

    def __repr__(self) -> str:
        return repr(self.steps)
