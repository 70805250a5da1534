"""A training of one variable that is run at once, or cut into parts, each of which makes everything anew."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hooks import Checkpoint
from loop import Every, Hook, Loop
from loop.state.randomness import random_streams, untouched


class Run(NamedTuple):
    """What came of a training: a text for the values of each step, and the bits of all variables at its end."""

    steps: dict[int, str]
    bits: dict[str, bytes]


class Notes(Hook):
    """Notes the exact values of each step."""

    def __init__(self, steps: dict[int, str]) -> None:
        super().__init__()
        self._steps = steps

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for i in range(len(values["x"])):
            self._steps[first_step + i] = " ".join(float(values[name][i]).hex() for name in sorted(values))


def counting(w: tf.Variable) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a step that moves a variable by what it is given, in an order that shows."""

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.cast(tf.reduce_sum([tf.reduce_sum(tf.cast(x, tf.float64)) for x in tf.nest.flatten(batch)]), tf.float64)
        w.assign(0.5 * w + x)
        return {"x": x, "w": w.read_value()}

    return step


def run(
    make: Callable[[tf.Variable], object],
    directory: Path,
    cuts: Sequence[int],
    *hooks: Callable[[tf.Variable], Hook],
    **more: int,
) -> Run:
    """Trains up to each of some steps, all of it made anew each time.

    Args:
        make: Makes the data, given the variable that is trained.
        directory: Where checkpoints go.
        cuts: The steps.
        hooks: Make more hooks, likewise.
    """
    random_streams()  # Keras' is made once in a process, with a number that Python draws
    steps: dict[int, str] = {}
    loop: Loop | None = None
    with untouched():
        for number, until in enumerate(cuts):
            random.seed(number)
            np.random.seed(number)  # a process of its own would not have what another one had
            w = tf.Variable(0.0, dtype=tf.float64, name="w")
            given = [each(w) for each in hooks] + [Notes(steps), Checkpoint(directory, Every(steps=1), keep=2)]
            loop = Loop(counting(w), make(w), state={"w": w}, hooks=given)
            loop.run(steps=until)
    assert loop is not None
    return Run(steps, {p: v.numpy().tobytes() for p, v in loop.state.variables.items() if p != "clock/seconds"})


def same(
    make: Callable[[tf.Variable], object], directory: Path, cuts: Sequence[int], *hooks: Callable[[tf.Variable], Hook]
) -> Run:
    """Asserts that a training that is cut ends with the same bits as one that is not, and returns that."""
    whole = run(make, directory / "whole", cuts[-1:], *hooks)
    cut = run(make, directory / "cut", cuts, *hooks)
    assert cut.steps == whole.steps
    assert cut.bits == whole.bits
    return whole
