"""Which of two values of a metric is the better one, and when to look at it."""

import difflib
import logging
import math
import re
from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from hooks.shared.texts import in_bytes, text_in
from loop import Event, Hook, Loop, Moment

log = logging.getLogger("exactloop")


class Monitor:
    """A metric that is watched, and the direction in which it is to go.

    A metric of an evaluation is looked at after each evaluation, one of the train step at the end of each epoch, one
    that a hook reports whenever it does.

    Args:
        owner: Who asks, for the messages.
        name: The metric, such as "val_loss".
        mode: "min" or "max"; never guessed from the name.
        min_delta: By how much a value has to be better to count, not negative.
        relative: Whether `min_delta` is a fraction of the best value's size; with mode="min", below 1.

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
                f"Received: mode={mode!r:.80}." + _in_full(name)
            )
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"{owner}(min_delta=...) must be zero or positive. Received: {min_delta!r}.")
        # Of a loss, which is not negative, nothing would ever be better; of what is to grow, 1.0 is twice as much.
        if relative and min_delta >= 1 and mode == "min":
            raise ValueError(
                f"{owner}(min_delta=..., relative=True) is a fraction of the best value, as in 0.02 for 2 %. Received: "
                f"{min_delta!r}."
            )
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
            close = close_names(self.name, known)
            raise ValueError(
                f"{self._owner} watches {self.name!r}, but this loop reports: {', '.join(map(repr, known))}."
                + (f" Did you mean {close[0]!r}?" if close else "")
            )
        if self.name in loop.unscheduled_names:
            raise ValueError(
                f"{self._owner} watches {self.name!r}, but no run evaluates that. Received: eval_every=NEVER. Write "
                "eval_every=Every(epochs=1), or Evaluation(..., every=Every(epochs=1))."
            )
        self._event = Event.EVAL_END if self.name in evaluated else Event.EPOCH_END
        if self.name in loop.reported_names:
            self._event = None

    @property
    def watched(self) -> str:
        """What a hook saves, to know after a resume whether the best value so far is one of this metric and mode."""
        return f"{self.name} {self.mode}"

    def is_another(self, watched: tf.Variable) -> bool:
        """Returns whether what was saved is of another metric, or of one that was to go the other way."""
        return text_in(watched) != self.watched

    def watch_anew(self, watched: tf.Variable) -> None:
        """Takes this metric for the one that is watched, and says that what is known of the other is left out."""
        if before := text_in(watched):  # else nothing was watched, as by an `Export` of each epoch
            name, mode = before.rsplit(" ", 1)
            log.warning(
                "%s begins anew: the saved run watched %r with mode=%r, now it is %r with mode=%r.",
                *(self._owner, name, mode, self.name, self.mode),
            )
        watched.assign(in_bytes(self.watched))

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


class MonitorHook(Hook):
    """What hooks have in common that act by a metric: `_look` is called with each value of it. Abstract."""

    _monitor: Monitor | None = None  # without one, nothing is looked at

    def on_eval_end(self, moment: Moment) -> None:
        if self._monitor and (value := self._monitor.value(moment)) is not None:
            self._look(moment, value)

    on_epoch_end = on_eval_end

    def on_report(self, moment: Moment) -> None:
        if self._monitor and (value := self._monitor.reported(moment)) is not None:
            self._look(moment, value)

    def _look(self, moment: Moment, value: float) -> None:
        """Acts by a value, which was just measured or reported."""


def _in_full(name: str) -> str:
    """Returns a sentence about what Keras once called a metric in short; nothing if it did not."""
    full = re.sub(r"(?<![^\W_])acc(?![^\W_])", "accuracy", name)
    return "" if full == name else f" And a metric named 'accuracy' is logged as {full!r}, not {name!r}."


def close_names(name: str, known: Sequence[str]) -> list[str]:
    """Returns the names that may be meant by another one, first of all those that it is short for."""
    parts = ".*_".join(map(re.escape, name.split("_")))
    short = [each for each in known if re.match(rf"(.*_)?{parts}", each)]
    return (
        sorted(short, key=len)
        or difflib.get_close_matches(name, known, n=1)
        or [each for each in known if name.endswith(each)]
    )
