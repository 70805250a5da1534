"""What yields batches may take something when it is made, such as a level that hooks set as epochs end."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Hook, IndexedData, Loop, Moment, StatefulData


class Raises(keras.callbacks.Callback):
    """A level in Python, which the callback's own attributes are saved with."""

    def __init__(self) -> None:
        super().__init__()
        self.level = 1.0

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.level += 0.5


class RaisesBoth(Hook):
    """A level in a variable, and one that `get_state` returns."""

    def __init__(self) -> None:
        super().__init__()
        self.variable, self.state = tf.Variable(1.0), 1.0

    def on_epoch_end(self, moment: Moment) -> None:
        self.variable.assign_add(0.5)
        self.state += 0.5

    def get_state(self) -> object:
        return {"state": self.state}

    def set_state(self, state: dict) -> None:
        self.state = state["state"]


class Batches:
    """Three batches, times a level that is taken once."""

    def __init__(self, level: float) -> None:
        self.level, self.n = level, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        if self.n == 3:
            raise StopIteration
        self.n += 1
        return np.float32([self.n * self.level])

    def get_state(self) -> object:
        return {"n": self.n}

    def set_state(self, state: dict) -> None:
        self.n = state["n"]


class Loader:
    """Is iterated anew, and says itself where it is."""

    def __init__(self, levels: "Levels", by: str) -> None:
        self.levels, self.by, self.n = levels, by, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        first, self.n, level = self.n, 0, self.levels.of(self.by)
        for n in range(first, 3):
            self.n = n + 1
            yield np.float32([(n + 1) * level])
        self.n = 0

    def state_dict(self) -> object:
        return {"n": self.n}

    def load_state_dict(self, state: dict) -> None:
        self.n = state["n"]


class Items:
    """Takes the level as a pass begins."""

    def __init__(self, one: Raises) -> None:
        self.one, self.level = one, 1.0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> np.ndarray:
        return np.float32([(i + 1) * self.level])

    def on_epoch_begin(self) -> None:
        self.level = self.one.level


class Levels:
    """The hooks that have a level."""

    def __init__(self) -> None:
        self.callback, self.hook = Raises(), RaisesBoth()

    def of(self, by: str) -> float:
        return self.callback.level if by == "callback" else float(getattr(self.hook, by))


def run(directory: Path, by: str, source: str, *cuts: int) -> float:
    """Trains up to each of some steps, with everything made anew, and returns what tells the order of all batches."""
    for steps in cuts:
        levels, total = Levels(), tf.Variable(0.0)
        data = {
            "function": lambda levels=levels: StatefulData(lambda epoch: Batches(levels.of(by))),
            "cut": lambda levels=levels: StatefulData(lambda epoch: Batches(levels.of(by)), steps_per_epoch=3),
            "loader": lambda levels=levels: StatefulData(Loader(levels, by)),
            "items": lambda one=levels.callback: IndexedData(Items(one), batch_size=None, shuffle=False),
            "ahead": lambda one=levels.callback: StatefulData(lambda epoch: Batches(one.level), prefetch=2),
        }[source]()

        def step(batch: tf.Tensor, total: tf.Variable = total) -> dict[str, tf.Tensor]:
            return {"total": total.assign(0.5 * total + batch[0])}

        hooks = [levels.callback, levels.hook, Checkpoint(directory)]
        Loop(step, data, state={"total": total}, hooks=hooks).run(steps=steps)
    return float(total)


SAMPLES = [("variable", "function"), ("callback", "cut"), ("callback", "loader"), ("callback", "items")]
MORE = [
    ("state", "function"),
    ("callback", "function"),
    ("variable", "cut"),
    ("state", "loader"),
    ("callback", "ahead"),
]


@pytest.mark.parametrize(("by", "source"), [*SAMPLES, *(pytest.param(*each, marks=pytest.mark.more) for each in MORE)])
def test_what_is_made_on_a_resume_has_the_level_that_hooks_had(tmp_path: Path, by: str, source: str) -> None:
    whole = run(tmp_path / "whole", by, source, 11)
    assert run(tmp_path / "cut", by, source, 4, 5, 8, 9, 11) == whole
