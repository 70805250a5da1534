"""What sources change between passes, wherever it is: in globals, classes, closures, lists, modules of the program."""

import collections
import itertools
import random
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import places
import pytest
import tensorflow as tf
from cuts import counting, same

from loop import IndexedData, InexactRun, Loop
from loop.data.objects.slots import slots

RNG, COUNT = np.random.default_rng(0), 0


def turned(rng: np.random.Generator, numbers: list[int]) -> None:
    rng.shuffle(numbers)


class Numbers:
    """Six items; what `turn` does after each pass decides which."""

    passes = 0

    def __init__(self, turn: Callable[["Numbers"], object]) -> None:
        self.numbers, self._turn = [1, 2, 4, 8, 16, 32], turn
        self.generators = [np.random.default_rng(7), random.Random(7)]
        self.queue, self.seen = collections.deque(range(6)), collections.Counter[int]()
        self.stream: Iterator[int] = itertools.cycle(range(5))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> float:
        return float(self.numbers[i])

    def on_epoch_end(self) -> None:
        self._turn(self)


def by_global(source: Numbers) -> None:
    RNG.shuffle(source.numbers)


def by_helper(source: Numbers) -> None:
    turned(RNG, source.numbers)


def by_counter(source: Numbers) -> None:
    global COUNT
    COUNT += 1
    source.numbers = np.roll(source.numbers, COUNT).tolist()


def by_class(source: Numbers) -> None:
    Numbers.passes += 1
    source.numbers = np.roll(source.numbers, Numbers.passes).tolist()


def by_listed(source: Numbers) -> None:
    source.generators[0].shuffle(source.numbers)
    source.generators[1].shuffle(source.numbers)


def by_queue(source: Numbers) -> None:
    source.queue.rotate(1)
    source.seen[source.queue[0]] += 1
    source.numbers = [2**n + source.seen[n] for n in source.queue]


def by_module(source: Numbers) -> None:
    places.turns = getattr(places, "turns", 0) + 1
    source.numbers = np.roll(source.numbers, places.turns).tolist()


def by_closure() -> Callable[[Numbers], None]:
    rng = np.random.default_rng(3)

    def turn(source: Numbers) -> None:
        rng.shuffle(source.numbers)

    return turn


def as_in_a_new_process() -> None:
    global RNG, COUNT
    RNG, COUNT, Numbers.passes = np.random.default_rng(0), 0, 0
    places.turns = 0


TURNS = {
    "a global generator": lambda: by_global,
    "one that a function is given": lambda: by_helper,
    "a global counter": lambda: by_counter,
    "an attribute of the class": lambda: by_class,
    "generators in a list": lambda: by_listed,
    "a deque and a Counter": lambda: by_queue,
    "an attribute of a module": lambda: by_module,
    "a generator in a closure": by_closure,
}


@pytest.mark.more
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_what_is_changed_between_passes_is_kept_wherever_it_is(turn: Callable, tmp_path: Path) -> None:
    def made(w: tf.Variable) -> IndexedData:
        as_in_a_new_process()
        return IndexedData(Numbers(turn()), batch_size=3, shuffle=False)

    whole = same(made, tmp_path, [3, 8])
    assert len({whole.steps[step].split()[-1] for step in (1, 3, 5, 7)}) > 2


def test_what_goes_on_where_nobody_can_see_it_is_refused() -> None:
    def by_stream(source: Numbers) -> None:
        source.numbers = np.roll(source.numbers, next(source.stream)).tolist()

    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), IndexedData(Numbers(by_stream), batch_size=3), state={"w": w})
    with pytest.raises(InexactRun, match=r"change, from pass to pass, what no checkpoint holds: stream"):
        loop.run(epochs=1)


def test_slots_of_a_program_end_and_name_everything_once() -> None:
    ring = types.SimpleNamespace(items=[1])
    ring.itself, ring.items = ring, [ring]
    source = Numbers(lambda source: ring.items)
    source.ring = ring
    paths = slots(source)
    assert ("generators", "[0]") in paths
    assert len(paths) < 200


class Turning:
    """Six items in an order; `turn` makes another one after each pass."""

    def __init__(self, turn: Callable[["Turning"], object]) -> None:
        self.all = 2.0 ** np.arange(6)
        self.order, self.rows = self.all, [*range(6)]
        self.spaces, self.turn = types.SimpleNamespace(passes=0), turn
        self.rng: np.random.Generator | None = None
        self.paths = [Path(f"{2**i}") for i in range(6)]

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> float:
        return float(self.order[self.rows[i]])

    def on_epoch_end(self) -> None:
        self.turn(self)


def to_an_order_of_all(source: Turning) -> None:
    source.order = np.random.permutation(source.all)


def by_namespace(source: Turning) -> None:
    source.spaces.passes += 1
    source.order = np.roll(source.all, source.spaces.passes)


def by_default(source: Turning, passes: list[int] = [0]) -> None:  # noqa: B006
    passes[0] += 1
    source.order = np.roll(source.all, passes[0])


def by_attribute(source: Turning) -> None:
    by_attribute.passes += 1
    source.order = np.roll(source.all, by_attribute.passes)


def by_late_generator(source: Turning) -> None:
    if source.rng is None:
        source.rng = np.random.default_rng(1)
    source.order = source.rng.permutation(source.all)


def to_one_that_others_have(source: Turning) -> None:
    source.order = source.best = np.random.permutation(source.all)


def to_other_paths(source: Turning) -> None:
    random.shuffle(source.paths)
    source.order = np.float64([str(path) for path in source.paths])


@pytest.mark.more
@pytest.mark.parametrize("turn", [to_an_order_of_all, by_namespace, by_default, by_attribute])
def test_what_others_have_too_and_what_is_out_of_the_way_is_kept(turn: Callable, tmp_path: Path) -> None:
    def made(w: tf.Variable) -> IndexedData:
        by_default.__defaults__[0][:], by_attribute.passes = [0], 0  # as in a new process
        return IndexedData(Turning(turn), batch_size=3, shuffle=False)

    whole = same(made, tmp_path, [3, 8])
    assert len({whole.steps[step].split()[-1] for step in (1, 3, 5, 7)}) > 2


@pytest.mark.parametrize(
    ("turn", "lost"), [(by_late_generator, "rng"), (to_one_that_others_have, "order, best"), (to_other_paths, "paths")]
)
def test_what_cannot_be_kept_is_named(turn: Callable, lost: str) -> None:
    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), IndexedData(Turning(turn), batch_size=3), state={"w": w})
    with pytest.raises(InexactRun, match=rf"change, from pass to pass, what no checkpoint holds: {lost}\n"):
        loop.run(epochs=1)
