"""What happens in a run, and what a hook is told about it."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from loop.errors.members import OF_MOMENT, SET_ON_MOMENT, explaining_members

# By whether it is one of steps, and of no other.
WHEN = {
    True: "Write @loop.on(Event.{0}, every=Every(steps=100)).",
    False: "Write @loop.on(Event.{0}), and look at moment.epoch.",
}


class Event(enum.StrEnum):
    """The points of a run at which hooks are called, in the order in which they occur.

    The value of each is the second half of the method that receives it: `STEP_END` calls `on_step_end`.
    """

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raises `TypeError`: elsewhere, an event is called to be told when."""
        raise TypeError(
            f"An event is not called: when is said beside it. {WHEN[self is Event.STEP_END].format(self.name)}"
        )

    SETUP = "setup"
    RUN_BEGIN = "run_begin"
    EPOCH_BEGIN = "epoch_begin"
    STEP_END = "step_end"
    EVAL_BEGIN = "eval_begin"
    EVAL_END = "eval_end"
    EPOCH_END = "epoch_end"
    SETTLED = "settled"
    RUN_END = "run_end"


def _refuse(**values: object) -> None:
    raise RuntimeError("No loop has made this moment, and so nobody would hear of what is reported.")


@explaining_members(OF_MOMENT, never_set=SET_ON_MOMENT)
@dataclass(frozen=True)
class Moment:
    """Where the run stands when an event is sent.

    Attributes:
        event: The event itself; the name of one that a hook sends.
        step: Train steps completed since the very first start, 1 after the first one.
        epoch: Epochs completed: 0 throughout the first epoch, 1 at the first `EPOCH_END`.
        step_in_epoch: Train steps completed in the current epoch; 0 at `EPOCH_END`, when the next one is up.
        logs: Name to value, a Python float, which holds float64 as it is, and integers up to 2^53. `STEP_END`: the
            values at this step, and the running results of the train metrics. `EVAL_END`: the results of that
            evaluation. `EPOCH_END`: epoch means and the latest evaluation, which may be of an earlier step.
            `SETTLED`: all of these that were measured at this step. Empty for the others. In these
            four, also what hooks have reported in this round; of steps and epochs, also `learning_rate`, or
            `learning_rate/<key>` of each of several optimizers in the state: that of the next step. Read-only: whoever
            writes to it gets a `TypeError`.
        resumed: Whether this run went on from a restored state.
        last: Whether the run ends after this event round, for whatever reason. Certain at `SETTLED`; a hook may
            still ask for the end after an earlier event of the round.
        error: The exception that ends the run; `RUN_END` only.
        stop: Asks the loop to end after this event round. The reason is required and ends up in `RunResult.reason`.
            `stop(reason, end_epoch=True)` at `STEP_END`, or before the step, ends the epoch as well, as Keras does: it
            is evaluated, if that is due, and `EPOCH_END` is sent. The next epoch begins anew.
        report: Reports values, as in `report(probe=0.5)`, which a hook has to announce; see `Hook`. For `STEP_END`,
            `EVAL_END` and `EPOCH_END`, while they are sent.
    """

    event: Event | str
    step: int
    epoch: int
    step_in_epoch: int
    logs: Mapping[str, float]
    resumed: bool
    last: bool
    error: BaseException | None
    stop: Callable[..., None]
    report: Callable[..., None] = _refuse


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        step: Train steps completed since the very first start.
        epoch: Epochs completed.
        reason: Why it ended: what was asked for is done, or the reason somebody gave for stopping.
        logs: Means of the epoch that ended last, or of the one in progress, and the latest evaluation.
        seconds: Training time, summed over all the runs that the training was cut into.
        history: The values of each epoch by name, as `fit` returns them, from the very first start: means, train
            metrics, learning rates, and what was evaluated and reported in that epoch.
        spent: The seconds of this run by what they went into: `tracing`; `steps`, with waiting for data; `evaluation`;
            each hook by its name; and `loop` for the rest.
    """

    step: int
    epoch: int
    reason: str
    logs: Mapping[str, float]
    seconds: float
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict, compare=False)
