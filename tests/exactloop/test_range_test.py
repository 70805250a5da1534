"""find_learning_rate: the rates that it tries, what it suggests, and that nothing is left of it."""

import random
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import bits

from exactloop import find_learning_rate
from hooks import Checkpoint, LearningRate
from loop import ArrayData, Every, Hook, IndexedData, Loop, Moment, StatefulData, StreamData

SGD = keras.optimizers.SGD


class Source:
    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> "Source":
        return self

    def __next__(self) -> np.ndarray:
        self.at += 1
        return np.full([2, 1], self.at % 5, np.float32)

    def get_state(self) -> dict[str, int]:
        return {"at": self.at}

    def set_state(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def x() -> np.ndarray:
    return np.random.default_rng(2).normal(size=[10, 1]).astype(np.float32)


DATA: dict[str, Callable[[], object]] = {
    "arrays": lambda: ArrayData(x(), batch_size=2, seed=3),
    "shuffled": lambda: StreamData(tf.data.Dataset.from_tensor_slices(x()).shuffle(10).batch(2)),
    "of unknown length": lambda: StreamData(tf.data.Dataset.from_tensor_slices(x()).batch(2).filter(lambda x: True)),
    "endless": lambda: StreamData(
        tf.data.Dataset.from_tensor_slices(x()).repeat().shuffle(10, seed=4).batch(2), steps_per_epoch=5
    ),
    "indexed": lambda: IndexedData(list(x()), batch_size=2, seed=3),
    "stateful": lambda: StatefulData(Source(), steps_per_epoch=5),
}


class Events(Hook):
    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def on_steps(self, first_step: int, values: dict[str, np.ndarray]) -> None:
        self.seen += [(first_step + i, loss.tobytes()) for i, loss in enumerate(values["loss"])]

    def note(self, moment: Moment) -> None:
        self.seen.append((moment.event, moment.step, dict(moment.logs), random.random(), np.random.random()))

    on_epoch_begin = on_step_end = on_epoch_end = note


def make_loop(hooks: list[Hook], data: str = "arrays") -> Loop:
    """Returns a loop of a variable with momentum, noise, and a metric; its loss is smallest at 3."""
    keras.utils.set_random_seed(5)
    w, optimizer, noise = keras.Variable(0.0, name="w"), SGD(0.1, momentum=0.9), keras.random.SeedGenerator(4)
    optimizer.build([w])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((w.value + 0.01 * x + 0.01 * keras.random.normal([], seed=noise) - 3.0) ** 2)
        optimizer.apply(tape.gradient(loss, [w.value]), [w])
        return {"loss": loss}

    return Loop(step, DATA[data](), state={"w": w.value, "optimizer": optimizer, "noise": noise}, hooks=hooks)


def trained(data: str, *, tries: int, first: int = 0) -> object:
    """Returns all that is seen of a run of 12 steps that is cut after some, with or without a search there."""
    events = Events()
    loop = make_loop([events], data)
    if first:
        loop.run(steps=first)
    for _ in range(tries):
        before = len(events.seen)
        find_learning_rate(loop, steps=8)  # more than an epoch
        assert len(events.seen) == before
    loop.run(steps=12)
    return events.seen, bits(loop)


@pytest.mark.parametrize(("data", "first"), [
    ("arrays", 3),
    *(pytest.param(kind, at, marks=pytest.mark.long) for kind in DATA for at in (0, 3, 5)),
])  # fmt: skip
def test_nothing_is_left_of_it_whenever_it_is_done(data: str, first: int) -> None:
    """Before the first step, in mid-epoch, and at the end of an epoch."""
    assert trained(data, tries=2, first=first) == trained(data, tries=0, first=first)


def test_all_variables_and_random_states_are_put_back() -> None:
    loop = make_loop([])
    loop.run(steps=3)
    before, states = bits(loop), (random.getstate(), np.random.get_state()[1].tolist())
    result = find_learning_rate(loop, steps=8, worse=float("inf"))
    assert (bits(loop), random.getstate(), np.random.get_state()[1].tolist()) == (before, *states)
    assert len({*result.losses}) == 8


def test_rates_rise_exponentially_and_the_suggestion_is_where_the_loss_falls() -> None:
    loop = make_loop([])
    result = find_learning_rate(loop, lowest=1e-4, highest=1e2, steps=60)
    ratios = np.diff(np.log10(result.rates))
    assert result.rates[0] == 1e-4
    assert ratios == pytest.approx([6 / 59] * len(ratios))
    assert len(result.rates) == len(result.losses) == len(result.smooth) < 60  # it diverges, and so it ended
    assert 1e-3 < result.suggestion < 0.3
    lines = result.plot().splitlines()
    assert [line for line in lines if "<- suggestion" in line] != []
    assert all(float(line.split()[0]) >= 1e-4 for line in lines)


def test_by_itself_it_ends_where_nothing_is_better() -> None:
    everything = find_learning_rate(make_loop([]), lowest=1e-9, highest=1e-8, steps=12, worse=float("inf"))
    assert (len(everything.rates), everything.suggestion) == (12, None)


def test_a_loss_that_was_never_finite_is_shown_with_its_rate() -> None:
    weight, optimizer = tf.Variable(1.0), SGD(0.1)
    state = {"weight": weight, "optimizer": optimizer}
    loop = Loop(lambda x: {"loss": weight * float("nan")}, ArrayData(x(), batch_size=2), state=state)
    result = find_learning_rate(loop, lowest=1e-4)
    assert (len(result.rates), result.suggestion) == (1, None)
    assert result.plot().split() == ["1.00e-04", "nan"]


@pytest.mark.more
def test_hooks_with_a_part_in_the_compiled_loop_have_none_in_it_and_have_it_again(tmp_path: object) -> None:
    ended = []
    for tries in (0, 1):
        loop = make_loop([LearningRate(lambda step: 0.0), Checkpoint(f"{tmp_path}/{tries}")])
        loop.run(steps=3)
        for _ in range(tries):
            assert min(find_learning_rate(loop, lowest=0.01, highest=0.1, steps=9).losses) < 4 < 8
        loop.run(steps=9)
        ended.append(bits(loop))
    assert ended[0] == ended[1]


def test_what_cannot_be_is_refused_and_nothing_is_left_of_that_either() -> None:
    loop = make_loop([])
    loop.run(steps=3)
    before = bits(loop)
    with pytest.raises(ValueError, match=r"returns no 'cost', but: 'loss'. Say which: .*value=...\)"):
        find_learning_rate(loop, value="cost")
    assert bits(loop) == before
    with pytest.raises(
        ValueError, match=r"0 < lowest < highest, and at least 2 steps. Received: lowest=1, highest=0.1"
    ):
        find_learning_rate(loop, lowest=1, highest=0.1)
    with pytest.raises(ValueError, match=r"There are: 'optimizer'. Received: optimizer='adam'"):
        find_learning_rate(loop, optimizer="adam")
    errors = []

    @loop.on("run_begin")
    def within(moment: Moment) -> None:
        with pytest.raises(RuntimeError, match=r"This loop is running. Rehearse before a run or after it") as error:
            find_learning_rate(loop)
        errors.append(error)

    loop.run(steps=4)
    assert len(errors) == 1
