"""LearningRate: the rate that each step is made with, whatever the cuts."""

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from interrupting import Interrupt

from hooks import Checkpoint, LearningRate
from loop import ArrayData, Every, Hook, Loop, StatefulData

SGD, Schedule = keras.optimizers.SGD, keras.optimizers.schedules


def make_loop(
    hooks: Sequence[Hook] = (), *, rate: object = 0.5, steps_per_epoch: int = 5, data: object = None, exact: bool = True
) -> Loop:
    """Returns a loop in whose steps the gradient is -1, so that each step moves the variable by its rate."""
    w, optimizer = keras.Variable(0.0, name="w"), SGD(rate)
    optimizer.build([w])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        before = w.value + 0.0
        optimizer.apply([tf.constant(-1.0)], [w])
        return {"moved": w.value - before}

    rows = ArrayData(np.zeros([steps_per_epoch, 1], np.float32), batch_size=1) if data is None else data
    state = {"w": w.value, "optimizer": optimizer}
    return Loop(step, rows, state=state, hooks=hooks, exact=exact)


class Moved(Hook):
    """Notes by how much each step has moved the variable."""

    def __init__(self, every: Every | None = None) -> None:
        super().__init__()
        self.by: dict[int, float] = {}

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        self.by |= {first_step + i: float(v) for i, v in enumerate(values["moved"])}


class Halting(Hook):
    every = Every(steps=1)

    def on_step_end(self, moment: object) -> None:
        pass


def moved(*hooks: Hook, steps: int = 12, **more: object) -> list[float]:
    notes = Moved()
    make_loop([*hooks, notes], **more).run(steps=steps)
    return [notes.by[step] for step in range(1, steps + 1)]


def by_step(step: int) -> float:
    return 2.0 ** -(step % 7)  # exact, also in sums of a few


def test_each_step_is_made_with_its_rate_wherever_the_loop_halts() -> None:
    wanted = [by_step(step) for step in range(12)]
    assert moved(LearningRate(by_step)) == wanted
    assert moved(LearningRate(by_step), Halting()) == wanted


def test_by_epoch_the_rate_is_that_of_the_epoch() -> None:
    assert moved(LearningRate(lambda epoch: 1.0 + epoch, by="epoch")) == [1.0] * 5 + [2.0] * 5 + [3.0] * 2


def test_warm_up_rises_from_the_first_step_and_is_whole_at_the_last_of_it() -> None:
    quarters = [0.25, 0.5, 0.75]
    assert moved(LearningRate(lambda step: 1.0, warmup=4)) == [*quarters, *[1.0] * 9]
    assert moved(LearningRate(lambda epoch: 1.0 + epoch, by="epoch", warmup=8)) == (
        [0.125, 0.25, 0.375, 0.5, 0.625] + [1.5, 1.75, 2.0] + [2.0] * 2 + [3.0] * 2
    )


def test_of_data_from_python_each_step_has_its_rate() -> None:
    class Rows:
        def __init__(self) -> None:
            self.at = 0

        def __iter__(self) -> "Rows":
            return self

        def __next__(self) -> np.ndarray:
            self.at += 1
            return np.zeros([1, 1], np.float32)

        def get_state(self) -> dict[str, int]:
            return {"at": self.at}

        def set_state(self, state: dict[str, int]) -> None:
            self.at = state["at"]

    data = StatefulData(Rows(), steps_per_epoch=5)
    assert moved(LearningRate(by_step), data=data) == [by_step(step) for step in range(12)]


@pytest.mark.parametrize("schedule", [
    Schedule.CosineDecay(0.5, 9, warmup_target=1.0, warmup_steps=4),
    pytest.param(Schedule.PiecewiseConstantDecay([3, 6], [1.0, 0.3, 0.1]), marks=pytest.mark.long),
    pytest.param(Schedule.ExponentialDecay(0.5, 3, 0.7), marks=pytest.mark.long),
    pytest.param(Schedule.PolynomialDecay(0.5, 4, cycle=True), marks=pytest.mark.long),
])  # fmt: skip
def test_a_schedule_gives_the_bits_that_it_gives_within_the_optimizer(schedule: Schedule.LearningRateSchedule) -> None:
    assert moved(LearningRate(schedule)) == moved(rate=schedule)


def test_a_function_is_asked_once_for_each_step_that_is_run_and_for_no_other() -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 1.0

    make_loop([LearningRate(rate), Halting()]).run(steps=12)
    assert asked == [*range(12)]


