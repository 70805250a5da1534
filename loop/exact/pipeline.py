"""What can be known of a `tf.data` pipeline without reading from it."""

import re
from collections.abc import Iterator

import tensorflow as tf

from loop.exact.graph import operations
from loop.tensors import GraphDef, NodeDef
from loop.tf_internals import (
    functions_of,
    inputs_of,
    kind_of,
    op_definition,
    read_by,
    rerandomizes,
    reshuffles,
    stops_on_empty,
    tensors_of,
)

INFINITE, UNKNOWN = -1, -2  # tf.data.INFINITE_CARDINALITY, UNKNOWN_CARDINALITY
CHOSEN = "DirectedInterleave"  # the kind of stage of `choose_from_datasets`, whose first input are the choices
REPEATS = ("Repeat", "ShuffleAndRepeat")
SHUFFLES = ("ShuffleDataset", "ShuffleAndRepeatDataset", "RandomDataset")  # by the first letters of their operations
GRAPH_LIMIT = 2**28  # bytes of tensors that are copied to look into a dataset
PYTHON = ("GeneratorDataset", "PyFunc", "EagerPyFunc", "PyFuncStateless")
# Operations with a state that does not change what is yielded, and those that call others.
HARMLESS = re.compile(
    "Dataset|^(Dummy|Assert|Print|If|While|Case|StatefulPartitionedCall|Placeholder|LookupTable(Find|Size|Export)|_)"
)


def cardinality(dataset: tf.data.Dataset) -> int:
    """Returns how many elements there are, as TensorFlow knows, with negative numbers for no end and for not knowing.

    It says that what is chosen from datasets without end has none, though it is over when the choices are, or the first
    of these datasets where the user asked for that.
    """
    count, stage = int(dataset.cardinality()), dataset
    while count == INFINITE and kind_of(stage) != CHOSEN:
        if kind_of(stage) in REPEATS or len(inputs_of(stage)) != 1:
            return count
        (stage,) = inputs_of(stage)
    return UNKNOWN if count == INFINITE and _is_over(stage) else count


def _is_over(chosen: tf.data.Dataset) -> bool:
    choices, *sources = map(cardinality, inputs_of(chosen))
    return choices != INFINITE or (stops_on_empty(chosen) and any(count != INFINITE for count in sources))


def places(dataset: tf.data.Dataset) -> Iterator[tuple[tf.data.Dataset, bool]]:
    """Yields what a dataset is made of, itself first, wherever it is used, and whether it was there before.

    What is used twice is looked into once: of `zip(d, d.skip(1))`, and that again in the place of `d`, there would soon
    be more than could be looked at. It does not call itself, because there may be more stages than Python allows calls.
    """
    seen, stack = set[int](), [dataset]  # ids: the dataset holds all of them while this runs
    while stack:
        stage = read_by(stack.pop())  # a reader of files does not say what it reads the names from
        yield stage, id(stage) in seen
        if id(stage) not in seen:
            seen.add(id(stage))
            stack.extend(reversed(inputs_of(stage)))  # reversed, because the last one is taken first


def stages(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yields a dataset and all that it is made of, the last stage first, each once."""
    return (stage for stage, known in places(dataset) if not known)


def operations_of(dataset: tf.data.Dataset) -> Iterator[tf.Operation]:
    """Yields the operations in the functions of all stages."""
    for stage in stages(dataset):
        yield from operations_in(stage)


def operations_in(stage: tf.data.Dataset) -> Iterator[tf.Operation]:
    """Yields the operations in the functions of one stage."""
    for function in functions_of(stage):
        yield from operations(function.graph)


def may_differ(dataset: tf.data.Dataset) -> bool:
    """Returns whether elements come out of Python, or of anything else that may yield something else the next time."""
    nodes = [op.node_def for op in operations_of(dataset)] + list(hidden_in(dataset))
    return any(node.op in PYTHON or is_unknown(node) for node in nodes)


def graph_of(dataset: tf.data.Dataset | tf.Tensor) -> GraphDef:
    """Returns a dataset as TensorFlow has it, with those that its functions use; empty if it is large, or has no such.

    Args:
        dataset: A dataset, or the variant of one.
    """
    if isinstance(dataset, tf.data.Dataset):
        # Ragged ones are variants, of which nobody tells the size.
        tensors = [tensor for stage in stages(dataset) for tensor in tensors_of(stage)]
        known = [tensor for tensor in tensors if isinstance(tensor, tf.Tensor) and tensor.dtype != tf.variant]
        if sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in known) > GRAPH_LIMIT:
            return GraphDef()
        dataset = tf.data.experimental.to_variant(dataset)
    try:
        graph = tf.raw_ops.DatasetToGraphV2(
            input_dataset=dataset,
            external_state_policy=1,
            strip_device_assignment=True,  # 1: whatever it holds
        )
    except tf.errors.OpError:
        return GraphDef()
    return GraphDef.FromString(graph.numpy())


def nodes_of(graph: GraphDef) -> Iterator[NodeDef]:
    """Yields the operations of a graph and of its functions."""
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def reshuffled(stage: tf.data.Dataset) -> bool:
    """Returns whether the order of a stage itself depends on how often it was iterated."""
    kind = kind_of(stage)
    if kind == "Variant":
        return any(node.op.startswith(SHUFFLES) and is_other_each_time(node) for node in graph_of(stage).node)
    return (kind == "Shuffle" and reshuffles(stage) is not False) or (kind == "Random" and bool(rerandomizes(stage)))


def captured_in(dataset: tf.data.Dataset) -> Iterator[tf.Tensor]:
    """Yields the datasets that the functions of all stages have from outside."""
    for stage in stages(dataset):
        for function in functions_of(stage):
            yield from (tensor for tensor in function.captured_inputs if tensor.dtype == tf.variant)


def hidden_in(dataset: tf.data.Dataset) -> Iterator[NodeDef]:
    """Yields the operations of datasets of which Python does not know what they are made of.

    They are those that functions have from outside, and what TensorFlow has rewritten, as `choose_from_datasets` does.
    """
    for captured in captured_in(dataset):
        yield from nodes_of(graph_of(captured))
    for stage in stages(dataset):
        if kind_of(stage) == "Variant":
            yield from nodes_of(graph_of(stage))


def is_random_node(node: NodeDef) -> bool:
    """Returns whether an operation draws from a stream of its own."""
    return op_definition(node.op).is_stateful and {"seed", "seed2"} <= node.attr.keys()


def is_other_each_time(node: NodeDef) -> bool:
    """Returns whether an operation makes a dataset that has another order in each pass."""
    return any(node.attr[name].b for name in ("reshuffle_each_iteration", "rerandomize_each_iteration"))


def is_not_saved(op: tf.Operation) -> bool:
    """Returns whether TensorFlow may save no iterator that does this, because it writes or checks something."""
    return is_unknown(op.node_def) and not any(tensor.dtype == tf.resource for tensor in op.inputs)


def is_unknown(node: NodeDef) -> bool:
    """Returns whether an operation has a state of which nobody knows whether it changes what is yielded."""
    return op_definition(node.op).is_stateful and not HARMLESS.search(node.op)
