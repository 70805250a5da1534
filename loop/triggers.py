"""When: which steps, epochs or seconds a hook asks for.

A trigger is pure. It is asked for the next step that it wants, so the loop can run exactly to that step, and, where the
loop has halted, whether this halt is one it waited for. The clock is a parameter.
"""

import math
import operator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from loop.errors.calls import BY_POSITION, explained
from loop.errors.kinds import KINDS, Kind, is_whole, shown
from loop.errors.tracebacks import in_user_lines

Number = TypeVar("Number", int, float)
UNITS = {
    BY_POSITION: "write Every(steps=10), Every(epochs=1) or Every(seconds=60)",
    **dict.fromkeys(("step", "batch", "batches"), "write steps=..."),
    "minutes": "write seconds=60 * minutes",
    "hours": "write seconds=3600 * hours",
}


@dataclass(frozen=True)
class Halt:
    """A step after which the compiled loop has returned to the host.

    Attributes:
        step: Train steps completed.
        epoch: The number (from 1) of the epoch that ends with this step, or None if it goes on.
        since: Training time at the previous halt, in seconds, summed over resumed runs.
        now: Training time at this halt, in seconds.
    """

    step: int
    epoch: int | None
    since: float
    now: float


@runtime_checkable
class AsksWhen(Protocol):
    """What the loop asks of a trigger."""

    def next_after(self, step: int) -> int | None:
        """Returns the first step later than `step` that is wanted, or None if no step is."""
        ...

    def next_time(self, seconds: float) -> float | None:
        """Returns the first training time later than `seconds` that is wanted, or None if no time is."""
        ...

    def due(self, halt: Halt) -> bool:
        """Returns whether this halt is one of those wanted."""
        ...


@runtime_checkable
class Trigger(AsksWhen, Protocol):
    """Says when. Anything with `next_after`, `next_time` and `due` can; a subclass can also be joined with others.

    `a | b` fires when either does.
    """

    def __or__(self, other: "Trigger") -> "Trigger":
        return Either(self, other)


def _example(given: object) -> str:
    if isinstance(given, str) and given.startswith("epoch"):
        return "a trigger, as in Every(epochs=1)"
    return f"a trigger, as in Every(steps={given if is_whole(given) else 5000})"


# `|` is for programs: the loop asks for nothing of it.
KINDS[Trigger] = Kind(_example, lambda value: isinstance(value, AsksWhen) and not isinstance(value, type))


@dataclass(frozen=True)
class Either:
    """Fires when the first, the second or both do; written `first | second`."""

    first: Trigger
    second: Trigger

    def next_after(self, step: int) -> int | None:
        return _earliest(self.first.next_after(step), self.second.next_after(step))

    def next_time(self, seconds: float) -> float | None:
        return _earliest(self.first.next_time(seconds), self.second.next_time(seconds))

    def due(self, halt: Halt) -> bool:
        return self.first.due(halt) or self.second.due(halt)

    def __or__(self, other: Trigger) -> "Either":
        return Either(self, other)


@explained(UNITS)
class Every:
    """Fires on an absolute grid: `Every(steps=10)` at steps 10, 20, 30 ... of the run, resumed or not.

    Args:
        steps: A positive number of train steps.
        epochs: A positive number of epochs; fires with the last step of every n-th epoch.
        seconds: A positive number of seconds of training time. Fires at the end of the step during which the time
            came, so the step differs from run to run: use it only for what leaves no trace in the training state.

    Raises:
        ValueError: Unless exactly one of the three is given and it is positive.
        TypeError: If `steps` or `epochs` is not a whole number.
    """

    @in_user_lines
    def __init__(self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None) -> None:
        counts = {"steps": steps, "epochs": epochs, "seconds": seconds}
        given = {unit: count for unit, count in counts.items() if count is not None}
        if len(given) != 1:
            raise ValueError(
                f"Every needs exactly one of steps, epochs and seconds. Received: {given or 'none'}. "
                "Join two with |, as in Every(steps=100) | Every(epochs=1)."
            )
        # NumPy's numbers as Python's, so that `repr` is the same wherever it is compared or logged.
        ((self.unit, self.count),) = given.items()
        self.count = int(self.count) if is_whole(self.count) else float(self.count)
        if not 0 < self.count < math.inf:
            raise ValueError(f"Every({self.unit}=...) needs a positive number. Received: {self.count!r}.")

    # On a grid, not so far from the last one: a resumed run, or one that halts elsewhere, asks for the same steps.
    def next_after(self, step: int) -> int | None:
        return (step // int(self.count) + 1) * int(self.count) if self.unit == "steps" else None

    def next_time(self, seconds: float) -> float | None:
        return (seconds // self.count + 1) * self.count if self.unit == "seconds" else None

    def due(self, halt: Halt) -> bool:
        if self.unit == "steps":
            return halt.step % self.count == 0
        if self.unit == "epochs":
            return halt.epoch is not None and halt.epoch % self.count == 0
        return halt.now // self.count > halt.since // self.count  # a line of the grid lies between the two halts

    def __or__(self, other: Trigger) -> Either:
        return Either(self, other)

    def __repr__(self) -> str:
        return f"Every({self.unit}={self.count!r})"


@explained(dict.fromkeys(("step", "steps"), "write At(3, 33)"))
class At:
    """Fires at the given steps of the run: `At(3, 33)`. `At()` fires never.

    Raises:
        ValueError: If a step is smaller than 1; the first step is 1.
    """

    @in_user_lines
    def __init__(self, *steps: int) -> None:
        # Step 0 is the state before the first step, at which nothing is called.
        wrong = [step for step in steps if not is_whole(step) or step < 1]
        if wrong:
            several = " Write At(*steps)." if isinstance(wrong[0], list | tuple | range) else ""
            received = ", ".join(map(shown, wrong[:3]))
            raise ValueError(f"At needs whole numbers from 1, the first step. Received: {received}.{several}")
        self.steps = tuple(sorted({operator.index(step) for step in steps}))

    def next_after(self, step: int) -> int | None:
        return next((wanted for wanted in self.steps if wanted > step), None)

    def next_time(self, seconds: float) -> float | None:
        return None

    def due(self, halt: Halt) -> bool:
        return halt.step in self.steps

    def __or__(self, other: Trigger) -> Either:
        return Either(self, other)

    def __repr__(self) -> str:
        return f"At({', '.join(map(str, self.steps))})"


NEVER = At()


def of_steps_only(trigger: Trigger) -> bool:
    """Returns whether `next_after` alone says all that a trigger wants; of one that is not from here, nobody knows."""
    if type(trigger) is Either:
        return of_steps_only(trigger.first) and of_steps_only(trigger.second)
    # Exactly these classes: a subclass may have another `due`.
    return type(trigger) is At or (type(trigger) is Every and trigger.unit == "steps")


def _earliest(first: Number | None, second: Number | None) -> Number | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
