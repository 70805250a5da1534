"""Texts beside ragged or sparse tensors, which TensorFlow keeps in the graph of a dataset, packed."""

from collections.abc import Callable

import pytest
import tensorflow as tf

from loop import StreamData

RAGGED, DENSE = [[1, 2], [3], [4, 5, 6]], [[1, 0], [0, 2], [3, 0]]
slices = tf.data.Dataset.from_tensor_slices


def from_variant(texts: list[str]) -> tf.data.Dataset:
    return tf.data.experimental.from_variant(
        tf.data.experimental.to_variant(slices(texts)), tf.TensorSpec([], tf.string)
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda texts: slices((tf.ragged.constant(RAGGED), texts)),
        lambda texts: slices((tf.sparse.from_dense(DENSE), texts)),
        lambda texts: slices(tf.ragged.constant([texts[:2], texts[2:]])),
        from_variant,
    ],
    ids=["ragged", "sparse", "ragged texts", "from_variant"],
)
def test_texts_beside_what_a_graph_hides_are_told_apart(make: Callable[[list[str]], tf.data.Dataset]) -> None:
    texts = ["a", "b", "c"]
    one, same, other = (StreamData(make(each).batch(2)).describe() for each in (texts, texts, ["a", "b", "d"]))
    assert one == same != other
