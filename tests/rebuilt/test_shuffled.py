"""The order of a shuffle, made at once, is that of TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from loop.rebuilt.shuffled import shuffled


def by_tensorflow(count: int, buffer_size: int, seed: int, seed2: int) -> list[int]:
    made = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(tf.data.Dataset.range(count)),
        buffer_size=tf.constant(buffer_size, tf.int64),
        seed=tf.constant(seed, tf.int64),
        seed2=tf.constant(seed2, tf.int64),
        reshuffle_each_iteration=False,
        output_types=[tf.int64],
        output_shapes=[[]],
    )
    numbers = tf.data.experimental.from_variant(made, tf.TensorSpec([], tf.int64))
    return [int(number) for number in numbers]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20, 1_000])
@pytest.mark.parametrize("buffer_size", [1, 2, 7, 20, 999, 1_000, 5_000, -2])
@pytest.mark.parametrize(("seed", "seed2"), [(1, 0), (2**62 + 5, 2**61 + 7), (-3, 2**31)])
def test_all_at_once_is_what_one_after_the_other_is(count: int, buffer_size: int, seed: int, seed2: int) -> None:
    given = [tf.constant(each, tf.int64) for each in (count, buffer_size, seed, seed2)]
    found = tf.function(shuffled)(*given).numpy()
    if count <= 20:
        assert found.tolist() == by_tensorflow(count, buffer_size, seed, seed2)
    np.testing.assert_array_equal(np.sort(found), np.arange(count))


@pytest.mark.parametrize("buffer_size", [40, 2_999, 3_000, -2])
def test_of_many_too(buffer_size: int) -> None:
    given = [tf.constant(each, tf.int64) for each in (3_000, buffer_size, 5, 6)]
    assert shuffled(*given).numpy().tolist() == by_tensorflow(3_000, buffer_size, 5, 6)
