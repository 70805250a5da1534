"""A choice of one of several branches, of which TensorFlow saves no iterator, is made of conditions."""

import pytest
import tensorflow as tf

from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import iterator_state, restore_iterator


def checked(x: tf.Tensor, factor: int) -> tf.Tensor:
    tf.debugging.assert_less(x, tf.constant(99, tf.int64))
    return x * factor


def chosen(index: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.switch_case(index, [lambda n=n: checked(x, 10**n) for n in range(5)])


def test_each_branch_is_taken_for_its_number_and_the_last_one_for_all_others() -> None:
    rows = tf.data.Dataset.range(1, 10).map(lambda x: chosen(tf.cast(x, tf.int32) - 3, x))
    anew = ByPass(rows)
    assert anew.changed
    assert not anew.varies
    assert list(anew.of(1, 0).as_numpy_iterator()) == list(rows.as_numpy_iterator())


@pytest.mark.more
def test_an_iterator_with_draws_in_branches_goes_on_where_it_was_saved() -> None:
    rows = tf.data.Dataset.range(12).map(
        lambda x: chosen(tf.random.uniform([], 0, 5, tf.int32), x + tf.random.uniform([], 0, 9, tf.int64))
    )
    anew = ByPass(rows)
    first = iter(anew.of(1, 0))
    begun = [int(next(first)) for _ in range(5)]
    again = iter(anew.of(1, 0))
    restore_iterator(again, iterator_state(first))
    whole = list(anew.of(1, 0).as_numpy_iterator())
    assert begun + [int(x) for x in again] == whole
    assert len({len(str(number)) for number in whole}) > 2
