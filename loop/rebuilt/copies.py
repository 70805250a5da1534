"""Operations made again as they were, in the graph that is traced now."""

import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import tensorflow as tf

from loop.exact.constants import ConstantPlace, put
from loop.exact.graph import called
from loop.exact.pipeline import nodes_of
from loop.tensors import FuncGraph, GraphDef
from loop.tf_internals import COLOCATED, register

PREFIX = "pass"  # begins the names of operations that were made again
AttrValue: TypeAlias = tf.compat.v1.AttrValue
NONE: Mapping[str, AttrValue] = MappingProxyType({})


class Copies:
    """Makes operations of functions again.

    Args:
        constants: By where they stand in a function, others in the place of constants that are written there.
    """

    def __init__(self, constants: Mapping[ConstantPlace, bytes] = MappingProxyType({})) -> None:
        self._constants = constants
        self._definitions: dict[FuncGraph, GraphDef] = {}

    def put(
        self,
        graph: FuncGraph,
        ops: Sequence[tf.Operation],
        made: MutableMapping[str, tf.Tensor],
        changed: Mapping[str, AttrValue] = NONE,
    ) -> None:
        """Makes operations as they were, and puts what comes of them to what was made.

        Args:
            graph: The function that they are in.
            ops: The operations.
            made: By name, what they are given now.
            changed: Attributes in which they differ from what they were.
        """
        if not ops:
            return
        names, definition, here = {op.name for op in ops}, GraphDef(), tf.compat.v1.get_default_graph()
        bare = self._without_nodes(graph)
        # Definitions of functions may be large, and only operations that call them need them.
        if any(called(graph, op) for op in ops):
            definition.CopyFrom(bare)  # with the functions that they call
        else:
            definition.versions.CopyFrom(bare.versions)
        for op in ops:
            node = definition.node.add()
            node.CopyFrom(op.node_def)
            node.attr.pop(COLOCATED, None)  # names operations that may be others here
            for name, value in changed.items():
                node.attr[name].CopyFrom(value)
            # Control inputs from outside are left out: what they wait for may have been made otherwise.
            kept = [name for name in node.input if not name.startswith("^") or name[1:] in names]
            del node.input[:]
            node.input.extend(kept)
        if self._constants:
            put(definition, self._constants)
            renamed(definition)
            register(definition.library.function)
        outside = {tensor.name for op in ops for tensor in op.inputs if tensor.op.name not in names}
        inputs, outputs = (
            {name: here.capture(made[name]) for name in outside},
            [old for op in ops for old in op.outputs],
        )
        copied = tf.graph_util.import_graph_def(definition, inputs, [old.name for old in outputs], name=PREFIX)
        for old, new in zip(outputs, copied, strict=True):
            made[old.name] = shaped(new, old)

    def _without_nodes(self, graph: FuncGraph) -> GraphDef:
        if graph not in self._definitions:
            definition = graph.as_graph_def()
            del definition.node[:]
            self._definitions[graph] = definition
        return self._definitions[graph]


def shaped(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """Returns what was made in the place of a tensor, of which later stages need the shape for their specs.

    An import forgets shapes that were set. Other rows or constants may lead to other ones.
    """
    if old.dtype not in (tf.variant, tf.resource) and new.shape.is_compatible_with(old.shape):
        new.set_shape(old.shape)
    return new


def renamed(graph: GraphDef) -> None:
    """Gives the functions in it other names, because they are others than those of that name."""
    names = {
        function.signature.name: f"{function.signature.name}_{uuid.uuid4().hex}" for function in graph.library.function
    }
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for node in nodes_of(graph):
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called_by_node in [value.func] if value.HasField("func") else value.list.func:
                called_by_node.name = names.get(called_by_node.name, called_by_node.name)
