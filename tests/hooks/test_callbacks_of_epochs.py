"""What callbacks make anew at the beginning of an epoch is there, and is what it was, when a run goes on within it."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Every, Loop

Logs: TypeAlias = Any
STEPS = 3  # an epoch


class Clock:
    def __init__(self) -> None:
        self.ticks: list[int] = []


class Counts(keras.callbacks.Callback):
    """Counts in an object of its own, a variable and a metric, all of them new in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []
        self.before: Clock | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.before = getattr(self, "clock", None)
        self.clock, self.variable, self.mean = Clock(), tf.Variable(0.0), keras.metrics.Mean()
        self.first = getattr(self, "first", None) or Clock()  # made in the first epoch only

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.clock.ticks.append(batch)
        self.first.ticks.append(batch)
        self.variable.assign_add(float(batch))
        self.mean.update_state(logs["loss"])

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        before = self.before and [*self.before.ticks]
        numbers = float(self.variable), float(self.mean.result())
        self.found.append(([*self.clock.ticks], before, len(self.first.ticks), numbers))


class Bar(keras.callbacks.Callback):
    """Shows something, with a thing of Keras' that cannot be saved, and asks nobody to keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.bar = keras.utils.Progbar(STEPS, verbose=0)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.bar.update(batch)
        self.found += 1


def run(callback: keras.callbacks.Callback, steps: int, hooks: Sequence[Checkpoint] = ()) -> list[object]:
    w = tf.Variable(0.0)
    data = ArrayData(tf.range(2.0 * STEPS), batch_size=2)
    Loop(lambda x: {"loss": w.assign_add(1.0)}, data, state={"w": w}, hooks=[callback, *hooks]).run(steps=steps)
    return callback.found


@pytest.mark.more
@pytest.mark.parametrize("kind", [Counts, Bar])
def test_what_is_made_as_an_epoch_begins_goes_on_wherever_a_run_is_cut(
    tmp_path: Path, kind: type[keras.callbacks.Callback]
) -> None:
    whole = run(kind(), 4 * STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cut in range(1, 3 * STEPS):
            run(kind(), cut, [Checkpoint(tmp_path / f"{cut}", Every(steps=1))])
            assert run(kind(), 4 * STEPS, [Checkpoint(tmp_path / f"{cut}", Every(steps=1))]) == whole, cut
