"""TimeBudget: the run ends in time, says why, ends again at once, and goes on with more time."""

import datetime
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, TimeBudget
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment

SPENT = "the budget of 10 s of training is spent, but for 0.5 s to save"


class Clocks:
    """Clocks that go on only when somebody lets them; what waits for them does so for real time, and so in vain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = self.set = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + self.seconds)
        monkeypatch.setattr(time, "time", lambda: 1e9 + self.seconds + self.set)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


class Takes(Hook):
    """Lets each step take a second."""

    every = Every(steps=1)

    def __init__(self, clocks: Clocks, seconds: float = 1.0) -> None:
        super().__init__()
        self._clocks, self._seconds = clocks, seconds

    def on_step_end(self, moment: Moment) -> None:
        self._clocks.seconds += self._seconds


def timers() -> set[threading.Thread]:
    """Returns the timers that were not told to end; they take their time to hear of it."""
    return {t for t in threading.enumerate() if isinstance(t, threading.Timer) and not t.finished.is_set()}


def make(hooks: Sequence[Hook], evaluated: Callable[[], None] | None = None) -> Loop:
    """Returns a loop of 4 steps an epoch over one variable, whose evaluations call a function in each of 4 batches."""
    weight = tf.Variable(0.0)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": weight.assign_add(tf.reduce_mean(x))}

    def called() -> np.float32:
        if evaluated:
            evaluated()
        return np.float32(0.0)

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        told = tf.ensure_shape(tf.numpy_function(called, [], tf.float32), []) if evaluated else 0.0
        return {"loss": weight + told + tf.reduce_mean(x)}

    data = [ArrayData(tf.range(8.0), batch_size=2, shuffle=False) for _ in range(2)]
    evaluate = Evaluation(eval_step, data[1])
    return Loop(train_step, data[0], state={"weight": weight}, evaluate=evaluate, hooks=hooks, exact=not evaluated)


@pytest.mark.more
def test_a_run_ends_in_time_ends_again_and_goes_on_with_more(clocks: Clocks, tmp_path: Path) -> None:
    def life(budget: float, steps: int) -> tuple[int, str]:
        hooks = [Takes(clocks), TimeBudget(seconds=budget), Checkpoint(tmp_path, Every(steps=3))]
        result = make(hooks).run(steps=steps)
        return result.step, result.reason

    assert life(10.0, 5) == (5, "5 steps are complete")
    assert life(10.0, 100) == (11, SPENT)  # the tenth second is seen when the step after it is done
    assert life(10.0, 100) == (11, SPENT)
    assert life(30.0, 100)[0] == 30
    assert life(3000.0, 33) == (33, "33 steps are complete")


def test_a_run_that_is_over_is_not_traced_again(clocks: Clocks, tmp_path: Path) -> None:
    def life() -> Loop:
        loop = make([Takes(clocks), TimeBudget(seconds=10), Checkpoint(tmp_path)])
        assert loop.run(epochs=9).reason.startswith("the budget of 10 s")
        return loop

    assert life().state.steps
    again = life()
    assert not again.state.steps
    assert again.step == 11


def test_in_one_process_too_a_run_ends_again(clocks: Clocks) -> None:
    loop = make([Takes(clocks), TimeBudget(seconds=10)])
    assert (loop.run(steps=99).step, loop.run(steps=99).step) == (11, 11)
    assert loop.finished == f"{SPENT}: nothing to do"


@pytest.mark.more
def test_an_evaluation_that_is_due_when_the_time_is_over_is_made_up_for(clocks: Clocks, tmp_path: Path) -> None:
    evaluated: list[int] = []

    def life(budget: float) -> Loop:
        loop = make([Takes(clocks), TimeBudget(seconds=budget, leave=0), Checkpoint(tmp_path)])
        loop.on("eval_end")(lambda moment: evaluated.append(moment.step))
        loop.run(steps=16)
        return loop

    first = life(11)
    assert (first.step, first.epoch, len(evaluated)) == (12, 2, 2)
    assert (life(11).step, life(100).step, life(100).epoch) == (12, 16, 4)


@pytest.mark.more
def test_an_evaluation_is_cut_short_and_the_run_ends_again(clocks: Clocks, tmp_path: Path) -> None:
    def life(budget: float) -> tuple[int, int, str]:
        hook = TimeBudget(seconds=budget)

        def evaluated() -> None:
            clocks.seconds += 10.0
            hook._ring()  # as the timer does, which goes by real time

        result = make([hook, Checkpoint(tmp_path)], evaluated).run(epochs=3)
        return result.step, result.epoch, result.reason

    assert life(10.0) == (4, 0, SPENT)
    assert life(10.0) == (4, 0, SPENT)
    assert life(1e6) == (12, 3, "3 epochs are complete")


@pytest.mark.more
def test_a_timer_looks_at_the_time_without_any_step(tmp_path: Path) -> None:
    """In real time; the evaluation waits until the loop is stopped."""
    stopped = threading.Event()
    loop = make([TimeBudget(seconds=3.0)], lambda: stopped.wait(60) and None)
    stop = loop.stop
    loop.stop = lambda reason: (stop(reason), stopped.set())  # type: ignore[method-assign]
    assert loop.run(epochs=10**9).reason == "the budget of 3 s of training is spent, but for 0.15 s to save"
    assert stopped.is_set()


@pytest.mark.more
def test_a_deadline_ends_a_run_which_goes_on_with_a_later_one(clocks: Clocks, tmp_path: Path) -> None:
    def life(until: datetime.datetime | float, **more: float) -> tuple[int, str]:
        loop = make([Takes(clocks), TimeBudget(until=until, **more), Checkpoint(tmp_path)])
        result = loop.run(steps=50)
        assert loop.finished == ("" if result.step < 50 else "50 steps were asked for, 50 are complete: nothing to do")
        return result.step, result.reason

    noon = datetime.datetime.fromtimestamp(1e9 + 70.0)
    said = f"the time until {noon:%Y-%m-%d %H:%M:%S} is over, but for 60 s to save"
    assert life(noon) == (10, said)
    assert life(noon) == (10, said)
    assert life(1e9 + 20.0, leave=0)[0] == 20
    assert life(noon.astimezone(datetime.UTC), leave=30)[0] == 40
    assert life(1e9 + 1000.0, seconds=45.0)[1] == "the budget of 45 s of training is spent, but for 2.25 s to save"
    assert life(1e9 + 1000.0) == (50, "50 steps are complete")


def test_the_bits_are_those_without(clocks: Clocks) -> None:
    before = timers()
    plain, budget = make([Takes(clocks)]), make([Takes(clocks), TimeBudget(hours=1)])
    for loop in (plain, budget):
        loop.run(steps=7)
    assert plain.state.variables["weight"].numpy() == budget.state.variables["weight"].numpy()
    assert timers() <= before


def test_where_no_thread_can_be_made_the_time_is_looked_at_after_steps(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", start)
    assert make([Takes(clocks), TimeBudget(seconds=10)]).run(steps=99).step == 11
    assert "not in evaluations: can't start new thread" in caplog.text


def test_a_run_that_fails_leaves_no_timer(clocks: Clocks) -> None:
    loop, before = make([TimeBudget(seconds=10)]), timers()

    @loop.on(Event.EPOCH_END)
    def fail(moment: Moment) -> None:
        raise ArithmeticError("here")

    with pytest.raises(ArithmeticError, match="here"):
        loop.run(epochs=1)
    assert timers() <= before


def test_wrong_arguments_are_refused_with_what_would_do() -> None:
    for arguments, said in [
        ({}, "seconds=600 or hours=12, or until=..., a datetime. Received: none."),
        ({"seconds": 1, "hours": 1}, "Received: seconds and hours."),
        ({"seconds": 0}, "a positive and finite time"),
        ({"seconds": math.inf}, "a positive and finite time"),
        ({"seconds": math.nan}, "a positive and finite time"),
        ({"hours": -1}, "Received: hours=-1, leave=None."),
        ({"seconds": 10, "leave": 10}, "a shorter one"),
        ({"seconds": 10, "leave": -1}, "zero or a shorter one"),
        ({"until": np.float32(math.nan)}, "needs a datetime, or seconds since 1970. Received: np.float32(nan)"),
        ({"until": math.nan}, "needs a datetime, or seconds since 1970. Received: nan"),
        ({"until": math.inf, "seconds": 10}, "needs a datetime, or seconds since 1970. Received: inf"),
    ]:
        with pytest.raises(ValueError, match=re.escape(said)):
            TimeBudget(**arguments)
    with pytest.raises(TypeError, match=re.escape("write seconds=60 * minutes")):
        TimeBudget(minutes=3)
    for kind in (np.int64, np.float32):
        assert repr(TimeBudget(until=kind(2e9)).every) == repr(TimeBudget(until=2e9).every)
    assert TimeBudget(hours=2, leave=0).reason_to_end() == ""
