"""What is in a traced function and in the functions that it calls."""

import collections
import hashlib
import linecache
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from loop.digest import digest
from loop.types import FuncGraph

READS = ("ReadVariableOp", "VariableShape", "ResourceGather", "VarIsInitializedOp", "LookupTableFind") + (
    "LookupTableSize", "LookupTableExport",
)  # fmt: skip
SUMMARIES = ("SummaryWriter", "Summary")  # a log is not a state
NAMES = ("value", "config_proto", "shared_name", "token")  # attributes: constants, and what something is called
DEPTH = 3
LOOP = os.path.dirname(__file__)
LIBRARIES = tuple(os.path.dirname(file) for file in (tf.__file__, keras.__file__, __file__))


def called(graph: FuncGraph, op: tf.Operation) -> dict[str, FuncGraph]:
    """Returns the functions that an operation calls, such as the body of a loop, by their names."""
    names = [
        function.name
        for value in op.node_def.attr.values()
        for function in ([value.func] if value.HasField("func") else value.list.func)
    ]
    functions = {name: graph._get_function(name) for name in names}
    return {name: function.graph for name, function in functions.items() if function is not None}


def functions(graph: FuncGraph) -> list[FuncGraph]:
    """Returns a function, and all that are called in it, each once."""
    found = {"": graph}
    queue = [graph]
    for each in queue:  # grows while it is read
        for op in each.get_operations():
            new = {name: body for name, body in called(each, op).items() if name not in found}
            found |= new
            queue += new.values()
    return queue


def operations(graph: FuncGraph) -> Iterator[tf.Operation]:
    """Yields all operations, those of each function that is called once."""
    for each in functions(graph):
        yield from each.get_operations()


def uses(graph: FuncGraph) -> dict[int, list[tf.Operation]]:
    """Returns what is done with each resource (a variable, a table, an iterator) that a function has from outside.

    Returns:
        By the id of the captured handle, the operations it is given to, in whatever function that happens.
    """
    found: dict[int, list[tf.Operation]] = collections.defaultdict(list)
    _follow(graph, {inner.name: id(outer) for outer, inner in graph.captures if inner.dtype == tf.resource}, found)
    return found


def _follow(graph: FuncGraph, handles: dict[str, int], found: Mapping[int, list[tf.Operation]]) -> None:
    for op in graph.get_operations():
        here = {i: handles[tensor.name] for i, tensor in enumerate(op.inputs) if tensor.name in handles}
        if not here:
            continue
        if op.type == "Identity":
            handles[op.outputs[0].name] = here[0]
        elif bodies := called(graph, op):
            for body in bodies.values():  # what comes first, such as a condition, is not handed on
                skipped = len(op.inputs) - len(body.inputs)
                inside = {i - skipped: handle for i, handle in here.items() if i >= skipped}
                _follow(body, {body.inputs[i].name: handle for i, handle in inside.items()}, found)
        else:
            for handle in here.values():
                found[handle].append(op)


def changes(op: tf.Operation) -> bool:
    """Returns whether an operation may change a resource that it is given."""
    return not op.type.startswith(READS) and not op.type.endswith(SUMMARIES)


def is_random(op: tf.Operation) -> bool:
    """Returns whether an operation draws from a stream of its own, which nobody can save or restore."""
    return bool(op.op_def.is_stateful) and {"seed", "seed2"} <= op.node_def.attr.keys()


def is_callback(op: tf.Operation) -> bool:
    """Returns whether an operation calls Python, and is not declared to depend on nothing else."""
    return op.type in ("PyFunc", "EagerPyFunc")


def line(op: tf.Operation) -> str:
    """Returns the line of the user's program that made an operation, as `file:number: text`; empty if there is none."""
    frames = list(op.traceback)
    entered = next((i for i, frame in enumerate(frames) if frame.filename.startswith(LOOP)), 0)
    for frame in reversed(frames[entered:]):  # what called the loop has not made it
        if not frame.filename.startswith((*LIBRARIES, "<")):
            file = os.path.relpath(frame.filename) if frame.filename.startswith(os.getcwd()) else frame.filename
            text = linecache.getline(frame.filename, frame.lineno).strip()
            return f"{file}:{frame.lineno}: {text}"
    return ""


def fingerprint(graph: FuncGraph, captured: Sequence[tf.Tensor] = ()) -> dict[str, object]:
    """Returns what tells one function from another, the same in every process that traces it, in JSON values.

    TensorFlow does not put the operations of a loop's gradient in the same order each time, so what is hashed is each
    operation with what comes before it, up to `DEPTH` operations away, as a set (Weisfeiler and Leman 1968).

    Args:
        graph: The function.
        captured: What it has from outside. The values of variables are not looked at; those of constants are.

    Returns:
        `operations`: how many there are of each kind. `structure`: a hash of what they are and how they hang together.
        `constants`: a hash of the numbers in them.
    """
    every = list(operations(graph))
    constants = [_bytes(op.node_def.attr["value"]) for op in every if op.type == "Const"]
    constants += [digest(tensor).encode() for tensor in captured if tensor.dtype not in (tf.resource, tf.variant)]
    return {
        "operations": dict(sorted(collections.Counter(op.type for op in every).items())),
        "structure": _hash(label for each in functions(graph) for label in _labels(each)),
        "constants": _hash(constants),
    }


def _labels(graph: FuncGraph) -> list[bytes]:
    """Returns a hash for each operation of a function."""
    operations = graph.get_operations()
    calls = {op.name: bool(called(graph, op)) for op in operations}
    labels = {op.name: _label(op, [], calls[op.name]) for op in operations}
    for _ in range(DEPTH):
        labels = {op.name: _label(op, [labels[x.op.name] for x in op.inputs], calls[op.name]) for op in operations}
    return list(labels.values())


def _label(op: tf.Operation, inputs: list[bytes], calls: bool) -> bytes:
    if calls:  # such as a loop, whose variables come in any order
        return repr((op.type, sorted(inputs))).encode()
    attributes = op.node_def.attr.items()
    said = sorted((name, _bytes(value)) for name, value in attributes if not name.startswith("_") and name not in NAMES)
    return hashlib.sha256(repr((op.type, said, inputs)).encode()).digest()


def _bytes(value: tf.compat.v1.AttrValue) -> bytes:
    return value.SerializeToString(deterministic=True)


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in sorted(parts))).hexdigest()[:16]
