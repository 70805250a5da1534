"""Reading data again that were read before."""

from collections.abc import Iterator

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.python.data.ops.dataset_ops import _VariantDataset

from loop.digest import Seen
from loop.pipeline import graph_of, nodes_of, reshuffling
from loop.randomness import HostRandomness
from loop.types import Nest

TRIED = 8  # elements that are read twice to see whether they come again


def read_again(iterator: tf.data.Iterator, count: int, seen: Seen) -> bool:
    """Reads that many batches and digests them. Returns whether there were as many."""

    @tf.function
    def read(iterator: tf.data.Iterator, count: tf.Tensor) -> None:
        for _ in tf.range(count):
            seen.update(next(iterator))

    try:
        read(iterator, tf.constant(count, tf.int64))
    except tf.errors.OutOfRangeError:
        return False
    return True


def differs(dataset: tf.data.Dataset) -> str:
    """Reads the beginning of a dataset twice and returns what is wrong with that; empty if nothing is."""
    host = HostRandomness()
    before = host.serialize()
    try:
        if not all(_beginning(part) == _beginning(part) for part in _still(dataset)):
            return "yield something else when they are read a second time"
        if host.serialize() != before:
            return (
                "draw from the process's own random numbers, or seed them: what is saved of these depends on how far "
                "they have read ahead"
            )
        return ""
    finally:
        host.deserialize(before)


def _still(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields a dataset without what shuffles in it; else what it is made of, as far up as nothing is shuffled anew.

    So that nothing is iterated here whose order depends on how often it was.
    """
    if not reshuffling(dataset, once=False):
        yield dataset
    elif (graph := graph_of(dataset)).node:
        yield _without_shuffles(graph, dataset.element_spec)
    else:
        for source in dataset._inputs():
            yield from _still(source)


def _without_shuffles(graph: GraphDef, element_spec: Nest) -> tf.data.Dataset:
    for node in nodes_of(graph):
        node.device = ""  # a name without its device may be left of it
        for name in ("reshuffle_each_iteration", "rerandomize_each_iteration"):
            if name in node.attr:
                node.attr[name].b = False
    inputs = {node.name: node.input[0] for node in graph.node if node.op.startswith("ShuffleDataset")}
    for node in graph.node:
        for i, name in enumerate(node.input):
            while name in inputs:
                name = inputs[name]
            node.input[i] = name
    return _VariantDataset(tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString()), element_spec)


def _beginning(dataset: tf.data.Dataset) -> list[int]:
    seen, digests = Seen(), []
    for element in dataset.take(TRIED):
        seen.update(element)
        digests.append(int(seen.digest))
    return digests
