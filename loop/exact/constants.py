"""Constants that are written in a function, and in those that it calls, and the seeds of what draws in them."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from loop.exact.graph import named_functions
from loop.tensors import FuncGraph, GraphDef, NodeDef

AttrValue: TypeAlias = tf.compat.v1.AttrValue
ATTRIBUTES = {"Const": "value", "Bucketize": "boundaries"}  # by the kind of an operation, where its numbers stand
SEED = "seed2"  # where the one stands that a draw was given; the other one is that of the process


class ConstantPlace(NamedTuple):
    """Where a constant stands.

    Attributes:
        function: The name of the function that is called, other ones in each process; "" in the function itself.
        op: The name of the operation.
    """

    function: str
    op: str


def constants_in(graph: FuncGraph) -> dict[ConstantPlace, bytes]:
    """Returns numbers and texts, as TensorFlow writes them, in an order that is the same in each process.

    It copies all of them, large ones, too.
    """
    definition = graph.as_graph_def()
    library = {function.signature.name: function.node_def for function in definition.library.function}
    bodies = {name: library.get(name, ()) for name in named_functions(graph)} | {"": definition.node}
    return {
        ConstantPlace(name, node.name): node.attr[_attribute(node)].SerializeToString(deterministic=True)
        for name, nodes in bodies.items()
        for node in nodes
        if _attribute(node)
    }


def put(definition: GraphDef, constants: Mapping[ConstantPlace, bytes]) -> None:
    """Puts others in the place of constants in the definition of a function, with all that it calls."""
    library = {function.signature.name: function.node_def for function in definition.library.function}
    for name in {place.function for place in constants}:
        for node in library[name] if name else definition.node:
            if ConstantPlace(name, node.name) in constants:
                node.attr[_attribute(node)].ParseFromString(constants[ConstantPlace(name, node.name)])


def value_of(said: bytes) -> tf.Tensor:
    """Returns the value of what TensorFlow has written."""
    value = AttrValue.FromString(said)
    with tf.init_scope():  # it is wanted while something is traced
        if value.HasField("i"):
            return tf.constant(value.i, tf.int64)
        if value.HasField("list"):
            return tf.constant(value.list.f, tf.float32)
        # By the operation: `tf.make_ndarray` cannot read texts that are packed, as TensorFlow packs those of a graph.
        return tf.io.parse_tensor(value.tensor.SerializeToString(), tf.as_dtype(value.tensor.dtype))


def text_in(node: NodeDef) -> tf.Tensor | None:
    """Returns the texts that an operation has, if it is a constant of texts."""
    if node.op != "Const" or node.attr["dtype"].type != tf.string.as_datatype_enum:
        return None
    return value_of(node.attr["value"].SerializeToString())


def is_of_values(dtype: tf.DType) -> bool:
    """Returns whether it is that of numbers or texts."""
    return bool(dtype.is_floating or dtype.is_integer or dtype in (tf.string, tf.bool))


def _attribute(node: NodeDef) -> str:
    """Returns the attribute that has the numbers or texts of an operation; nothing if it has none."""
    if node.op == "Const" and not is_of_values(tf.as_dtype(node.attr["dtype"].type)):
        return ""
    return ATTRIBUTES.get(node.op, SEED if SEED in node.attr else "")
