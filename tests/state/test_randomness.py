"""The random streams of the process."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Every, Hook, Loop, Moment
from loop.state.randomness import HostRandomness


@pytest.fixture
def another_generator() -> Iterator[None]:
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    yield
    np.random.set_bit_generator(before)


def test_a_generator_of_numpy_that_cannot_be_saved_is_named_with_what_to_do(another_generator: None) -> None:
    weight = tf.Variable(0.0)
    data = ArrayData(tf.range(8.0).numpy(), batch_size=2, seed=1)
    loop = Loop(lambda x: {"loss": weight.assign_add(tf.reduce_mean(x))}, data, state={"weight": weight})
    with pytest.raises(RuntimeError, match=r"come of PCG64.*Leave out np.random.set_bit_generator"):
        loop.run(epochs=1)


def test_a_run_takes_no_number_out_of_the_streams_of_the_program() -> None:
    drawn, weight = list[list[float]](), tf.Variable(0.0)
    for runs in (False, True):
        keras.utils.set_random_seed(7)
        data = ArrayData(tf.range(8.0).numpy(), batch_size=2, seed=1)
        if runs:
            Loop(lambda x: {"loss": weight.assign_add(tf.reduce_mean(x))}, data, state={"weight": weight}).run(epochs=1)
        # As of a head that is made for the second part of a training.
        drawn.append([*keras.layers.Dense(2).kernel_initializer([1, 2]).numpy().ravel(), *np.random.normal(size=2)])
    assert drawn[0] == drawn[1]


DRAWS: dict[str, Callable[[], tf.Tensor]] = {
    "tf.random": lambda: tf.random.normal([]) + tf.random.uniform([]),
    "a pipeline": lambda: next(iter(tf.data.Dataset.range(1000).shuffle(1000))),
    "keras.random": lambda: keras.random.normal([]),
    "numpy": lambda: np.random.normal(),
}


class Draws(Hook):
    """Draws at the end of each epoch, outside of any graph; or goes back once after the second."""

    def __init__(self, draw: Callable[[], tf.Tensor], *, goes_back: bool = False) -> None:
        super().__init__()
        self.draw, self._goes_back = draw, goes_back
        self.drawn = tf.Variable(tf.zeros([6], tf.float64))

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.loop = loop

    def on_epoch_end(self, moment: Moment) -> None:
        self.drawn.scatter_nd_update([[moment.epoch - 1]], [float(self.draw())])
        if self._goes_back and moment.epoch == 3:
            self._goes_back = False
            self.loop.roll_back("to try it")


def drawing(draw: Callable[[], tf.Tensor], directory: Path, *, goes_back: bool = False) -> tuple[Loop, Draws]:
    keras.utils.set_random_seed(5)
    weight, hook = tf.Variable(0.0), Draws(draw, goes_back=goes_back)
    data = ArrayData(tf.range(4.0).numpy(), batch_size=2, seed=1)
    hooks = [hook, Checkpoint(directory, Every(epochs=2))]
    return Loop(lambda x: {"loss": weight.assign_add(1.0)}, data, state={"weight": weight}, hooks=hooks), hook


@pytest.mark.parametrize("kind", DRAWS)
def test_what_a_hook_draws_outside_of_graphs_goes_on_after_a_resume(tmp_path: Path, kind: str) -> None:
    loop, whole = drawing(DRAWS[kind], tmp_path / "whole")
    loop.run(epochs=6)
    expected = whole.drawn.numpy().tolist()
    assert len({*expected}) > 3
    drawing(DRAWS[kind], tmp_path / "parts")[0].run(epochs=3)
    loop, parts = drawing(DRAWS[kind], tmp_path / "parts")
    DRAWS[kind]()  # before the run, which goes on from elsewhere
    loop.run(epochs=6)
    assert parts.drawn.numpy().tolist() == expected
    loop, back = drawing(DRAWS[kind], tmp_path / "back", goes_back=True)
    loop.run(epochs=6)
    assert back.drawn.numpy().tolist() == expected
    loop, rehearsed = drawing(DRAWS[kind], tmp_path / "rehearsed")
    loop.dry_run()
    loop.run(epochs=6)
    assert rehearsed.drawn.numpy().tolist() == expected


def test_what_an_older_checkpoint_does_not_say_stays_as_it_is() -> None:
    keras.utils.set_random_seed(5)
    streams = HostRandomness()
    saved = streams.serialize()
    assert json.loads(saved)["tensorflow"] is None
    first = float(tf.random.normal([]))
    older = {name: state for name, state in json.loads(saved).items() if name != "tensorflow"}
    second = float(tf.random.normal([]))
    streams.deserialize(saved)
    assert float(tf.random.normal([])) == first
    streams.deserialize(json.dumps(older))
    assert float(tf.random.normal([])) == second
