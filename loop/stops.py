"""When a run ends: its totals are reached, or somebody has asked for it."""

from collections.abc import Callable
from typing import NamedTuple

from loop.errors.kinds import is_whole, shown
from loop.state.position import Position


class RollBack(BaseException):
    """Raised in a round, this has the run go on from an earlier state, as if it had been killed and started again.

    No `Exception`, so that neither `except Exception` in a hook nor `on_error="warn"` keeps it from the loop.
    """


class Wish(NamedTuple):
    """What one of several workers has asked for: the end, for a reason; how soon, and whether the epoch ends there."""

    reason: str
    at_once: bool
    ends_epoch: bool = False


class Stops:
    """Who has asked for a run to end, how soon, and what it was asked to reach.

    A stop may come from any thread and at any time, also before the first step: whatever is asked for while a run
    begins counts. The first reason is the one that is reported. Of several workers, each has a wish until all have
    agreed on it.

    Attributes:
        reason: Why somebody has asked for it; None if nobody has.
        at_once: Whether evaluations are to be abandoned, and made up for when the run is resumed.
        ends_epoch: Whether the epoch ends with the step in progress, too.
        epochs: How many are to be complete in all; None: any number.
        steps: The same of train steps.

    Args:
        hurry: Makes the compiled loop return after the step in progress.
        together: Whether there are several workers.
    """

    def __init__(self, hurry: Callable[[], None], *, together: bool = False) -> None:
        # `hurry` may be called by a thread that hears signals, while the compiled loop runs in another.
        self._hurry, self._together = hurry, together
        self.begin(None, None)

    def begin(self, epochs: int | None, steps: int | None) -> None:
        """Forgets what an earlier run was stopped for."""
        # In all from the first start on, so that a script that is started again asks for the same.
        self.epochs, self.steps = epochs, steps
        self.reason: str | None = None
        self.at_once = self.ends_epoch = False
        self._wish: Wish | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody has asked for the run to end."""
        return self.reason is not None

    def after_round(self, reason: str | None = None, *, end_epoch: bool = False) -> None:
        """Ends the run when all events of the step in progress have been sent. What `moment.stop` does."""
        self._ask(reason, ends_epoch=end_epoch)

    def now(self, reason: str) -> None:
        """Ends the run after the step in progress. What `loop.stop` does."""
        self._ask(reason, at_once=True)
        self._hurry()  # last: the loop looks at the reasons when it has returned

    def _ask(self, reason: str | None, *, at_once: bool = False, ends_epoch: bool = False) -> None:
        if not isinstance(reason, str):
            raise TypeError(
                f"stop(reason) needs a str, the reason, which RunResult.reason will be. Received: {shown(reason)}."
            )
        if not self._together:
            self.take(reason, None, at_once=at_once, ends_epoch=ends_epoch)
        # Not at once: a worker that ended alone would leave the others waiting in their next sum.
        elif self._wish or not self.asked or at_once or ends_epoch:
            mine = self._wish or Wish(reason, at_once=False)
            self._wish = Wish(mine.reason, mine.at_once or at_once, mine.ends_epoch or ends_epoch)

    def wish(self) -> Wish | None:
        """Returns what this worker has asked for and not all have agreed on; None if that is nothing."""
        return self._wish

    def take(self, reason: str, told: Wish | None, *, at_once: bool, ends_epoch: bool = False) -> None:
        """Takes over what all workers have agreed on.

        Args:
            reason: Why somebody has asked for the end.
            told: The wish of this worker that the others were told of. One that came later waits for the next time.
            at_once: As in the attributes.
            ends_epoch: The same.
        """
        self._wish = None if self._wish is told else self._wish
        self.at_once, self.ends_epoch = self.at_once or at_once, self.ends_epoch or ends_epoch
        self.reason = reason if self.reason is None else self.reason  # last: by this others see that it is asked for

    def forget_round(self) -> None:
        """Forgets what was asked for by those who are put back to an earlier step; what came from elsewhere stays."""
        self.reason, self.ends_epoch = self.reason if self.at_once else None, False
        wish = self._wish
        self._wish = Wish(wish.reason, at_once=True) if wish and wish.at_once else None

    def reached(self, step: int, epoch: int) -> bool:
        """Returns whether what was asked for is done with so many steps and epochs complete."""
        # Not equal: a run that was longer may be started again with less.
        enough = self.steps is not None and step >= self.steps
        return enough or (self.epochs is not None and epoch >= self.epochs)

    def passed(self, step: int, epoch: int, step_in_epoch: int) -> bool:
        """Returns whether more is complete than was asked for, and so another run has gone on from there."""
        more = self.steps is not None and step > self.steps
        return more or (self.epochs is not None and (epoch, step_in_epoch) > (self.epochs, 0))

    def total_steps(self, length: int | None, place: Position) -> int | None:
        """Returns at which step the totals are reached; None if nobody knows.

        Args:
            length: Steps in an epoch, if that is known.
            place: Where the run stands. Epochs before that may have had fewer steps, if a hook has ended them.
        """
        more = None if self.epochs is None or length is None else length * (self.epochs - place.epoch)
        of_epochs = None if more is None else place.step - place.step_in_epoch + more
        return min((n for n in (self.steps, of_epochs) if n is not None), default=None)

    def total_epochs(self, length: int | None, place: Position) -> int | None:
        """Returns in how many epochs the totals are reached; None if nobody knows.

        Args:
            length: Steps in an epoch, if that is known.
            place: Where the run stands. Epochs before that may have had fewer steps, if a hook has ended them.
        """
        # Rounded up: the last epoch counts, though only a part of it is trained.
        more = None if self.steps is None else self.steps - (place.step - place.step_in_epoch)
        of_steps = place.epoch - (-more // length) if length and more is not None else None
        return min((n for n in (self.epochs, of_steps) if n is not None), default=None)

    def nothing_left(self, step: int, epoch: int) -> str:
        """Returns why nothing is left to do with so many complete, in a sentence; empty if something is."""
        if self.epochs is not None and epoch >= self.epochs:
            return _nothing_to_do("epoch", self.epochs, epoch)
        if self.steps is not None and step >= self.steps:
            return _nothing_to_do("step", self.steps, step)
        return ""

    def ended(self, step: int, epoch: int, finished: str) -> str:
        """Returns why a run has ended with so many complete.

        Args:
            step: Train steps.
            epoch: Epochs.
            finished: Why there was nothing left to do from the beginning; empty if there was.
        """
        if self.reason is not None:
            return self.reason
        # If both totals are reached at once, the epochs are told.
        if epoch == self.epochs:
            return f"{_counted(epoch, 'epoch')} complete"
        return finished if finished and step != self.steps else f"{_counted(step, 'step')} complete"


def _nothing_to_do(what: str, asked: int, complete: int) -> str:
    """Says that a run has nothing left to do.

    Args:
        what: "epoch" or "step".
        asked: How many were asked for.
        complete: How many are complete.
    """
    are = "is" if complete == 1 else "are"
    return f"{_counted(asked, what, 'was', 'were')} asked for, {complete} {are} complete: nothing to do"


def _counted(count: int, what: str, one: str = "is", more: str = "are") -> str:
    """Returns a number of things, and a verb that agrees with it."""
    return f"{count} {what} {one}" if count == 1 else f"{count} {what}s {more}"


def check_totals(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    """Returns the totals of `run()`. Raises `ValueError` if neither is given or one is not a positive whole number."""
    given = {"epochs": epochs, "steps": steps}
    # Not 0 either, which would be no run.
    counts = [count for count in given.values() if count is not None]
    if not counts or not all(is_whole(count) and count > 0 for count in counts):
        wanted = "run() needs epochs=..., steps=... or both, positive whole numbers, as in run(epochs=10)"
        raise ValueError(f"{wanted}. Received: {shown(given)}.")
    return None if epochs is None else int(epochs), None if steps is None else int(steps)
