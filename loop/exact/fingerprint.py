"""A hash of what a traced function does, the same in every process that traces it."""

import collections
import weakref
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from loop.digest import digest
from loop.exact.constants import ConstantPlace
from loop.exact.graph import uses
from loop.exact.labels import GraphHasher, label_of
from loop.exact.outside import NO_OTHERS, Others
from loop.exact.program import program
from loop.exact.tables import table_of
from loop.handles import by_key, key_of
from loop.tensors import FuncGraph


class FromOutside(NamedTuple):
    """What tells something that a function has from outside: what it is, and its value, if that does not change."""

    what: str
    value: str = ""


def fingerprint(
    graph: FuncGraph,
    captured: Sequence[tf.Tensor] = (),
    *,
    returned: Sequence[str] = (),
    held: Mapping[int, str] | None = None,
    constants: Iterable[tf.Variable] = (),
    others: Others = NO_OTHERS,
) -> dict[str, object]:
    """Returns what tells one function from another, in JSON values.

    What is hashed is what the function returns and what it does to variables and the like, each with all that it is
    computed from. So neither names count nor the order in which TensorFlow has put operations, the arguments of a
    function or the variables of a loop, which need not be the same in each process.

    Args:
        graph: The function.
        captured: What it has from outside.
        returned: The names of what it returns.
        held: The paths in the training state of the variables, tables and iterators in it, by key; see `loop.handles`.
        constants: Variables that nobody changes or saves, of which the value counts therefore.
        others: What it is told with in the place of what it has from outside.

    Returns:
        `operations`: how many there are of each kind. `structure`: a hash of what they are and how they hang together.
        `constants`: a hash of that together with the numbers in them.
    """
    arguments = [FromOutside(f"argument {i}") for i in range(len(graph.inputs) - len(captured))]
    arguments += _outside(graph, captured, held or {}, constants, others.given)
    key = arguments, returned, others.constants  # what else counts is in the graph, which does not change
    if graph not in _KNOWN or _KNOWN[graph][0] != key:
        _KNOWN[graph] = key, _hashed(graph, *key)
    return _KNOWN[graph][1]


# The latest of each graph: a loop is run again more often than anything in it has changed.
_KNOWN: MutableMapping[FuncGraph, tuple[object, dict[str, object]]] = weakref.WeakKeyDictionary()


def _hashed(
    graph: FuncGraph, arguments: Sequence[FromOutside], returned: Sequence[str], others: Mapping[ConstantPlace, bytes]
) -> dict[str, object]:
    bodies = program(graph, others)
    # Twice: a difference in constants alone is told in other words than one in what is computed.
    structure = GraphHasher(bodies, valued=False).of("", [label_of(each.what) for each in arguments])
    constants_too = GraphHasher(bodies, valued=True).of("", [label_of(*each) for each in arguments])
    kinds = collections.Counter(node.kind for body in bodies.values() for node in body.nodes)
    return {
        "operations": dict(sorted(kinds.items())),
        "structure": label_of(returned, structure).hex(),
        "constants": label_of(returned, constants_too).hex(),
    }


def _outside(
    graph: FuncGraph,
    captured: Sequence[tf.Tensor],
    held: Mapping[int, str],
    constants: Iterable[tf.Variable],
    others: Mapping[str, tf.Tensor],
) -> list[FromOutside]:
    values = by_key(constants)
    # Lookup tables, say, which count by their contents.
    unknown = {key_of(x) for x in captured if x.dtype == tf.resource} - {*held} - {*values}
    used = uses(graph) if unknown else {}

    def told(tensor: tf.Tensor, name: str) -> FromOutside:
        key, tensor = key_of(tensor), others.get(name, tensor)
        if key in held:
            return FromOutside(held[key])
        if (variable := values.get(key)) is not None:
            return FromOutside(f"{variable.dtype.name} {variable.shape}", digest(variable.read_value()))
        if tensor.dtype not in (tf.resource, tf.variant):  # a constant from outside, which the trace took in
            return FromOutside(tensor.dtype.name, digest(tensor))
        table = table_of(tensor, used.get(key, ()))
        return FromOutside(tensor.dtype.name, table.digest() if table else "")

    names = [inner.name for inner in graph.inputs[len(graph.inputs) - len(captured) :]]
    return [told(tensor, name) for tensor, name in zip(captured, names, strict=True)]
