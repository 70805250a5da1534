"""Sources that say where they are, and go on from there."""

import random
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from cuts import counting, run, same

from hooks import Checkpoint
from loop import Evaluation, Event, Every, Hook, InexactRun, Loop, Moment, StatefulData
from loop.state.randomness import untouched


class Numbers:
    """An iterator over numbers with a state, one stream without end unless a length is given."""

    def __init__(self, length: int | None = None, first: int = 0) -> None:
        self.length, self.n, self.first = length, 0, first

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> np.ndarray:
        if self.n == self.length:
            raise StopIteration
        self.n += 1
        return np.array([self.first + self.n, self.n], "float32")

    def get_state(self) -> object:
        return {"n": self.n}

    def set_state(self, state: dict) -> None:
        self.n = state["n"]


class Play(Numbers):
    """An environment with a buffer, which is filled by what is trained, and draws from the process's own streams."""

    def __init__(self, w: tf.Variable, length: int | None = None) -> None:
        super().__init__(length)
        self.w, self.buffer, self.seen = w, np.zeros([5], "float32"), []

    def __next__(self) -> np.ndarray:
        place = int(super().__next__()[1]) % 5
        self.seen.append(float(self.w))
        self.buffer[place] = float(self.w) / 8 + np.random.normal() + random.random()
        return self.buffer

    def get_state(self) -> object:
        return {"n": self.n, "buffer": self.buffer}

    def set_state(self, state: dict) -> None:
        self.n, self.buffer = state["n"], state["buffer"]


class Rows:
    """What is iterated anew in each epoch; its iterators have a state."""

    def __iter__(self) -> Numbers:
        return Numbers(5)


class Loader:
    """A loader whose state is its own, with a shuffle that goes on from epoch to epoch."""

    def __init__(self) -> None:
        self.rng, self.at, self.order = np.random.default_rng(1), 0, np.arange(5)
        self.goes_on = False

    def __iter__(self) -> Iterator[np.ndarray]:
        if not self.goes_on:
            self.at, self.order = 0, self.rng.permutation(5)
        self.goes_on = False
        return self.batches()

    def batches(self) -> Iterator[np.ndarray]:
        while self.at < 5:
            self.at += 1
            yield np.array([self.order[self.at - 1]], "float32")

    def state_dict(self) -> dict[str, object]:
        return {"at": self.at, "order": self.order, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict) -> None:
        self.at, self.order, self.goes_on = state["at"], state["order"], state["at"] < 5
        self.rng.bit_generator.state = state["rng"]


class Draws(Numbers):
    """Draws from generators that are in the training state, one of which nobody has given."""

    def __init__(self, *generators: object) -> None:
        super().__init__()
        self.seeds, self.generator = generators

    def __next__(self) -> np.ndarray:
        drawn = keras.random.normal([2], seed=self.seeds) + keras.random.normal([2]) + self.generator.normal([2])
        return super().__next__() + drawn.numpy()


class Sets(Hook):
    """Sets what is trained, after each third step."""

    every = Every(steps=3)

    def __init__(self, w: tf.Variable) -> None:
        super().__init__()
        self._w = w

    def on_step_end(self, moment: Moment) -> None:
        self._w.assign(moment.step)


def loop_over(data: object) -> Loop:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    return Loop(counting(w), data, state={"w": w})  # type: ignore[arg-type]


