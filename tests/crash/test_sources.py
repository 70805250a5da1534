"""Mistakes that are planted where sources in Python are read and saved: a run that is cut has to show each of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from cuts import same
from planting import Bug, planted

import loop
from loop import Hook, Moment

AHEAD, INDEXED, STATEFUL = "loop.data.python.ahead", "loop.data.indexed", "loop.data.stateful"
BUGS = [
    Bug("the state is that of what was read ahead", STATEFUL, " if behind is None else behind\n", "\n"),
    Bug("the batch that tells whether it was the last is forgotten", STATEFUL,
        "None if self._prefetch or self._wanted is None else", "None and"),
    Bug("a pass is taken up at its beginning", STATEFUL, "self._epoch, self._next, self._open = place.epoch, place.step_in_epoch,",
        "self._epoch, self._next, self._open = place.epoch, 0,"),
    Bug("what is read ahead draws what it likes", STATEFUL, "        if self._reader.draws:\n", "        if False:\n"),
    Bug("the order is that of the first epoch", INDEXED, "self._order = self._order_in(self._epoch)",
        "self._order = self._order_in(0 if self._next else self._epoch)"),
    Bug("what Python changes is saved as it is in mid-pass", "loop.data.objects.around",
        "self._begun.decoded() if is_open else now, now", "now, now"),
    Bug("generators in lists are not seen", "loop.data.objects.slots", "_entry(thing, i)) for i in range(len(thing))",
        "_entry(thing, i)) for i in range(0)"),
    Bug("the order is begun anew", INDEXED, "place.epoch, place.step_in_epoch, bool", "place.epoch, 0, bool"),
    Bug("what changes between passes is not saved", INDEXED, "        if not self._progress.changes:\n            return None\n        # Once",
        "        return None\n        # Once"),
    Bug("threads leave their random numbers behind", AHEAD, "            if self.draws or host() != before:\n                put_back(before)\n",
        "            if self.draws or host() != before:\n"),
    Bug("the states of hooks are not saved", "loop.running.parts", "                if has_state(each)\n", "                if False\n"),
]  # fmt: skip


class Noise:
    """An iterator that draws from the process's random numbers, and ends."""

    def __init__(self) -> None:
        self.n = 0

    def __iter__(self) -> "Noise":
        return self

    def __next__(self) -> np.ndarray:
        if self.n == 5:
            raise StopIteration
        self.n += 1
        return np.array([self.n + np.random.normal()])

    def get_state(self) -> int:
        return self.n

    def set_state(self, state: int) -> None:
        self.n = state


class Items:
    """Noisy items that are permuted after each epoch."""

    def __init__(self) -> None:
        self.order = [*range(6)]

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> float:
        return self.order[i] + np.random.normal()

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


class Rows:
    """Shuffles its rows in place, with a generator that is in a list."""

    def __init__(self) -> None:
        self.rows, self.generators = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [np.random.default_rng(3)]

    def __iter__(self) -> Iterator[float]:
        self.generators[0].shuffle(self.rows)
        yield from self.rows


class Permuted(Rows):
    """The same, after each pass."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> float:
        return self.rows[i]

    def on_epoch_end(self) -> None:
        self.generators[0].shuffle(self.rows)


class Counts(Hook):
    """Counts in Python, draws, and sets what is trained."""

    every = loop.Every(steps=1)

    def __init__(self, w: tf.Variable) -> None:
        super().__init__()
        self.count, self._w = 0, w

    def on_step_end(self, moment: Moment) -> None:
        self.count += 1
        self._w.assign_add(self.count + np.random.random())

    def get_state(self) -> int:
        return self.count

    def set_state(self, state: int) -> None:
        self.count = state


SOURCES: list[Callable[[tf.Variable], object]] = [
    lambda w: loop.StatefulData(lambda epoch: Noise()),
    lambda w: loop.StatefulData(lambda epoch: Noise(), prefetch=2),
    lambda w: loop.StatefulData(lambda epoch: Noise(), steps_per_epoch=4),
    lambda w: loop.IndexedData(Items(), batch_size=2, seed=1),
    lambda w: loop.IndexedData(Items(), batch_size=2, seed=1, prefetch=0),
    lambda w: loop.IndexedData(Permuted(), batch_size=2, seed=1),
    lambda w: loop.StreamData(tf.data.Dataset.from_generator(Rows().__iter__, tf.float64, []).batch(2)),
]


def check(directory: Path) -> None:
    for number, source in enumerate(SOURCES):
        same(source, directory / str(number), [2, 5, 8], Counts)


@pytest.mark.long
def test_sources_without_a_mistake_go_on_exactly(tmp_path: Path) -> None:
    check(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_mistake_in_reading_a_source_is_caught(bug: Bug, tmp_path: Path) -> None:
    with planted(bug), pytest.raises((AssertionError, ValueError, RuntimeError, LookupError)):
        check(tmp_path)
