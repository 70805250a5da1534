"""A traced function as data: its operations, and those of all functions that it calls."""

import graphlib
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from loop.exact.constants import ConstantPlace, put
from loop.tensors import FuncGraph, NodeDef
from loop.tf_internals import COMPILED, naming_functions, op_definition

Library: TypeAlias = Mapping[str, Any]  # of `FunctionDef`s by name
NAMES = ("config_proto", "shared_name", "token", "message", "parallel_iterations")  # what something is called, hints
LOGS = ("Assert", "Print", "Summary")  # change no number, and tell the names of layers, which count up in a process


class Node(NamedTuple):
    """An operation.

    Attributes:
        name: What the others call it.
        kind: What it does, such as `MatMul`; `Function` if that is nothing but to call one.
        said: Its attributes that matter.
        value: A digest of its value, if it is a constant.
        inputs: `name` or `name:place`, in their order; a place ends with the index of the output.
        waits: The names of the operations that it has to come after.
        bodies: The names of the functions that it calls.
        acts: Whether it reads or changes something outside of the function, other than a log.
    """

    name: str
    kind: str
    said: bytes
    value: bytes
    inputs: Sequence[str]
    waits: Sequence[str]
    bodies: Sequence[str]
    acts: bool


class FunctionBody(NamedTuple):
    """A function: the names of its arguments, its operations, each after all that it needs, and what it returns."""

    arguments: Sequence[str]
    nodes: Sequence[Node]
    returns: Sequence[str]


def program(graph: FuncGraph, others: Mapping[ConstantPlace, bytes] = MappingProxyType({})) -> dict[str, FunctionBody]:
    """Returns a traced function under the name "", and by their names all that are called in it.

    Args:
        graph: The function.
        others: By where constants stand in it, what TensorFlow writes of those that it is told with in their place.
    """
    definition = graph.as_graph_def()  # a copy, in which the functions are that it calls
    put(definition, others)
    library = {function.signature.name: function for function in definition.library.function}
    arguments, returns = ([tensor.name for tensor in tensors] for tensors in (graph.inputs, graph.outputs))
    bodies = {"": _body([name.partition(":")[0] for name in arguments], definition.node, returns, library)}
    queue = [*bodies.values()]
    for body in queue:  # grows while it is read
        for name in {name: None for node in body.nodes for name in node.bodies if name not in bodies}:
            function, signature = library[name], library[name].signature
            arguments = [argument.name for argument in signature.input_arg]
            returns = [function.ret[output.name] for output in signature.output_arg]
            bodies[name] = _body(arguments, function.node_def, returns, library)
            queue.append(bodies[name])
    return bodies


def _body(
    arguments: Collection[str], nodes: Iterable[NodeDef], returns: Iterable[str], library: Library
) -> FunctionBody:
    given = {*arguments}
    found = {node.name: node for node in nodes if node.name not in given}
    # What a function returns that is called by its own name, as older parts of TensorFlow do, has names too.
    named = {node.name: _returned(library, node.op) for node in found.values() if node.op in library}

    def place(reference: str) -> str:
        name, *at = reference.split(":")
        return f"{name}:{named[name].index(at[0])}" if name in named and len(at) > 1 else reference

    read = {name: _node(node, [place(reference) for reference in node.input], library) for name, node in found.items()}
    # The gradient of a loop gives it more inputs, which are made after it; so they are not in order already.
    needs = {
        name: [need for need in (*(of.partition(":")[0] for of in node.inputs), *node.waits) if need in read]
        for name, node in read.items()
    }
    order = graphlib.TopologicalSorter(needs).static_order()
    return FunctionBody([*arguments], [read[name] for name in order], [place(reference) for reference in returns])


def _returned(library: Library, name: str) -> list[str]:
    return [output.name for output in library[name].signature.output_arg]


def _node(node: NodeDef, inputs: Iterable[str], library: Library) -> Node:
    given = sorted(node.attr.items())  # a map, which has no order
    # Most kinds have none: to look into each attribute would take as long as all else.
    calling = [node.attr[name] for name in naming_functions(node.op) if name in node.attr]
    functions = [f for value in calling for f in ([value.func] if value.HasField("func") else value.list.func)]
    # Itself, as of older parts of TensorFlow; and those in attributes.
    called = [*([node.op] if node.op in library else []), *(function.name for function in functions)]
    said = [
        (name, value.SerializeToString(deterministic=True))
        for name, value in given
        # XLA joins operations, which gives other bits.
        if (value.b if name in COMPILED else name[0] != "_" and name not in NAMES and name != "value")
        # Of what calls a function, lists only repeat the types of its arguments, the order of which does not count.
        and not (called and (value.HasField("func") or value.HasField("list")))
    ]
    value = node.attr["value"].SerializeToString(deterministic=True) if "value" in node.attr else b""
    return Node(
        name=node.name,
        kind="Function" if node.op in library else node.op,
        said=hashlib.sha256(repr(said).encode()).digest(),
        value=hashlib.sha256(value).digest(),  # a digest: constants may be as large as a data set
        inputs=[reference for reference in inputs if reference[0] != "^"],
        waits=[reference[1:] for reference in inputs if reference[0] == "^"],
        bodies=called,
        acts=op_definition(node.op).is_stateful and not any(log in node.op for log in LOGS),
    )