def cut(directory: Path, cuts: Sequence[int], make: Callable[[], LearningRate]) -> tuple[dict[str, bytes], list[float]]:
    """Returns the bits, and by how much each step moved, of a run that is cut there and made anew each time."""
    notes: dict[int, float] = {}
    for until in cuts:
        moved = Moved()
        loop = make_loop([make(), moved, Checkpoint(directory, Every(steps=3))])
        loop.run(steps=until)
        notes |= moved.by
    bits = {p: v.numpy().tobytes() for p, v in loop.state.variables.items() if p != "clock/seconds"}
    return bits, [notes[step] for step in sorted(notes)]


KINDS = {
    "step": lambda: LearningRate(by_step, warmup=6),
    "epoch": lambda: LearningRate(lambda epoch: 1.0 + epoch, by="epoch"),
    "warm-up": lambda: LearningRate(lambda epoch: 1.0 + epoch, by="epoch", warmup=7),
    "schedule": lambda: LearningRate(Schedule.CosineDecay(0.5, 9)),
}


def test_a_resumed_run_goes_on_with_the_rate_of_the_step(tmp_path: Path) -> None:
    whole = cut(tmp_path / "whole", [12], KINDS["step"])
    assert cut(tmp_path / "cut", [4, 12], KINDS["step"]) == whole


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_cut_after_each_step_nothing_differs(kind: str, tmp_path: Path) -> None:
    whole = cut(tmp_path / "whole", [12], KINDS[kind])
    assert cut(tmp_path / "all", range(1, 13), KINDS[kind]) == whole
    for at in range(1, 12):
        assert cut(tmp_path / str(at), [at, 12], KINDS[kind]) == whole, at


def test_the_rate_is_logged_as_the_one_that_the_step_was_made_with() -> None:
    seen = []
    loop = make_loop([LearningRate(by_step)])
    loop.on("step_end", Every(steps=4))(lambda moment: seen.append(moment.logs["learning_rate"]))
    loop.run(steps=12)
    assert seen == [by_step(3), by_step(7), by_step(11)]


@pytest.mark.more
def test_a_rate_that_something_else_sets_is_named_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    def others(by: str, *, late: bool) -> list[str]:
        caplog.clear()
        loop = make_loop([LearningRate(lambda number: 0.25 * 0.5**number, by=by)])
        rate, event = loop.optimizers["optimizer"].learning_rate, "epoch_end" if late else "run_end"
        loop.on(event)(lambda moment: rate.assign(0.0625) if moment.epoch == 1 else None)
        if not late:
            loop.run(steps=3)  # a cut is no difference
        loop.run(epochs=3)
        return [record.getMessage() for record in caplog.records]

    assert others("step", late=False) == others("epoch", late=False) == []
    (by_step,), (by_epoch,) = others("step", late=True), others("epoch", late=True)
    assert by_step == (
        "Something else has set the learning rate of optimizer to 0.0625 after step 5, and hook 'learning_rate' "
        "sets it to 0.0078125 now. Leave one of the two out, or compute the rate in the function of this hook."
    )
    assert by_epoch == by_step.replace("0.0078125", "0.125")


def test_it_may_be_added_to_a_loop_that_has_run_and_taken_away() -> None:
    notes = Moved()
    loop = make_loop([notes], steps_per_epoch=3)
    loop.run(steps=2)
    hook = loop.hooks.add(LearningRate(by_step))
    loop.run(steps=4)
    loop.hooks.remove(hook.name)
    loop.run(steps=6)
    assert [notes.by[step] for step in range(1, 7)] == [0.5, 0.5, by_step(2), *[by_step(3)] * 3]


