"""Ends a run while there is time to save it."""

import datetime
import logging
import math
import numbers
import threading
import time

import tensorflow as tf

from loop import Halt, Hook, Loop, Moment, TrainingState, Trigger

log = logging.getLogger("exactloop")
LEAVE = 60.0  # seconds for the last save, and at most a twentieth of the budget
INSTEAD = {
    "minutes": "write seconds=60 * minutes",
    **dict.fromkeys(("duration", "max_time", "budget", "timer", "timeout"), "write hours=12 or seconds=600"),
    **dict.fromkeys(("deadline", "end", "at"), "write until=..., a datetime or seconds since 1970"),
    **dict.fromkeys(("grace", "margin", "reserve"), "write leave=..., in seconds"),
    "interval": "leave it out: the run ends after the step in progress",
}


class Over(Trigger):
    """A trigger that fires when the time is over.

    Attributes:
        rung: Whether somebody who has looked at another clock says so.

    Args:
        training: The training time, in seconds; infinite for none.
        deadline: Seconds since 1970; infinite for none.
    """

    def __init__(self, training: float, deadline: float) -> None:
        self._training, self._deadline, self.rung = training, deadline, False

    # Steps say nothing of the time: it halts nowhere by itself, and `next_time` raises the flag.
    def next_after(self, step: int) -> int | None:
        return None

    def next_time(self, seconds: float) -> float | None:
        return self._training if seconds < self._training < math.inf else None

    def due(self, halt: Halt) -> bool:
        return self.rung or halt.now >= self._training or time.time() >= self._deadline

    def __repr__(self) -> str:
        return f"TimeBudget({self._training!r}, {self._deadline!r})"


