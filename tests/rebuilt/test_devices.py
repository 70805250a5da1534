"""Pipelines that end on a device."""

import tensorflow as tf

from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset


def test_what_is_copied_to_a_device_is_made_anew_and_yields_all() -> None:
    shuffled = Dataset.range(9).shuffle(9).map(lambda x: x).batch(2)
    by_pass = ByPass(shuffled.apply(tf.data.experimental.prefetch_to_device("/cpu:0")))
    passes = [[x for batch in by_pass.of(1, number).as_numpy_iterator() for x in batch] for number in range(2)]
    assert all(sorted(each) == list(range(9)) for each in passes)
    assert passes[0] != passes[1]
