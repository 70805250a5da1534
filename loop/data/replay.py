"""Reading data again that were read before."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from loop.data.errors import InLinesOf
from loop.digest import Seen
from loop.exact.pipeline import graph_of, nodes_of, reshuffling, stages
from loop.exact.pipeline_hash import short
from loop.state.randomness import host, untouched
from loop.tensors import GraphDef, Nest
from loop.tf_internals import cache_file, inputs_of, kind_of, op_definition

TRIED = 8  # elements that are read twice in any case to see whether they come again
LONGEST, SECONDS = 10_000, 1.0  # at most so many are, in that time: all, if there are not more
END = 0
FRESH = "uniterated"
ANOTHER = "yield something else when they are read a second time"


class Reading(NamedTuple):
    """What comes of reading a dataset twice.

    Attributes:
        wrong: What is wrong with it; empty if nothing is.
        beginning: A digest of its first `TRIED` elements.
    """

    wrong: str
    beginning: int


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


def read_twice(dataset: tf.data.Dataset) -> Reading:
    """Reads a dataset twice: to its end, if that comes soon, because a generator may change when it is there."""
    with untouched(), InLinesOf(dataset):
        before = host()
        passes = [_digests(part, LONGEST, SECONDS) for part in _still(dataset)]
        again = [_digests(part, len(read)) for part, read in zip(_still(dataset), passes, strict=True)]
        wrong = "" if passes == again else ANOTHER
        if not wrong and host() != before:
            wrong = (
                "draw from the process's own random numbers, or seed them: what is saved of these depends on how far "
                "they have read ahead"
            )
        return Reading(wrong, _combined(passes))


def read_beginning(dataset: tf.data.Dataset) -> int:
    """Returns the digest of the first `TRIED` elements of a dataset."""
    with untouched():
        return _combined([_digests(part, TRIED) for part in _still(dataset)])


def _combined(passes: list[list[int]]) -> int:
    return int(short([digests[:TRIED] for digests in passes]), 16)


def _still(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields a dataset without what shuffles in it, or keeps what it was; else the parts of it that do not.

    So that nothing is iterated here whose order depends on how often it was, and no cache is filled.
    """
    seen, stack = set[int](), [dataset]
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if not reshuffling(part, once=False) and not any(map(_is_in_memory, stages(part))):
            yield part
        elif (graph := graph_of(part)).node:
            yield _without_shuffles(graph, part.element_spec)
        else:
            stack.extend(reversed(inputs_of(part)))


def _is_in_memory(stage: tf.data.Dataset) -> bool:
    return kind_of(stage) == "Cache" and not cache_file(stage).numpy()


def _without_shuffles(graph: GraphDef, element_spec: Nest) -> tf.data.Dataset:
    for node in nodes_of(graph):
        node.device = ""  # a name without its device may be left of it
        for name in ("reshuffle_each_iteration", "rerandomize_each_iteration"):
            if name in node.attr:
                node.attr[name].b = False
    empty = {node.name for node in graph.node if node.op == "Const" and node.attr["value"].tensor.string_val == [b""]}
    inputs = {
        node.name: node.input[0]
        for node in graph.node
        if node.op.startswith("ShuffleDataset") or (node.op.startswith("CacheDataset") and node.input[1] in empty)
    }
    for node in graph.node:
        for i, name in enumerate(node.input):
            while name in inputs:
                name = inputs[name]
            node.input[i] = name
    return _dataset_of(graph, element_spec)


def uniterated(dataset: tf.data.Dataset) -> tf.data.Dataset | None:
    """Returns a copy of a dataset that shuffles as if it had never been iterated; None if TensorFlow cannot make one.

    What a shuffle counts its passes with is a resource, which an ordinary copy would share.
    """
    graph = graph_of(dataset)
    if not graph.node:
        return None
    graph.node.add(op="DummySeedGenerator", name=FRESH)
    for node in graph.node:
        node.device = ""
        names = [argument.name for argument in op_definition(node.op).input_arg]
        if "seed_generator" in names:
            node.input[names.index("seed_generator")] = FRESH
    return _dataset_of(graph, dataset.element_spec)


def _dataset_of(graph: GraphDef, element_spec: Nest) -> tf.data.Dataset:
    variant = tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    return tf.data.experimental.from_variant(variant, element_spec)


def _digests(dataset: tf.data.Dataset, count: int, seconds: float | None = None) -> list[int]:
    """Returns the digests after each of up to so many elements, as far as they come in that time, of `TRIED` in any.

    After the last one there is, `END`: whoever reads on to see whether there is more lets a generator see its end.
    """
    seen, digests = Seen(), list[int]()
    update, begun = tf.function(seen.update, input_signature=[dataset.element_spec]), time.monotonic()
    for element in dataset:
        update(element)
        digests.append(int(seen.digest))
        late = seconds is not None and len(digests) >= TRIED and time.monotonic() - begun > seconds
        if late or len(digests) == count:
            return digests
    return [*digests, END]
