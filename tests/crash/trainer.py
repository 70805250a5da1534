"""A small real training that can be started again and again in one process, as if each start were a new one."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from watched import Watch, Watched

import hooks
import hooks.checkpoint.hook
from loop import ArrayData, Every, Hook, Loop, Moment, StreamData, supervised
from loop.state.captured import StateValues

STEPS, STEPS_PER_EPOCH = 10, 4
EVERY_2 = {"every": Every(steps=2), "keep": 9}


class Diary(Hook):
    """Notes where a life began, the exact values of each of its steps, and a number that Python draws after it."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.values = -1, dict[int, str]()

    def on_run_begin(self, moment: Moment) -> None:
        self.begun = moment.step

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        rows = np.stack([values[name] for name in sorted(values)], axis=1)
        self.values |= {first_step + i: row.tobytes().hex() for i, row in enumerate(rows)}

    def on_step_end(self, moment: Moment) -> None:
        self.values[moment.step] += f" {random.random()}"


class Life(NamedTuple):
    """What came of one start: the step it began with, the values of its steps, and every variable at its end."""

    begun: int
    values: dict[int, str]
    bits: dict[str, bytes]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Returns features, float32 [16, 3], and targets, float32 [16, 1]."""
    x = np.random.default_rng(5).normal(size=[16, 3]).astype(np.float32)
    return x, x.sum(axis=1, keepdims=True)


def array_data() -> ArrayData:
    return ArrayData(arrays(), batch_size=4, seed=3)


def stream_data() -> StreamData:
    rows = tf.data.Dataset.from_tensor_slices(arrays())
    return StreamData(lambda epoch: rows.shuffle(16, seed=epoch).batch(4))


def make_loop(data: ArrayData | StreamData) -> Loop:
    """Returns a loop over a network with dropout, momentum, and gradients accumulated over two steps."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([3]), *layers])
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    train_step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    return Loop(train_step, data, state={"model": model, "optimizer": optimizer})


class Rewind(Hook):
    """Puts everything back to how it was when it was first set up."""

    def __init__(self) -> None:
        super().__init__()
        self._held: StateValues | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        if self._held is None:
            self._held = loop.state.capture()
        loop.state.rollback(self._held)
        loop.state.position.torn = False


class Trainer:
    """A loop that can be started from its very beginning again and again.

    Attributes:
        whole: The life of an uninterrupted run without checkpoints.
    """

    def __init__(self, data: Callable[[], ArrayData | StreamData] = array_data) -> None:
        self.loop = make_loop(data())
        self.loop.hooks.add(Rewind())
        self.whole = self._live()

    def live(
        self, directory: Path, *others: Hook, steps: int = STEPS, watch: Watch | None = None, **kinds: object
    ) -> Life:
        """Starts as a new process would, with what is in the directory.

        Args:
            directory: Where checkpoints are, and go.
            others: More hooks, before the checkpoint's.
            steps: When the life ends.
            watch: Told of each operation on the files.
            kinds: Arguments of `Checkpoint`.
        """
        checkpoint = hooks.checkpoint.hook.Checkpoint(directory, **EVERY_2 | kinds)
        uses = type(checkpoint).on_setup.__globals__  # of the class as it is now, with or without a planted bug
        open_files = uses["open_files"]
        if watch is not None:
            uses["open_files"] = lambda path, *, make=True: Watched(open_files(path, make=make), watch)
        try:
            return self._live(*others, checkpoint, steps=steps)
        finally:
            uses["open_files"] = open_files

    def loss(self, step: int) -> float:
        """Returns the loss of a step of the uninterrupted run."""
        (value,) = np.frombuffer(bytes.fromhex(self.whole.values[step].split()[0]), np.float32)
        return float(value)

    def _live(self, *others: Hook, steps: int = STEPS) -> Life:
        diary = Diary()
        for hook in (diary, *others):
            self.loop.hooks.add(hook)
        try:
            self.loop.run(steps=steps)
        finally:
            for hook in (diary, *others):
                self.loop.hooks.remove(hook.name)
        own = ("clock/", "hooks/")
        variables = self.loop.state.variables.items()
        return Life(diary.begun, diary.values, {p: v.numpy().tobytes() for p, v in variables if not p.startswith(own)})