SOURCES = {
    "an iterator": lambda w: StatefulData(Numbers(), steps_per_epoch=5),
    "one that ends": lambda w: StatefulData(Rows()),
    "one that ends, and is cut": lambda w: StatefulData(Rows(), steps_per_epoch=4),
    "a loader": lambda w: StatefulData(Loader(), steps_per_epoch=5),
    "a function of the epoch": lambda w: StatefulData(lambda epoch: Numbers(4 + epoch, first=10 * epoch)),
    "what sees the weights": lambda w: StatefulData(Play(w), steps_per_epoch=5),
    "what sees the weights, and ends": lambda w: StatefulData(lambda epoch: Play(w, 5)),
    "an iterator that is read ahead": lambda w: StatefulData(Numbers(), steps_per_epoch=5, prefetch=2),
    "one that ends, and is read ahead": lambda w: StatefulData(Rows(), prefetch=3),
    "one that draws, and is read ahead": lambda w: StatefulData(Play(tf.Variable(1.0)), steps_per_epoch=5, prefetch=2),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_goes_on_exactly_wherever_it_is_cut(kind: str, tmp_path: Path) -> None:
    whole = same(SOURCES[kind], tmp_path, [3, 10, 12])
    assert len(whole.steps) == 12


@pytest.mark.long
@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_goes_on_exactly_from_each_step(kind: str, tmp_path: Path) -> None:
    same(SOURCES[kind], tmp_path, [*range(1, 14)])


@pytest.mark.more
def test_next_is_called_in_the_order_of_steps_and_sees_what_is_trained_and_what_hooks_set(tmp_path: Path) -> None:
    plays: list[Play] = []

    def make(w: tf.Variable) -> StatefulData:
        plays.append(Play(w))
        return StatefulData(plays[-1], steps_per_epoch=4)

    whole = run(make, tmp_path / "whole", [10], Sets)
    after = [float.fromhex(whole.steps[step].split()[0]) for step in range(1, 10)]
    set_to = [float(step) if step % 3 == 0 else w for step, w in enumerate(after, 1)]
    assert plays[0].seen[-10:] == [0.0, *set_to]
    cut = run(make, tmp_path / "cut", [2, 3, 7, 10], Sets)
    assert cut == whole


@pytest.mark.more
def test_what_is_drawn_from_generators_in_the_training_state_is_exact(tmp_path: Path) -> None:
    def train(cuts: list[int], directory: Path) -> float:
        for steps in cuts:
            keras.utils.set_random_seed(4)
            w, seeds = tf.Variable(0.0, dtype=tf.float64), keras.random.SeedGenerator(1)
            state = {"w": w, "seeds": seeds, "generator": tf.random.Generator.from_seed(2)}
            data = StatefulData(Draws(seeds, state["generator"]), steps_per_epoch=3)
            Loop(counting(w), data, state=state, hooks=[Checkpoint(directory, Every(steps=1))]).run(steps=steps)
        return float(w)

    with untouched():
        assert train([7], tmp_path / "whole") == train([2, 3, 7], tmp_path / "cut")


def test_the_state_that_is_saved_is_that_behind_the_batch_that_was_trained() -> None:
    source = Numbers()
    data = StatefulData(source, steps_per_epoch=20, prefetch=3)
    loop, seen = loop_over(data), []

    @loop.on(Event.STEP_END, every=Every(steps=1))
    def look(moment: Moment) -> None:
        seen.append((moment.step, source.n))

    loop.run(steps=6)
    assert {step <= n <= step + 3 for step, n in seen} == {True}
    source.n = 17
    back = data.capture()
    back()
    assert source.n == 6


def test_what_a_state_cannot_be_is_said_when_the_data_are_made() -> None:
    class Odd(Numbers):
        def get_state(self) -> object:
            return {"n": 1, "others": [2, {"rng": np.random.default_rng(1)}]}

    with pytest.raises(TypeError, match=r"Odd is saved as JSON.*at state\['others'\]\[1\]\['rng'\]: a generator"):
        StatefulData(Odd(), steps_per_epoch=3)


class Forgets(Numbers):
    """Does not hold in its state what it draws from."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(1)

    def __next__(self) -> np.ndarray:
        return super().__next__() + self.rng.normal()


class Remembers(Forgets):
    def get_state(self) -> object:
        return {"n": self.n, "rng": self.rng.bit_generator.state}

    def set_state(self, state: dict) -> None:
        self.n, self.rng.bit_generator.state = state["n"], state["rng"]


class Drawn(Numbers):
    def __next__(self) -> np.ndarray:
        return super().__next__() + np.random.normal()


@pytest.mark.more
def test_a_state_that_leaves_something_out_is_refused_and_the_remedies_work(tmp_path: Path) -> None:
    with pytest.raises(InexactRun, match="go on from another state, when they are taken back to a state") as raised:
        loop_over(StatefulData(Forgets(), steps_per_epoch=3)).run(steps=1)
    assert "rng.bit_generator.state" in str(raised.value)
    assert "numpy.random or random needs none" in str(raised.value)
    for number, source in enumerate((Remembers, Drawn)):
        same(lambda w, s=source: StatefulData(s(), steps_per_epoch=3), tmp_path / str(number), [2, 5])


def test_a_generator_that_is_used_later_than_it_is_tried_is_seen() -> None:
    class Late(Forgets):
        def __next__(self) -> np.ndarray:
            drawn = self.rng.random() < 0.5  # which shows in nothing before the hundredth batch
            return Numbers.__next__(self) + (drawn if self.n > 100 else 0)

    with pytest.raises(InexactRun, match="when they are taken back to a state"):
        loop_over(StatefulData(Late(), steps_per_epoch=3)).run(steps=1)


class Anew:
    """Yields something else each time it is iterated."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Numbers:
        self.times += 1
        return Numbers(3, first=self.times)


@pytest.mark.more
def test_what_depends_on_how_often_it_was_iterated_is_refused_and_the_remedies_work(tmp_path: Path) -> None:
    with pytest.raises(InexactRun, match="yield something else when an epoch is begun again") as raised:
        loop_over(StatefulData(Anew())).run(steps=1)
    assert "StatefulData(iter(source), steps_per_epoch=...)" in str(raised.value)
    same(lambda w: StatefulData(iter(Anew()), steps_per_epoch=3), tmp_path / "iterator", [2, 3])
    same(lambda w: StatefulData(lambda epoch: Numbers(3, first=epoch)), tmp_path / "function", [2, 5])


def test_a_source_that_sees_what_is_trained_is_not_read_ahead() -> None:
    w = tf.Variable(0.0, dtype=tf.float64)
    with pytest.raises(InexactRun, match="are read ahead") as raised:
        Loop(counting(w), StatefulData(Play(w), steps_per_epoch=3, prefetch=1), state={"w": w}).run(steps=1)
    assert "prefetch=0" in str(raised.value)


def test_one_object_is_read_by_one_loop() -> None:
    source = Rows()
    rows = StatefulData(source)
    loop_over(rows)
    with pytest.raises(InexactRun, match="another loop or evaluation reads"):
        loop_over(StatefulData(source)).run(steps=1)
    assert loop_over(StatefulData(Rows())).run(steps=1).step == 1


def test_an_evaluation_takes_what_is_begun_anew_and_no_stream_that_goes_on() -> None:
    w = tf.Variable(0.0, dtype=tf.float64)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"x": tf.reduce_sum(batch)}

    with pytest.raises(ValueError, match="one stream without end"):
        Evaluation(step, StatefulData(Numbers(), steps_per_epoch=3))
    evaluation = Evaluation(step, StatefulData(Rows()))
    loop = Loop(counting(w), StatefulData(Rows()), state={"w": w}, evaluate=evaluation)
    values = [loop.run(epochs=epoch).logs["val_x"] for epoch in (1, 2)]
    assert values == [6.0, 6.0]


