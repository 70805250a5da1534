"""Which evaluations are due at a step: each by a trigger of its own, or the loop's."""

import re
from collections.abc import Iterator, Sequence

from loop.evaluation import Evaluation
from loop.state.position import Position
from loop.triggers import NEVER, Halt, Trigger


class Schedule:
    """The evaluations of a loop, in their order, and when each of them is due.

    What is due is told by the step and the epoch alone, so it need not be saved for an evaluation that a stop cut off.

    Args:
        evaluations: The evaluations.
        every: When those are due that do not say it themselves.
    """

    def __init__(self, evaluations: Sequence[Evaluation], every: Trigger) -> None:
        self._triggers = [(each, every if each.every is None else each.every) for each in evaluations]

    def __iter__(self) -> Iterator[Evaluation]:
        return iter([evaluation for evaluation, _ in self._triggers])

    def __len__(self) -> int:
        return len(self._triggers)

    def describe(self) -> dict[str, str]:
        """Returns when each evaluation is due, in words, by its name."""
        # Without where in memory a trigger of the program's own stands.
        return {evaluation.name: re.sub(r" at 0x\w+", "", repr(every)) for evaluation, every in self._triggers}

    def never(self) -> list[Evaluation]:
        """Returns those that are made on demand alone."""
        return [evaluation for evaluation, every in self._triggers if every == NEVER]

    def next_after(self, step: int) -> int | None:
        """Returns the first step later than `step` at which an evaluation is due, if a step alone tells."""
        wanted = [every.next_after(step) for _, every in self._triggers]
        return min((at for at in wanted if at is not None), default=None)

    def due(self, place: Position, *, over: bool) -> list[Evaluation]:
        """Returns what is due at a place.

        Args:
            place: Where the loop has halted; `epoch` does not count the one that may be over.
            over: Whether an epoch ends there.
        """
        # No time: a trigger that depends on it is refused where it is given.
        halt = Halt(place.step, place.epoch + 1 if over else None, 0.0, 0.0)
        return [evaluation for evaluation, every in self._triggers if every.due(halt)]
