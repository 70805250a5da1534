"""A function in NumPy that was told to have no state, and draws."""

import numpy as np
import tensorflow as tf

from loop.rebuilt.pipeline import ByPass


def test_a_function_that_draws_though_it_was_told_to_have_no_state_draws_the_same_again() -> None:
    drawn = tf.data.Dataset.range(4).map(
        lambda x: tf.numpy_function(lambda x: x + np.random.rand(), [x], tf.float64, stateful=False)
    )
    by_pass = ByPass(drawn)
    first, again, second = ([*by_pass.of(1, number).as_numpy_iterator()] for number in (0, 0, 1))
    assert first == again
    assert first != second