def test_a_source_that_is_over_too_soon_says_where() -> None:
    with pytest.raises(ValueError, match="Numbers is over after 4 batches of epoch 2, before the 5 of an epoch"):
        loop_over(StatefulData(Numbers(9), steps_per_epoch=5)).run(epochs=3)
    with pytest.raises(ValueError, match="yields nothing"):
        StatefulData(Numbers(0))


@pytest.mark.parametrize(
    ("given", "kinds", "said"),
    [
        (iter([1.0]), {}, "cannot say where it is"),
        ([1.0], {}, "cannot say where it is"),
        (Numbers, {}, "It is a class: write Numbers"),
        (lambda: Numbers(), {}, "lambda epoch"),
        (3, {}, "needs an iterator of batches"),
        (Numbers(), {"steps_per_epoch": 0}, "must be at least 1"),
        (Numbers(), {"batch_size": 3}, "the source yields batches"),
    ],
)
def test_what_is_no_source_is_said_with_what_to_write(given: object, kinds: dict[str, int], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        StatefulData(given, **kinds)  # type: ignore[arg-type]


def test_a_batch_of_another_kind_is_an_error_that_names_it() -> None:
    class Turns(Numbers):
        def __next__(self) -> object:
            return super().__next__() if self.n < 3 else (super().__next__(), 1)

    with pytest.raises(ValueError, match=r"Batch 3 of Turns is .float32 .2,., int64 .*element_spec="):
        loop_over(StatefulData(Turns(), steps_per_epoch=9)).run(steps=9)


def test_what_a_source_raises_is_raised_with_its_line() -> None:
    class Breaks(Numbers):
        def __next__(self) -> np.ndarray:
            if self.n == 3:
                raise ConnectionError("the server is gone")
            return super().__next__()

    for prefetch in (0, 2):
        loop = loop_over(StatefulData(Breaks(), steps_per_epoch=9, prefetch=prefetch))
        with pytest.raises(ConnectionError, match="the server is gone") as raised:
            loop.run(steps=9)
        assert loop.step == 3
        assert raised.traceback[-1].name == "__next__"


def test_grain_goes_on_exactly(tmp_path: Path) -> None:
    grain = pytest.importorskip("grain")

    def rows(epoch: int) -> object:
        return grain.MapDataset.range(10).seed(epoch).shuffle().map(np.float32).to_iter_dataset().batch(3)

    def loader(w: tf.Variable) -> StatefulData:
        sampler = grain.samplers.IndexSampler(10, seed=1, num_epochs=None, shuffle=True)
        source = grain.sources.RangeDataSource(0, 10, 1)
        made = grain.DataLoader(data_source=source, sampler=sampler, operations=[grain.transforms.Batch(3)])
        return StatefulData(iter(made), steps_per_epoch=4)

    same(lambda w: StatefulData(rows, prefetch=2), tmp_path / "of epochs", [2, 6])
    same(lambda w: StatefulData(rows(0)), tmp_path / "dataset", [2, 6])
    same(loader, tmp_path / "loader", [2, 6])