def test_each_of_several_optimizers_has_its_own() -> None:
    a, b = keras.Variable(0.0), keras.Variable(0.0)
    fast, slow = SGD(0.5), SGD(0.5)
    fast.build([a])
    slow.build([b])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        fast.apply([tf.constant(-1.0)], [a])
        slow.apply([tf.constant(-1.0)], [b])
        return {"a": a.value + 0.0, "b": b.value + 0.0}

    state = {"a": a.value, "b": b.value, "fast": fast, "slow": slow}
    loop = Loop(step, ArrayData(np.zeros([2, 1], np.float32), batch_size=1), state=state)
    loop.hooks.add(LearningRate(lambda step: 1.0))
    with pytest.raises(ValueError, match=r"which optimizer\? There are: 'fast', 'slow'. Write optimizer='fast', and"):
        loop.run(steps=2)
    loop.hooks.remove("learning_rate")
    loop.hooks.add(LearningRate(lambda step: 1.0 + step, optimizer="fast"))
    loop.hooks.add(LearningRate(lambda step: 0.25, optimizer="slow", name="of_slow"))
    logs = loop.run(steps=2).logs
    assert (float(a), float(b), logs["learning_rate/fast"], logs["learning_rate/slow"]) == (3.0, 0.5, 2.0, 0.25)


def test_what_cannot_be_set_is_refused_with_a_remedy_that_works() -> None:
    loop = make_loop([LearningRate(by_step)], rate=Schedule.CosineDecay(0.5, 9))
    with pytest.raises(ValueError, match=r"of 'optimizer' is a CosineDecay, .*as in SGD\(1e-3\), or leave this hook"):
        loop.run(steps=2)
    make_loop([LearningRate(by_step)], rate=1e-3).run(steps=2)
    loop.hooks.remove("learning_rate")
    loop.run(steps=2)


def test_arguments_that_cannot_be_are_refused() -> None:
    with pytest.raises(TypeError, match=r"one number, of steps or epochs, .*missing a required argument: 'rate'"):
        LearningRate(lambda epoch, rate: rate / 2)
    with pytest.raises(TypeError, match=r"a function from the number of steps to the rate.*Received: 0.1"):
        LearningRate(0.1)
    with pytest.raises(ValueError, match=r"'step' or 'epoch'. Received: 'batch'"):
        LearningRate(by_step, by="batch")
    with pytest.raises(ValueError, match=r"warmup=...\) must be zero or positive, in steps. Received: -1"):
        LearningRate(by_step, warmup=-1)
    with pytest.raises(TypeError, match=r"warmup=..., in steps"):
        LearningRate(by_step, warmup_steps=3)
    LearningRate(lambda epoch, rate=1.0: rate / 2)


def test_other_optimizers_and_two_hooks_for_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no optimizer in state= is 'adam'. There are: 'optimizer'"):
        make_loop([LearningRate(by_step, optimizer="adam")]).run(steps=1)
    with pytest.raises(ValueError, match="and hook 'learning_rate' would both set the learning rate of one optimizer"):
        make_loop([LearningRate(by_step), LearningRate(by_step, name="second")]).run(steps=1)
    alone = Loop(lambda x: {"x": x[0, 0]}, ArrayData(np.zeros([2, 1]), batch_size=1), state={})
    alone.hooks.add(LearningRate(by_step))
    with pytest.raises(ValueError, match="state= has none"):
        alone.run(steps=1)


def test_a_rate_that_is_none_is_refused_before_its_step() -> None:
    rates = [-1.0, math.nan, math.inf, "fast", None]
    loop = make_loop([LearningRate(lambda step: rates[0] if step == 3 else 1.0)])
    while rates:
        with pytest.raises(ValueError, match=f"zero or positive. Received {rates[0]!r} for step 3"):
            loop.run(steps=5)
        assert loop.step == 0  # of those that would be run in one call
        rates.pop(0)
        loop.state.position.torn = False


def test_rates_whose_computing_an_interrupt_has_cut_short_are_those_of_their_steps() -> None:
    """As in a notebook, whose next cell goes on from what was saved at that step."""
    at, raised = 0, True
    while raised:
        hook = LearningRate(lambda step: 1.0 + step)
        hook.ahead(0, 8)
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, lambda frame: True) as interrupt:
            hook.ahead(5, 8)
        assert hook.ahead(5, 8).tolist() == [*range(6, 14)], at
        at, raised = at + 1, interrupt.raised


FELL = 1.0


def falls(step: int) -> float:
    global FELL
    FELL *= 0.5
    return FELL


class Falls:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 0.5**self.calls


@pytest.mark.parametrize(("rate", "named"), [(falls, "FELL"), (Falls(), "Falls.calls")])
def test_a_rate_that_is_computed_from_the_one_before_is_told(
    rate: Callable[[int], float], named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_loop([LearningRate(rate), Checkpoint(tmp_path)]).run(epochs=1)
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage().startswith(f"Hook 'learning_rate' counts in Python what no checkpoint holds: {named}. ")
