"""What is told to draw alike does: an image and its mask are flipped together, as in TensorFlow."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset
N = 24


def pairs(dataset: Dataset) -> np.ndarray:
    """Returns what a dataset of pairs of scalars yields in a pass: `[n, 2]`."""
    return np.array([*ByPass(dataset).of(7, 1).as_numpy_iterator()])


def of_seeds(first: int, second: int) -> Dataset:
    return Dataset.range(N).map(lambda _: (tf.random.uniform([], seed=first), tf.random.uniform([], seed=second)))


def of_streams(first: int, second: int) -> Dataset:
    one, two = (tf.random.Generator.from_seed(seed) for seed in (first, second))
    return Dataset.range(N).map(lambda _: (one.uniform([]), two.uniform([])))


def of_layers(first: int, second: int) -> Dataset:
    one, two = (keras.random.SeedGenerator(seed) for seed in (first, second))
    return Dataset.range(N).map(lambda _: (keras.random.uniform([], seed=one), keras.random.uniform([], seed=two)))


def of_functions(first: int, second: int) -> Dataset:
    one, two = (tf.function(lambda seed=seed: tf.random.uniform([], seed=seed)) for seed in (first, second))
    return Dataset.range(N).map(lambda _: (one(), two()))


def zipped(first: int, second: int) -> Dataset:
    each = [Dataset.range(N).map(lambda _, seed=seed: tf.random.uniform([], seed=seed)) for seed in (first, second)]
    return Dataset.zip(tuple(each))


def zipped_streams(first: int, second: int) -> Dataset:
    streams = [tf.random.Generator.from_seed(seed) for seed in (first, second)]
    return Dataset.zip(tuple(Dataset.range(N).map(lambda _, stream=stream: stream.uniform([])) for stream in streams))


@pytest.mark.more
@pytest.mark.parametrize("made", [of_seeds, of_streams, of_layers, of_functions, zipped, zipped_streams])
def test_draws_of_equal_seeds_are_equal_and_of_others_are_not(made: Callable[[int, int], Dataset]) -> None:
    same, others = pairs(made(1, 1)), pairs(made(1, 2))
    assert np.array_equal(same[:, 0], same[:, 1])
    assert len(np.unique(same)) == N
    assert not np.any(others[:, 0] == others[:, 1])


def test_draws_of_equal_seeds_are_equal_whatever_the_seed_of_the_process() -> None:
    tf.random.set_seed(3)
    same, others = pairs(of_seeds(1, 1)), pairs(of_seeds(1, 2))
    assert np.array_equal(same[:, 0], same[:, 1])
    assert not np.any(others[:, 0] == others[:, 1])


def test_draws_that_were_given_no_seed_have_nothing_in_common_even_if_tensorflow_counts_them_alike() -> None:
    tf.random.set_seed(3)
    stages = Dataset.range(N).map(lambda _: tf.random.uniform([])).map(lambda x: (x, tf.random.uniform([])))
    found = pairs(stages)
    assert not np.any(found[:, 0] == found[:, 1])


def test_two_views_from_one_stream_differ_and_so_do_two_draws_and_iterations() -> None:
    stream = tf.random.Generator.from_seed(1)
    drawn = Dataset.range(N).map(lambda _: tf.concat([stream.uniform([1]), stream.uniform([1]), tf.map_fn(
        lambda _: stream.uniform([]), tf.zeros([2]))], 0))  # fmt: skip
    found = np.concatenate(pairs(Dataset.zip((drawn, drawn))))
    assert len(np.unique(found)) == found.size == N * 2 * 4
