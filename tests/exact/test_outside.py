"""What functions have from outside, that another process had otherwise."""

from collections.abc import Sequence

import pytest
import tensorflow as tf

from loop.exact.constants import value_of
from loop.exact.outside import Outside, others_of, outside_of
from loop.exact.pipeline_hash import described
from loop.rebuilt.pipeline import ByPass


def has(mean: float, scale: float) -> dict[tf.Graph, Outside]:
    function = tf.function(lambda x: (x - mean) * scale, input_signature=[tf.TensorSpec([], tf.float32)])
    graph = function.get_concrete_function().graph
    return {graph: Outside(graph)}


@pytest.mark.parametrize(
    ("scale", "moved", "are_taken"),
    [(2.5, True, False), (2.25, True, True), (2.25, False, False), (2.125, True, True)],
)
def test_of_numbers_that_were_computed_one_may_be_round_and_none_is_a_setting(
    scale: float, moved: bool, are_taken: bool
) -> None:
    (then,) = has(1 / 3, scale).values()
    found = others_of(has(0.123456, scale + 1), then.tensors(), moved=moved)
    assert (found is not None) == are_taken
    if found:
        (others,) = found.values()
        assert sorted(float(value_of(said)) for said in others.constants.values()) == [pytest.approx(1 / 3), scale]


def test_what_is_the_same_is_left_alone() -> None:
    (then,) = has(0.25, float("nan")).values()
    assert others_of(has(0.25, float("nan")), then.tensors(), moved=True) == {}


def scaled(scale: float, bounds: Sequence[float]) -> tf.data.Dataset:
    """Returns a pipeline of which functions call others that have numbers written in them."""

    @tf.function
    def inner(x: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(2):
            x = tf.cond(x > 0.0, lambda x=x: x * scale, lambda x=x: x - tf.random.normal([]) * scale)
        return x

    def mapped(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return inner(x), tf.raw_ops.Bucketize(input=x, boundaries=bounds)

    numbered = tf.data.Dataset.from_tensor_slices(tf.linspace(-2.0, 2.0, 12)).map(mapped)
    return numbered.map(lambda x, bucket: (tf.function(lambda: x / scale)(), bucket))


def test_numbers_in_what_functions_call_and_boundaries_are_exchanged() -> None:
    then, now = scaled(1 / 3, [-1 / 3, 1 / 7, 0.7654321]), scaled(2 / 3, [-1.2345678, 1 / 9, 0.1234567])
    tensors = [tensor for has in outside_of(then).values() for tensor in has.tensors()]
    found = others_of(outside_of(now), tensors, moved=False)
    assert found is not None
    assert described(now, instead=found) == described(then) != described(now)
    passes = [list(ByPass(*of, **more).of(7, 1)) for of, more in (([then], {}), ([now], {"instead": found}))]
    assert tf.nest.map_structure(float, passes[0]) == tf.nest.map_structure(float, passes[1])


def test_so_they_are_where_nothing_is_drawn() -> None:
    def doubled(scale: Sequence[float]) -> tf.data.Dataset:
        return tf.data.Dataset.range(3).map(lambda _: tf.function(lambda: tf.constant(scale) * 2.0)())

    then, now = doubled([1 / 3, 1 / 7, 1 / 9]), doubled([2 / 3, 2 / 7, 2 / 9])
    tensors = [tensor for has in outside_of(then).values() for tensor in has.tensors()]
    found = others_of(outside_of(now), tensors, moved=False)
    assert found is not None
    made = ByPass(now, instead=found).as_replaced
    assert [each.numpy().tolist() for each in made] == [each.numpy().tolist() for each in then]


def test_seeds_of_draws_are_exchanged() -> None:
    def drawn(seed: int) -> tf.data.Dataset:
        inner = tf.function(lambda x: x + tf.random.normal([], seed=seed))
        return tf.data.Dataset.from_tensor_slices([1.0, 2.0]).map(
            lambda x: (inner(x), tf.random.uniform([], seed=seed))
        )

    then, now = drawn(123_456_789), drawn(987_654_321)
    tensors = [tensor for has in outside_of(then).values() for tensor in has.tensors()]
    found = others_of(outside_of(now), tensors, moved=False)
    assert found is not None
    assert described(now, instead=found) == described(then) != described(now)
    passes = [list(ByPass(*of, **more).of(7, 1)) for of, more in (([then], {}), ([now], {"instead": found}))]
    assert tf.nest.map_structure(float, passes[0]) == tf.nest.map_structure(float, passes[1])
    of_few_digits = [tensor for has in outside_of(drawn(3)).values() for tensor in has.tensors()]
    assert others_of(outside_of(now), of_few_digits, moved=False) is None  # somebody may have set it