class TimeBudget(Hook, instead=INSTEAD):
    """Ends the run when it has trained for so long, or at a time of day, and leaves time for a last save.

    Training time is that of `RunResult.seconds`: of all the runs that the training was cut into, with evaluations and
    saves, and without the tracing at a start. The run ends after the step in progress, or, in an evaluation, after the
    batch; an evaluation that is due is made up for if the run goes on. A run whose budget is spent ends again at once,
    and goes on with a larger one. One that has come to its deadline goes on when it is started with a later one.

    At which step that is differs from run to run, as with a signal; what is trained up to there does not.

    Example:
        >>> import tensorflow as tf
        >>> from hooks import TimeBudget
        >>> from loop import ArrayData, Loop
        >>> weight = tf.Variable(0.0)
        >>> def train_step(x):
        ...     return {"loss": weight.assign_add(1.0)}
        >>> data = ArrayData(tf.range(8.0), batch_size=2)
        >>> loop = Loop(train_step, data, state={"weight": weight}, hooks=[TimeBudget(seconds=0.2)])
        >>> loop.run(epochs=10**9).reason
        'the budget of 0.2 s of training is spent, but for 0.01 s to save'

    On SLURM, `until=float(os.environ["SLURM_JOB_END_TIME"])` is the end of the job.

    Args:
        seconds: The budget of training time.
        hours: The same in hours.
        until: A time of day: a `datetime`, local if it has no time zone, or seconds since 1970. With a budget as well,
            the earlier of both counts.
        leave: How many seconds before that to end, so that the last save, and what other hooks do at the end, fits. By
            default a minute, but at most a twentieth of a budget.
        name: The name of the hook.

    Raises:
        ValueError: Unless there is one budget or a deadline, and it is longer than what is to be left.
    """

    everywhere = False  # all end when the first of several workers says so

    _loop: Loop = Hook.later()

    def __init__(
        self,
        *,
        seconds: float | None = None,
        hours: float | None = None,
        until: datetime.datetime | float | None = None,
        leave: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        given = {"seconds": seconds, "hours": hours, "until": until}
        given = {argument: value for argument, value in given.items() if value is not None}
        if not given or {"seconds", "hours"} <= given.keys():
            raise ValueError(
                "TimeBudget needs seconds=600 or hours=12, or until=..., a datetime. "
                f"Received: {' and '.join(given) or 'none'}."
            )
        budget = math.inf if seconds is None and hours is None else float(3600.0 * hours if hours else seconds or 0.0)
        self._budget = budget
        self._leave = min(LEAVE, budget / 20) if leave is None else float(leave)
        if not 0 <= self._leave < budget or (budget == math.inf and until is None):
            raise ValueError(
                "TimeBudget needs a positive and finite time, and leave=... zero or a shorter one. "
                f"Received: {', '.join(f'{argument}={value!r}' for argument, value in given.items())}, leave={leave!r}."
            )
        deadline = until.timestamp() if isinstance(until, datetime.datetime) else until
        is_number = isinstance(deadline, numbers.Real) and math.isfinite(deadline)
        if deadline is not None and not is_number:  # no time is later than NaN: it would never end
            raise (ValueError if isinstance(deadline, numbers.Real) else TypeError)(
                f"TimeBudget(until=...) needs a datetime, or seconds since 1970. Received: {until!r}. To end after ten "
                "minutes of training, write seconds=600."
            )
        self._deadline = math.inf if deadline is None else float(deadline) - self._leave
        self._limit = budget - self._leave  # seconds of training; infinite with a deadline alone
        self._over = Over(self._limit, self._deadline)
        self.every = self._over
        # Of the run that was ended: its clock may say a moment less than the limit after a resume.
        self.spent = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="spent")  # when it has ended the run
        self._state: TrainingState | None = None
        self._timer: threading.Timer | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop, self._state, self._over.rung = loop, loop.state, False

    def reason_to_end(self) -> str:
        """Says that the budget is spent. The time of day is no state, and does not make a run finished."""
        of_loop = self._state.seconds if self._state else 0.0
        return self._spent() if max(float(self.spent), of_loop) >= self._limit else ""

    def on_run_begin(self, moment: Moment) -> None:
        if reason := self.reason_to_end() or (self._late() if time.time() >= self._deadline else ""):
            moment.stop(reason)
            return
        # Seconds of a clock that nobody sets, to the limit of the training's own.
        self._ends = time.monotonic() + self._limit - self._loop.state.seconds
        self._set_timer()

    def on_step_end(self, moment: Moment) -> None:
        # The budget is spent, and that is state; a deadline that has come is no reason for the next run.
        if time.time() < self._deadline:
            self.spent.assign(self._limit)
        self._stop()

    def on_run_end(self, moment: Moment) -> None:
        self._ends = math.nan  # for a timer that is just being set
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        """Looks at the time when it should be over: an evaluation, for one, has no steps after which to look."""
        left = min(self._ends - time.monotonic(), self._deadline - time.time())
        self._timer = threading.Timer(min(max(left, 0.0), threading.TIMEOUT_MAX), self._ring)
        self._timer.daemon = True  # a run that fails must not wait for hours
        try:
            self._timer.start()
        except RuntimeError as error:
            self._timer = None
            log.warning("The time is looked at after steps only, and not in evaluations: %s.", error)

    def _ring(self) -> None:
        if math.isnan(self._ends):
            return
        if time.monotonic() < self._ends and time.time() < self._deadline:  # somebody has set the clock back
            self._set_timer()
        else:
            self._over.rung = True  # so `on_step_end` comes at the next halt, and what is spent is kept
            self._stop()

    def _stop(self) -> None:
        self._loop.stop(self._late() if time.time() >= self._deadline else self._spent())

    def _spent(self) -> str:
        return f"the budget of {_span(self._budget)} of training is spent, but for {_span(self._leave)} to save"

    def _late(self) -> str:
        at = datetime.datetime.fromtimestamp(self._deadline + self._leave).isoformat(" ", "seconds")
        return f"the time until {at} is over, but for {_span(self._leave)} to save"


def _span(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"
