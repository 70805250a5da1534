"""Datasets of which Python knows nothing: those that TensorFlow has rewritten, and those that functions captured."""

from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from loop.exact.pipeline import graph_of, nodes_of
from loop.rebuilt.copies import renamed
from loop.tensors import GraphDef, NodeDef
from loop.tf_internals import RETURNED, functions_of, kind_of

VARIANT = "Variant"  # the kind of a stage that TensorFlow has rewritten


class Hidden:
    """The hidden datasets of a pipeline.

    Args:
        stages: All stages.
        changes: Says of an operation whether it is made otherwise from pass to pass.
    """

    def __init__(self, stages: Iterable[tf.data.Dataset], changes: Callable[[NodeDef], bool]) -> None:
        # By the ids of tensors, which the stages keep alive.
        self._graphs = {id(tensor): graph_of(tensor) for stage in stages for tensor in _hidden_in(stage)}
        self._changing = {key for key, graph in self._graphs.items() if any(map(changes, nodes_of(graph)))}

    def __bool__(self) -> bool:
        return bool(self._graphs)

    def nodes(self) -> Iterator[NodeDef]:
        """Yields all operations in them."""
        for graph in self._graphs.values():
            yield from nodes_of(graph)

    def changes(self, tensor: tf.Tensor) -> bool:
        """Returns whether a tensor is such a dataset, and changes from pass to pass."""
        return id(tensor) in self._changing

    def changes_in(self, stage: tf.data.Dataset) -> bool:
        """Returns whether a stage has one that changes."""
        return any(map(self.changes, _hidden_in(stage)))

    def made(self, dataset: tf.Tensor, name: str) -> tf.Tensor:
        """Makes one again in the graph that is traced now, of operations whose names begin so."""
        graph = GraphDef.FromString(self._graphs[id(dataset)].SerializeToString())
        (result,) = [node for node in graph.node if node.op == RETURNED]
        graph.node.remove(result)
        for node in nodes_of(graph):
            node.device = ""  # which may not be here
        renamed(graph)  # without their devices, functions are others
        source = result.input[0]
        (made,) = tf.graph_util.import_graph_def(graph, None, [source if ":" in source else f"{source}:0"], name=name)
        return made


def _hidden_in(stage: tf.data.Dataset) -> list[tf.Tensor]:
    if kind_of(stage) == VARIANT:
        return [tf.data.experimental.to_variant(stage)]
    captured = [tensor for function in functions_of(stage) for tensor in function.captured_inputs]
    return [tensor for tensor in captured if tensor.dtype == tf.variant]
