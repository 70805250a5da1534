"""What an attribute of a callback points at, and what is deleted, is the same after a resume, or named as lost."""

import enum
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from hooks.callbacks.things import Things
from loop import ArrayData, Loop

Logs: TypeAlias = Any
Change: TypeAlias = Callable[["Holds"], object]
ELSEWHERE: list["Phase"] = []


class Phase:
    __slots__ = ("__count", "rate", "warm")

    def __init__(self, rate: float) -> None:
        self.rate, self.__count, self.warm = rate, 0, True

    def up(self) -> int:
        self.__count += 1
        return self.__count


class Warmth(enum.Enum):
    COLD, WARM, HOT = 0, 1, 2


class Net(tf.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.v, self.level, self.seen = tf.Variable(value), 0, []


class Layer(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.count, self._hidden = 0, 0


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, step: object) -> float:
        return 0.1


class Holds(keras.callbacks.Callback):
    """Has two of each, and a name for one of them; `change` is what it does at the end of each epoch."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change, self.epoch, self.found = change, 0, 0.0
        self.phases, self.nets, self.tables = [Phase(0.1), Phase(0.2)], [Net(1.0), Net(2.0)], [[0.1], [0.2]]
        self.arrays, self.variables = [np.ones(2), np.zeros(2)], [tf.Variable(1.0), tf.Variable(2.0)]
        self.phase, self.net, self.row, self.array = self.phases[0], self.nets[0], self.tables[0], self.arrays[0]
        self.variable, self.warm = self.variables[0], True
        self.warmth, self.path = Warmth.COLD, Path("runs")

    def on_train_begin(self, logs: Logs = None) -> None:
        self.begun = [Phase(0.3), Phase(0.4)]
        self.latest = self.begun[0]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch += 1
        self.found += float(self.change(self) or 0.0)


def ended(change: Change, epochs: int, *hooks: Checkpoint) -> float:
    w = tf.Variable(0.0)
    callback = Holds(change)
    data = ArrayData(tf.range(2.0), batch_size=2)
    Loop(lambda x: {"loss": w.assign_add(1.0)}, data, state={"w": w}, hooks=[callback, *hooks]).run(epochs=epochs)
    return callback.found


def objects(holds: Holds) -> float:
    holds.phase.rate *= 1.5
    holds.phase = holds.phases[holds.epoch % 2]
    return holds.phases[0].rate + 10 * holds.phases[1].rate + 100 * holds.phase.rate


def networks(holds: Holds) -> float:
    holds.net.v.assign(holds.net.v * 1.5)
    holds.net = holds.nets[holds.epoch % 2]
    return float(holds.nets[0].v + 10 * holds.nets[1].v)


def variables(holds: Holds) -> float:
    holds.variable.assign_add(0.5)
    holds.variable = holds.variables[holds.epoch % 2]
    return float(holds.variables[0] + 10 * holds.variables[1])


def lists(holds: Holds) -> float:
    holds.row.append(len(holds.row))
    holds.row = holds.tables[holds.epoch % 2]
    return len(holds.tables[0]) + 10 * len(holds.tables[1])


def arrays(holds: Holds) -> float:
    holds.array += 0.5
    holds.array = holds.arrays[holds.epoch % 2]
    return float(holds.arrays[0][0] + 10 * holds.arrays[1][0])


def made_as_it_begins(holds: Holds) -> float:
    holds.latest.rate *= 1.5
    holds.latest = holds.begun[holds.epoch % 2]
    return holds.begun[0].rate + 10 * holds.begun[1].rate


def lists_made_later(holds: Holds) -> float:
    if holds.epoch == 1:
        holds.one = holds.other = [1.0]
        holds.random, holds.numbers = random.Random(3), np.random.default_rng(4)
    holds.one.append(holds.random.random() + holds.numbers.random())
    return sum(holds.other)


def private_slots(holds: Holds) -> float:
    return holds.phases[0].up()


def deleted(holds: Holds) -> float:
    if holds.epoch == 1:
        del holds.warm, holds.phases[0].warm
    return hasattr(holds, "warm") + 10 * hasattr(holds.phases[0], "warm")


def words_and_paths(holds: Holds) -> float:
    holds.warmth = list(Warmth)[holds.epoch % 3]
    holds.path = holds.path / f"{holds.warmth.name}{holds.path.name}"
    return len(str(holds.path)) + 100 * holds.warmth.value


KEPT = [objects, networks, variables, lists, arrays, made_as_it_begins, lists_made_later, private_slots, deleted] + [
    words_and_paths
]


LONG = [pytest.param(change, marks=pytest.mark.long) for change in KEPT[2:]]


@pytest.mark.more
@pytest.mark.parametrize("change", [*KEPT[:2], *LONG])
def test_pointers_and_deletions_are_kept(tmp_path: Path, change: Change) -> None:
    whole = ended(change, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended(change, 1, Checkpoint(tmp_path))
        assert ended(change, 3, Checkpoint(tmp_path)) == whole


def test_a_thing_that_the_callback_did_not_have_is_lost_and_fills_no_other(tmp_path: Path) -> None:
    ELSEWHERE[:], found = [Phase(5.0)], list[float]()

    def points_elsewhere(holds: Holds) -> None:
        holds.phase = ELSEWHERE[0]

    with pytest.warns(UserWarning, match=r"lose: Holds.phase \(a Phase that was not there when the run began\)"):
        ended(points_elsewhere, 1, Checkpoint(tmp_path))
    with pytest.warns(UserWarning, match=r"begun anew with: Holds.phase \(a Phase"):
        ended(lambda holds: found.append(holds.phases[0].rate), 2, Checkpoint(tmp_path))
    assert found == [0.1]


def up(holds: Holds) -> None:
    holds.thing.count += 1


IN_PYTHON: dict[str, tuple[Callable[[], object], Change]] = {
    "a Net whose attributes change": (lambda: Net(1.0), lambda holds: holds.thing.seen.append(1)),
    "a Layer whose attributes change": (Layer, up),
    "a ListWrapper whose attributes change": (lambda: Net(1.0).seen, lambda holds: holds.thing.append(1)),
    "a Schedule": (Schedule, up),
    "a MutableHashTable": (
        lambda: tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1),
        lambda holds: holds.thing.insert(tf.constant([1], tf.int64), tf.constant([1], tf.int64)),
    ),
}


LATER = [pytest.param(lost, marks=pytest.mark.long) for lost in [*IN_PYTHON][1:]]


@pytest.mark.parametrize("lost", [next(iter(IN_PYTHON)), *LATER])
def test_what_tracked_things_keep_in_python_is_named_as_lost_when_it_changes(lost: str) -> None:
    make, change = IN_PYTHON[lost]
    w, callback = tf.Variable(0.0), Holds(change)
    callback.thing = make()
    callback.dropout = keras.Sequential([keras.layers.Dense(1), keras.layers.Dropout(0.5)])  # is built, and not changed
    data = ArrayData(tf.range(2.0), batch_size=2)
    changing = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: callback.dropout(np.ones([1, 1])))
    loop = Loop(lambda x: {"loss": w.assign_add(1.0)}, data, state={"w": w}, hooks=[callback, changing])
    with pytest.warns(UserWarning, match="callbacks lose") as said:
        loop.run(epochs=1)
    ours = [each for each in said if issubclass(each.category, UserWarning)]  # and none that AutoGraph causes
    assert [str(each.message).split(". ")[0] for each in ours] == [
        f"If the run is interrupted, callbacks lose: Holds.thing ({lost})"
    ]


def test_a_variable_that_nobody_updates_is_not_copied() -> None:
    things, variable = Things(), tf.Variable(tf.ones([3]))
    things.name(variable, ".variable")
    first = things.view(variable)
    assert things.view(variable) is first
    variable.assign_add([1.0, 1.0, 1.0])
    assert (first.tolist(), things.view(variable).tolist()) == ([1.0] * 3, [2.0] * 3)
