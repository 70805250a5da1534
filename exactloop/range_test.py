"""Finds a learning rate: trains some steps with many of them, and undoes that."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hooks.shared.rates import assignable
from loop import Loop
from loop.errors.calls import explained


class Rates(NamedTuple):
    """What came of a range test.

    Attributes:
        rates: The rates, each made the step with that number.
        losses: The losses of these steps: those of the weights that the steps before have left.
        smooth: The losses as an exponential mean of decay 0.9 smooths them, corrected for its beginning.
        suggestion: A tenth of the rate at which the smooth loss is smallest: there it still falls, and with a margin.
            None if it falls by less than a tenth of what it is at first: none of the rates is large enough.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    smooth: Sequence[float]
    suggestion: float | None

    def plot(self, width: int = 60) -> str:
        """Returns a picture of the smooth losses in text: a line for each of some rates."""
        shown = np.unique(np.linspace(0, len(self.rates) - 1, min(24, len(self.rates))).astype(int))  # 24 lines at most
        finite = [loss for loss in self.smooth if math.isfinite(loss)]
        low = min(finite, default=0.0)  # of a loss that was never finite, the rates alone are shown
        span = (max(finite, default=0.0) - low) or 1.0
        near = (
            None if self.suggestion is None else min(shown, key=lambda i: abs(self.rates[i] - (self.suggestion or 0)))
        )
        lines = []
        for i in shown:
            loss = self.smooth[i]
            bar = "*" * (1 + round((loss - low) / span * (width - 1))) if math.isfinite(loss) else ""
            lines.append(f"{self.rates[i]:9.2e}  {loss:9.3g}  {bar}{'  <- suggestion' if i == near else ''}")
        return "\n".join(lines)


@explained(
    {
        **dict.fromkeys(("min_lr", "start_lr", "low"), "write lowest=1e-7"),
        **dict.fromkeys(("max_lr", "end_lr", "high"), "write highest=10.0"),
        **dict.fromkeys(("num_training", "num_iter", "num_steps", "max_steps", "epochs"), "write steps=100"),
        **dict.fromkeys(("early_stop_threshold", "diverge_th", "stop_div"), "write worse=4.0"),
        **dict.fromkeys(("mode", "step_mode"), "leave it out: the rate rises exponentially"),
        **dict.fromkeys(("loss", "monitor"), "write value='loss'"),
        **dict.fromkeys(("model", "data", "train_dataloaders"), "write find_learning_rate(loop), with a Loop of these"),
    }
)
def find_learning_rate(
    loop: Loop,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    value: str = "loss",
    optimizer: str | None = None,
    worse: float = 4.0,
) -> Rates:
    """Trains some steps with a rate that rises exponentially, and puts everything back (Smith 2017, section 3.3).

    The steps are those that `run()` would train now, from the beginning of the epoch, without hooks and evaluations.
    Afterwards the loop is as it was, bit for bit: what was given as `state=`, random states, the place in the data. If
    a `Checkpoint` is to restore something, run the loop first.

    Args:
        loop: The loop; not while it runs.
        lowest: The rate of the first step.
        highest: The rate of the last step.
        steps: How many.
        value: The name of the loss among the values of the step.
        optimizer: The path of the optimizer in `state=`; required if there are several.
        worse: Ends the test where the smooth loss is so many times worse than the best, counted from that of the first
            step, or not finite; infinity: not before `steps`.

    Raises:
        TypeError: If it is no loop.
        ValueError: If an argument cannot be used, the step returns no such value, or the rate is a schedule.
        RuntimeError: If the loop is running.
    """
    if not isinstance(loop, Loop):
        raise TypeError(
            f"find_learning_rate(loop) needs a Loop. Received: {type(loop).__name__}. Write "
            "find_learning_rate(Loop(train_step, data, state={'model': model, 'optimizer': optimizer}))."
        )
    if not 0 < lowest < highest < math.inf or steps < 2:
        raise ValueError(
            "find_learning_rate needs 0 < lowest < highest, and at least 2 steps. "
            f"Received: lowest={lowest!r}, highest={highest!r}, steps={steps!r}."
        )
    variable = _rate(loop, optimizer)
    # Evenly spaced by their logarithms.
    rates = [lowest * (highest / lowest) ** (i / (steps - 1)) for i in range(steps)]
    losses, smooth, mean = list[float](), list[float](), 0.0
    with loop.rehearse() as rehearsal:
        for i, rate in enumerate(rates):
            variable.assign(rate)  # put back with all else when the rehearsal ends
            values = rehearsal.train(1)
            if value not in values:
                there = ", ".join(map(repr, values)) or "nothing"
                raise ValueError(
                    f"The step returns no {value!r}, but: {there}. Say which: find_learning_rate(loop, value=...)."
                )
            losses.append(float(values[value][0]))  # sync: reads one scalar
            mean = 0.9 * mean + 0.1 * losses[-1]
            smooth.append(mean / (1 - 0.9 ** (i + 1)))  # corrected as Adam's moments are: 0 has no part in it
            best = min(smooth)
            # The loss of a step is of the weights before it, so the rate to blame is the one before.
            if not math.isfinite(losses[-1]) or smooth[-1] - best > (worse - 1) * abs(smooth[0]):
                break
    return Rates(rates[: len(losses)], losses, smooth, _suggestion(rates, smooth))


def _rate(loop: Loop, wanted: str | None) -> tf.Variable:
    found = loop.optimizers
    there = ", ".join(map(repr, found)) or "none"
    if (wanted is None and len(found) != 1) or (wanted is not None and wanted not in found):
        raise ValueError(
            f"find_learning_rate needs one optimizer of state=. There are: {there}. Received: optimizer={wanted!r}."
        )
    path = next(iter(found)) if wanted is None else wanted
    otherwise = "and give it the schedule when the rate is found"
    return assignable("find_learning_rate", path, found[path], otherwise)


def _suggestion(rates: Sequence[float], smooth: Sequence[float]) -> float | None:
    finite = [loss if math.isfinite(loss) else math.inf for loss in smooth]
    falls = finite[0] - min(finite) >= 0.1 * abs(finite[0]) and finite[0] < math.inf
    return rates[finite.index(min(finite))] / 10 if falls else None
