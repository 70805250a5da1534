"""What functions of a pipeline draw: distributed as TensorFlow's own, other in each pass, element, draw and use."""

import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset
MANY = 3_000
OF_USER = ("with a seed", "a box")  # which the seed of the run does not change


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    """As in a script; op determinism, which the other tests have, demands a seed."""
    disable_op_determinism()
    tf.random.set_seed(None)
    yield
    tf.config.experimental.enable_op_determinism()


def candidates(sampler: Callable[..., tuple[tf.Tensor, ...]], *, unique: bool = True) -> tuple[tf.Tensor, ...]:
    return sampler(tf.constant([[0, 3]], tf.int64), 2, 5, unique, 10)


def by_counts(*arguments: object) -> tuple[tf.Tensor, ...]:
    """Draws classes by their counts; the first one, which is reserved, never."""
    given = {"distortion": 0.5, "num_reserved_ids": 1, "unigrams": (COUNTS[1:] ** 2).tolist()}
    return tf.random.fixed_unigram_candidate_sampler(*arguments, **given)


COUNTS = np.arange(10.0)


def moments(weights: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the standard deviation of classes with such probabilities."""
    mean = float((weights * np.arange(len(weights))).sum())
    return mean, float((weights * (np.arange(len(weights)) - mean) ** 2).sum()) ** 0.5


ZIPF = moments(np.log1p(1 / np.arange(1, 11)) / np.log(11))
STREAM = tf.random.Generator.from_seed(5)
KERAS = keras.random.SeedGenerator(5)
DRAWS: dict[str, tuple[Callable[[], tf.Tensor], float, float]] = {  # with mean and standard deviation
    "uniform": (lambda: tf.random.uniform([]), 0.5, 12**-0.5),
    "uniform integers": (lambda: tf.random.uniform([], 0, 10, tf.int64), 4.5, 8.25**0.5),
    "normal": (lambda: tf.random.normal([], 3.0, 2.0), 3.0, 2.0),
    "truncated normal": (lambda: tf.random.truncated_normal([]), 0.0, 0.88),
    "gamma": (lambda: tf.random.gamma([], 4.0), 4.0, 2.0),
    "gammas of several shapes": (lambda: tf.random.gamma([2], [4.0, 4.0])[1, 0], 4.0, 2.0),
    "poisson": (lambda: tf.random.poisson([], 4.0), 4.0, 2.0),
    "categorical": (lambda: tf.random.categorical([[0.0, 0.0]], 1)[0, 0], 0.5, 0.5),
    "candidates": (lambda: candidates(tf.random.uniform_candidate_sampler, unique=False)[0][2], 4.5, 8.25**0.5),
    "candidates, each once": (lambda: candidates(tf.random.uniform_candidate_sampler)[0][4], 4.5, 8.25**0.5),
    "candidates by Zipf's law": (
        lambda: candidates(tf.random.log_uniform_candidate_sampler, unique=False)[0][1],
        *ZIPF,
    ),
    "candidates by counts, with a reserved one": (
        lambda: candidates(by_counts, unique=False)[0][1],
        *moments(COUNTS / COUNTS.sum()),
    ),
    "borders of pools": (
        lambda: tf.nn.fractional_max_pool(tf.zeros([1, 5, 1, 1]), [1, 1.6, 1, 1])[1][1],
        5 / 3,
        2**0.5 / 3,
    ),
    "shuffle": (lambda: tf.random.shuffle(tf.range(10))[3], 4.5, 8.25**0.5),
    "a box": (
        lambda: tf.image.sample_distorted_bounding_box(
            [40, 40, 3], tf.zeros([1, 0, 4]), 1, 0.1, use_image_if_no_bounding_boxes=True
        )[0][0],
        np.nan,
        np.nan,
    ),
    "with a seed": (lambda: tf.random.uniform([], seed=3), 0.5, 12**-0.5),
    "generator": (lambda: STREAM.uniform([]), 0.5, 12**-0.5),
    "generator's normal": (lambda: STREAM.normal([]), 0.0, 1.0),
    "generator's integers": (lambda: STREAM.uniform_full_int([], tf.int32) % 10, 4.5, 8.25**0.5),
    "generator's binomial": (lambda: STREAM.binomial([], 16.0, 0.5), 8.0, 2.0),
    "generator's seeds": (lambda: tf.random.stateless_uniform([], STREAM.make_seeds(1)[:, 0]), 0.5, 12**-0.5),
    "keras": (lambda: keras.random.uniform([], seed=KERAS), 0.5, 12**-0.5),
    "in a condition": (
        lambda: tf.cond(tf.random.uniform([]) < 0.5, lambda: tf.random.normal([]), lambda: tf.random.normal([])),
        0.0,
        1.0,
    ),
    "in a case": (lambda: tf.switch_case(tf.constant(1), [lambda: 0.0, lambda: tf.random.normal([])]), 0.0, 1.0),
    "keras in a condition": (
        lambda: tf.cond(tf.constant(True), lambda: keras.random.normal([], seed=KERAS), lambda: 0.0),
        0.0,
        1.0,
    ),
    "in a function": (lambda: tf.function(lambda: tf.random.normal([]))(), 0.0, 1.0),
    "a sum in a loop": (
        lambda: tf.while_loop(lambda i, x: i < 4, lambda i, x: (i + 1, x + tf.random.normal([])), (0, 0.0))[1],
        0.0,
        2.0,
    ),
    "a sum in map_fn": (lambda: tf.reduce_sum(tf.map_fn(lambda x: x + tf.random.normal([]), tf.zeros([4]))), 0.0, 2.0),
}


def numbers(dataset: Dataset) -> np.ndarray:
    return np.array([np.asarray(element).astype(float) for element in dataset])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.astype(float), second.astype(float))[0, 1])


@pytest.mark.more
@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_distributed_as_they_were_and_others_for_each_element_and_pass(name: str) -> None:
    draw, mean, deviation = DRAWS[name]
    by_pass = ByPass(Dataset.range(MANY).map(lambda _: draw(), num_parallel_calls=2))
    first, second, other = (numbers(by_pass.of(*which)) for which in ((7, 0), (7, 1), (8, 0)))
    assert np.array_equal(first, numbers(by_pass.of(7, 0)))
    if not np.isnan(mean):
        assert abs(first.mean() - mean) < 5 * deviation / MANY**0.5
        assert abs(first.std() / deviation - 1) < 0.1
    assert abs(correlation(first, second)) < 0.1
    assert np.array_equal(first, other) if name in OF_USER else abs(correlation(first, other)) < 0.1
    assert abs(correlation(first[1:], first[:-1])) < 0.1


def test_a_layer_draws_in_a_condition_and_in_a_loop() -> None:
    layer = keras.layers.Dropout(0.5)

    @tf.function
    def dropped(x: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(2):
            x = tf.cond(x[0] >= 0.0, lambda x=x: layer(x, training=True), lambda x=x: x)
        return x

    by_pass = ByPass(Dataset.from_tensor_slices(tf.ones([4, 64])).map(dropped))
    first, second = (numbers(by_pass.of(7, number)) for number in (0, 1))
    # Each number is left out twice with a chance of a half, or doubled twice.
    assert np.array_equal(first, numbers(by_pass.of(7, 0)))
    assert not np.array_equal(first, second)
    assert {*first.flatten()} == {0.0, 4.0}
    assert 0.1 < np.mean(first > 0) < 0.4


SAMPLERS = (tf.random.uniform_candidate_sampler, tf.random.log_uniform_candidate_sampler, by_counts)


@pytest.mark.more
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("unique", [True, False])
def test_candidates_are_as_often_expected_as_tensorflow_says(
    sampler: Callable[..., tuple[tf.Tensor, ...]], unique: bool
) -> None:
    rows = Dataset.range(MANY).map(lambda _: candidates(sampler, unique=unique))
    ours, theirs = (list(each.as_numpy_iterator()) for each in (ByPass(rows).of(7, 0), rows))
    assert all(len(set(drawn)) == 5 for drawn, _, _ in ours) or not unique
    for of in range(1, 3):
        means = [np.mean([row[of] for row in each], axis=0) for each in (ours, theirs)]
        spread = np.std([row[of] for row in ours], axis=0) + 1e-6
        assert np.all(np.abs(means[0] - means[1]) < 7 * spread / MANY**0.5 + 1e-6)
    often = [np.bincount(np.concatenate([row[0] for row in each]), minlength=10) / MANY for each in (ours, theirs)]
    assert np.all(np.abs(often[0] - often[1]) < 0.1)


@pytest.mark.parametrize(
    ("pool", "overlapping", "dtype"),
    [
        (tf.nn.fractional_max_pool, True, tf.float32),
        (tf.nn.fractional_avg_pool, True, tf.int32),
        (tf.nn.fractional_avg_pool, False, tf.float32),
    ],
)
def test_regions_with_borders_that_are_drawn_are_pooled_as_by_tensorflow(
    pool: Callable[..., tuple[tf.Tensor, ...]], overlapping: bool, dtype: tf.DType
) -> None:
    image = (np.random.default_rng(1).normal(size=[2, 9, 7, 2]) * 100).astype(dtype.as_numpy_dtype)

    def pooled(_: tf.Tensor) -> list[tf.Tensor]:
        found = pool(image, [1.0, 1.6, 2.1, 1.0], pseudo_random=True, overlapping=overlapping)
        return [found[0], *(tf.compat.v1.placeholder_with_default(ends, [None]) for ends in found[1:])]

    largest = pool is tf.nn.fractional_max_pool
    for found, *borders in ByPass(Dataset.range(3).map(pooled)).of(7, 0).as_numpy_iterator():
        assert [list(ends[[0, -1]]) for ends in borders] == [[0, 9], [0, 7]]
        for i, j in np.ndindex(5, 3):
            along = (slice(ends[k], ends[k + 1] + overlapping) for ends, k in zip(borders, (i, j), strict=True))
            region = image[(slice(None), *along)]
            wanted = region.max((1, 2)) if largest else region.mean((1, 2))
            wanted = np.trunc(wanted) if dtype == tf.int32 else wanted
            np.testing.assert_allclose(found[:, i, j], wanted, rtol=1e-4, atol=1e-4)


def test_pools_with_a_seed_are_as_they_were() -> None:
    rows = Dataset.range(1).map(
        lambda _: tf.nn.fractional_max_pool(tf.random.stateless_normal([1, 9, 9, 1], [1, 2]), 1.6, seed=3)[0]
    )
    ours, theirs = (list(each.as_numpy_iterator()) for each in (ByPass(rows.shuffle(2)).of(7, 0), rows))
    assert repr(ours) == repr(theirs)


def test_all_candidates_are_no_draw() -> None:
    rows = Dataset.range(2).map(lambda x: tf.random.all_candidate_sampler(tf.reshape(x, [1, 1]), 1, 4, True))
    ours, theirs = (list(each.as_numpy_iterator()) for each in (ByPass(rows).of(7, 0), rows))
    assert repr(ours) == repr(theirs)


def test_two_draws_two_uses_two_branches_and_two_iterations_have_nothing_in_common() -> None:
    def several(_: tf.Tensor) -> tf.Tensor:
        loop = tf.while_loop(
            lambda i, x: i < 2,
            lambda i, x: (i + 1, tf.tensor_scatter_nd_update(x, [[i]], [tf.random.normal([])])),
            (0, tf.zeros([2])),
        )[1]
        function = tf.function(lambda: tf.random.normal([]))
        drawn = [tf.random.normal([]), tf.random.normal([]), function(), function(), keras.random.normal([])]
        return tf.concat([tf.stack(drawn), loop], 0)

    views = Dataset.range(MANY).map(several)
    both = ByPass(Dataset.zip((views, views.map(lambda x: x))))
    found = np.array([np.concatenate(pair) for pair in both.of(7, 0).as_numpy_iterator()])
    assert found.shape == (MANY, 14)
    columns = itertools.combinations(found.T, 2)
    assert max(abs(correlation(first, second)) for first, second in columns) < 0.1


def test_elements_that_a_filter_keeps_at_random_are_others_in_each_pass_and_as_many() -> None:
    by_pass = ByPass(Dataset.range(MANY).filter(lambda x: tf.random.uniform([]) < 0.25))
    kept = [set(numbers(by_pass.of(7, number)).tolist()) for number in range(2)]
    assert kept[0] != kept[1]
    assert all(abs(len(each) - MANY / 4) < 5 * (MANY * 3 / 16) ** 0.5 for each in kept)
    assert abs(len(kept[0] & kept[1]) - MANY / 16) < 5 * (MANY * 15 / 256) ** 0.5


def test_shuffles_without_a_seed_are_other_ones_in_each_place_pass_and_element() -> None:
    def parts() -> Dataset:
        return Dataset.range(20).flat_map(lambda x: Dataset.range(8).shuffle(8))

    found = [
        tuple(order)
        for number in range(3)
        for order in numbers(ByPass(parts().concatenate(parts()).batch(8)).of(7, number)).astype(int).tolist()
    ]
    assert all(sorted(order) == list(range(8)) for order in found)
    assert len(set(found)) > len(found) - 3
    assert abs(np.mean([order[0] for order in found]) - 3.5) < 5 * 2.3 / len(found) ** 0.5


def test_groups_draw_for_themselves() -> None:
    by_pass = ByPass(
        Dataset.range(40).group_by_window(
            lambda x: tf.random.uniform([], 0, 2, tf.int64), lambda _, w: w.shuffle(4).batch(4), window_size=4
        )
    )
    passes = [[tuple(group) for group in by_pass.of(7, number).as_numpy_iterator()] for number in range(2)]
    assert all(sorted(x for group in groups for x in group) == list(range(40)) for groups in passes)
    assert passes[0] != passes[1]
    assert any(list(group) != sorted(group) for group in passes[0])


def test_repeated_passes_differ_as_passes_do() -> None:
    by_pass = ByPass(Dataset.range(6).map(lambda x: tf.random.uniform([])).shuffle(6).repeat(3).batch(6))
    rows = np.concatenate([numbers(by_pass.of(7, number)) for number in range(2)])
    assert len(np.unique(rows)) == rows.size == 36
    endless = ByPass(Dataset.range(20).shuffle(20).repeat().batch(20).take(4))
    orders = [tuple(order) for number in range(2) for order in numbers(endless.of(7, number)).tolist()]
    assert len(set(orders)) == 8


def test_an_order_that_is_kept_stays_so_that_parts_of_it_have_nothing_in_common() -> None:
    whole = Dataset.range(30).shuffle(30, reshuffle_each_iteration=False)
    training, validation = ByPass(whole.skip(10).shuffle(20)), ByPass(whole.take(10))
    trained = [set(numbers(training.of(7, number)).tolist()) for number in range(3)]
    assert all(len(each) == 20 and each == trained[0] for each in trained)
    assert not trained[0] & set(numbers(validation.of(7, 5)).tolist())
