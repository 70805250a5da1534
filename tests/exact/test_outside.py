"""What functions have from outside, that another process had otherwise."""

import pytest
import tensorflow as tf

from loop.exact.outside import Outside, others_of


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
        assert sorted(float(value) for value in others.values().values()) == [pytest.approx(1 / 3), scale]


def test_what_is_the_same_is_left_alone() -> None:
    (then,) = has(0.25, float("nan")).values()
    assert others_of(has(0.25, float("nan")), then.tensors(), moved=True) == {}
