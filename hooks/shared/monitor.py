"""Which of two values of a metric is the better one."""

import difflib
import math
from typing import Literal

from loop import Event, Loop, Moment


class Monitor:
    """A metric that is watched, and the direction in which it is to go.

    A metric of an evaluation is looked at after each evaluation, one of the train step at the end of each epoch, one
    that a hook reports whenever it does.

    Args:
        owner: Who asks, for the messages.
        name: The metric, such as "val_loss".
        mode: "min" or "max"; never guessed from the name.
        min_delta: By how much a value has to be better to count, not negative.
        relative: Whether `min_delta` is a fraction of the best value's size.

    Raises:
        ValueError: If an argument is missing or out of range.
    """

    def __init__(
        self,
        owner: str,
        name: str,
        mode: Literal["min", "max"] | None,
        *,
        min_delta: float = 0.0,
        relative: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{owner} needs the name of a metric, as in 'val_loss'. Received: {type(name).__name__}.")
        if mode not in ("min", "max"):
            raise ValueError(
                f"{owner} needs mode='min' if a smaller {name!r} is better, mode='max' if a larger one is. "
                f"Received: mode={mode!r:.80}."
            )
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"{owner}(min_delta=...) must be zero or positive. Received: {min_delta!r}.")
        self.name, self.mode = name, mode
        self._owner, self._min_delta, self._relative = owner, min_delta, relative
        self._event: Event | None = Event.EPOCH_END  # none, if a hook reports it

    def attach(self, loop: Loop) -> None:
        """Finds out where the metric comes from.

        Raises:
            ValueError: If nothing reports it; the message lists what is reported.
        """
        evaluated = [name for names in loop.evaluation_names.values() for name in names]
        # When a run begins, and not after hours at the first evaluation.
        known = sorted({*loop.train_names, *evaluated, *loop.reported_names})
        if self.name not in known:
            if self.name.startswith("val_") and not evaluated:
                raise ValueError(
                    f"{self._owner} watches {self.name!r}, but this loop evaluates nothing, and reports: "
                    f"{', '.join(map(repr, known))}. Add evaluate=Evaluation(eval_step, data) to the Loop."
                )
            close = difflib.get_close_matches(self.name, known, n=1)
            # As `loss` for `val_loss`, which are too unlike for difflib.
            close = close or [name for name in known if name.endswith(self.name) or self.name.endswith(name)]
            raise ValueError(
                f"{self._owner} watches {self.name!r}, but this loop reports: {', '.join(map(repr, known))}."
                + (f" Did you mean {close[0]!r}?" if close else "")
            )
        self._event = Event.EVAL_END if self.name in evaluated else Event.EPOCH_END
        if self.name in loop.reported_names:
            self._event = None

    def value(self, moment: Moment) -> float | None:
        """Returns the metric's value if this is the event at which it is looked at, and it was measured for that."""
        return moment.logs.get(self.name) if moment.event is self._event else None

    def reported(self, moment: Moment) -> float | None:
        """Returns the metric's value if a hook has just reported it, for `on_report`."""
        return moment.logs.get(self.name) if self._event is None else None

    def better(self, value: float, than: float | None) -> bool:
        """Returns whether `value` is better by more than `min_delta`: NaN never is, anything else is than None."""
        if math.isnan(value) or than is None:
            return not math.isnan(value)
        # A fraction of infinity is no margin: against that, any value that is better at all counts.
        margin = self._min_delta * (abs(than) if self._relative and math.isfinite(than) else 1.0)
        return value < than - margin if self.mode == "min" else value > than + margin
