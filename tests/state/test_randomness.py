"""The random streams of the process."""

from collections.abc import Iterator

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
