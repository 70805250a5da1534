"""When to look at the values of steps that are handed out without a halt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from loop import Every, Halt, Loop, Trigger

SECOND = Every(seconds=1.0)  # so a log that is watched is never further behind


@dataclass(frozen=True, repr=False)
class InTime:
    """Fires each second, so that the values of some steps, which are handed out without a halt, come soon enough.

    Attributes:
        steps: Which steps they are.
    """

    steps: Trigger

    def next_after(self, step: int) -> int | None:
        return None  # no step of its own: the loop halts for others, or each second

    def next_time(self, seconds: float) -> float | None:
        return SECOND.next_time(seconds)

    def due(self, halt: Halt) -> bool:
        return SECOND.due(halt)

    def __or__(self, other: Trigger) -> Trigger:
        return self.steps | other

    def __repr__(self) -> str:
        return repr(self.steps)


def without_halts(every: Trigger, loop: Loop) -> Trigger:
    """Returns what fires in time for the steps of a trigger, or the trigger itself if these need a halt each."""
    # As it was given: the hook may have been in another loop, by which it was wrapped.
    steps = every.steps if isinstance(every, InTime) else every
    return steps if loop.needs_halt(steps) else InTime(steps)


def of_steps(
    every: Trigger, first_step: int, values: Mapping[str, np.ndarray]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields the steps among those that were handed out that are waited for without a halt, with their values.

    Args:
        every: What `without_halts` returned.
        first_step: As in `Hook.on_steps`.
        values: The same.
    """
    if not isinstance(every, InTime):
        return
    # The grid of the trigger is absolute, so where calls were cut leaves no trace in what is picked.
    end, step = first_step + len(next(iter(values.values()))), every.steps.next_after(first_step - 1)
    while step is not None and step < end:
        yield step, {name: float(column[step - first_step]) for name, column in values.items()}
        step = every.steps.next_after(step)
