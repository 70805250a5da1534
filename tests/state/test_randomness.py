"""The random streams of the process."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData, Loop


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
