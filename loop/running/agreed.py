"""What all workers of a run agree on, at the same places of each round; alone, a process agrees with itself."""

from collections.abc import Sequence

from loop.engine.clock import Clock
from loop.stops import Stops
from loop.workers.cluster import Workers
from loop.workers.store import WorkerFailed


class Agreed:
    """The decisions of a run that no worker takes alone: how far to go, what time it is, and whether to end.

    Each of them is one exchange of a few numbers between all workers, some 0.2 ms on one machine. Whoever calls one
    waits for the others, so all have to.

    Args:
        workers: All of them.
        stops: Who has asked for the end.
        clock: Counts the time.
    """

    def __init__(self, workers: Workers, stops: Stops, clock: Clock) -> None:
        self._workers, self._stops, self._clock = workers, stops, clock
        self._failed: str | None = None  # who has failed in this round, and how

    @property
    def is_alone(self) -> bool:
        """Whether there is one process."""
        return not self._workers.are_several

    def end(self, step: int, end: int) -> int:
        """Returns how far to go in one call: as far as the one goes who wants to go least far.

        Raises:
            RuntimeError: If the workers are at different steps.
        """
        if self.is_alone:
            return end
        # float64 `[workers, 2]`, which holds steps up to 2^53.
        said = self._workers.exchange(step, end, at="how far to train")
        if len(steps := {*said[:, 0].astype(int).tolist()}) > 1:
            raise RuntimeError(f"The workers are at different steps: {sorted(steps)}. One has run on its own.")
        # The nearest: a worker that is told to go further than it wants would miss its hook's step.
        return int(said[:, 1].min())

    def alarm(self, at: float | None) -> float | None:
        """Returns when this worker's clock is to ring for a hook that waits for that time: the chief's alone does."""
        # One clock for all: with two alarms, each worker would halt for what the others do not think is due.
        return at if self._workers.is_chief else None

    def now(self) -> float:
        """Returns the time of training, by the chief's clock, and takes over what anybody has asked for."""
        return self._clock.now() if self.is_alone else self._exchange("what time it is")

    def stops(self, failures: Sequence[BaseException] = ()) -> None:
        """Takes over what anybody has asked for, or that somebody has failed; this worker, if there are failures."""
        if not self.is_alone:
            failed = f"{type(failures[0]).__name__}: {failures[0]}" if failures else ""
            if failed:
                self._stops.after_round(failed)
            self._exchange("who asks for the end", failed)

    def come_out(self) -> None:
        """Raises `WorkerFailed` if another worker has failed in this round, of which the state is complete."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise WorkerFailed(failed)

    def _exchange(self, at: str, failed: str = "") -> float:
        wish, number = self._stops.wish(), self._workers.exchanges  # the same in all workers
        key, why = f"stop/{number}/{{}}", f"failing/{number}/{{}}"
        if wish is not None:
            # Before the exchange: who learns of it there reads the text at once.
            self._workers.put(key.format(self._workers.rank), wish.reason)
        if failed:  # apart, because whoever fails when the end is agreed on already has no wish any more
            self._workers.put(why.format(self._workers.rank), failed)
        urgency = 0 if wish is None else 1 + wish.at_once + 2 * wish.ends_epoch
        said = self._workers.exchange(self._clock.now(), urgency, bool(failed), at=at)
        failing = [rank for rank, has_failed in enumerate(said[:, 2]) if has_failed]
        if failing and failing != [self._workers.rank] and self._failed is None:
            they = self._workers.name(failing[0])
            self._failed = f"{they} has failed: {self._workers.get(why.format(failing[0]))}"
        asking = [rank for rank, urgent in enumerate(said[:, 1]) if urgent]
        if asking:
            # Of the lowest rank, so that all report the same.
            reason = str(self._workers.get(key.format(asking[0])))
            # What anybody wants, all do: the end of the epoch, and to end at once.
            wishes = [divmod(int(urgent) - 1, 2) for urgent in said[asking, 1]]  # whether the epoch ends, and how soon
            ends_epoch, at_once = (any(each) for each in zip(*wishes, strict=True))
            self._stops.take(reason, wish, at_once=at_once, ends_epoch=ends_epoch)
        # The chief's time.
        return float(said[0, 0])
