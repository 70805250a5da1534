"""What is in a traced function and in the functions that it calls."""

import collections
import linecache
import os
from collections.abc import Iterable, Iterator, Mapping

import keras
import tensorflow as tf

from loop.errors.theirs import Line, since_called
from loop.handles import key_of
from loop.tensors import FuncGraph
from loop.tf_internals import body_of, is_known, naming_functions

READS = ("ReadVariableOp", "VariableShape", "ResourceGather", "VarIsInitializedOp", "LookupTableFind") + (
    "LookupTableSize", "LookupTableExport",
)  # fmt: skip
SUMMARIES = ("SummaryWriter", "Summary")  # a log is not a state
POOLS, UNSEEDED = ("FractionalAvgPool", "FractionalMaxPool"), ("NonDeterministicInts",)
TENSORFLOW = os.path.join(os.path.dirname(tf.__file__), "")
KERAS = os.path.join(os.path.dirname(keras.__file__), "src", "")
OF_KERAS = (f"{KERAS}layers", f"{KERAS}random")


def called(graph: FuncGraph, op: tf.Operation) -> dict[str, FuncGraph]:
    """Returns the functions that an operation calls, such as the body of a loop, by their names."""
    # To read the attributes of an operation copies all of them: 20 us, of each of thousands.
    values = [op.node_def.attr[name] for name in naming_functions(op.type)]
    names = [
        function.name for value in values for function in ([value.func] if value.HasField("func") else value.list.func)
    ]
    if not is_known(op.type):  # older parts of TensorFlow call a function by an operation of its name
        names.append(op.type)
    bodies = {name: body_of(graph, name) for name in names}
    return {name: body for name, body in bodies.items() if body is not None}


def functions(graph: FuncGraph) -> list[FuncGraph]:
    """Returns a function, and all that are called in it, each once."""
    return [*named_functions(graph).values()]


def named_functions(graph: FuncGraph) -> dict[str, FuncGraph]:
    """Returns a function under the name "", and all that are called in it by their names, in their order."""
    found = {"": graph}
    queue = [graph]
    for each in queue:  # grows while it is read
        for op in each.get_operations():
            new = {name: body for name, body in called(each, op).items() if name not in found}
            found |= new
            queue += new.values()
    return found


def operations(graph: FuncGraph) -> Iterator[tf.Operation]:
    """Yields all operations, those of each function that is called once."""
    for each in functions(graph):
        yield from each.get_operations()


def behind(wanted: Iterable[tf.Operation]) -> Iterator[tf.Operation]:
    """Yields operations and all that they need in their graph, each once."""
    found = {op.name: op for op in wanted}  # by name: all are of one graph
    queue = list(found.values())
    for op in queue:  # grows while it is read
        new = {tensor.op.name: tensor.op for tensor in op.inputs if tensor.op.name not in found}
        found |= new
        queue += new.values()
        yield op


def uses(graph: FuncGraph, dtype: tf.DType = tf.resource) -> dict[int, list[tf.Operation]]:
    """Returns what is done with each resource (a variable, a table, an iterator) that a function has from outside.

    Args:
        graph: The function.
        dtype: With `tf.variant`, what is done with each dataset instead.

    Returns:
        By the key of the captured handle, the operations it is given to, in whatever function that happens.
    """
    found: dict[int, list[tf.Operation]] = collections.defaultdict(list)
    _follow(graph, {inner.name: key_of(outer) for outer, inner in graph.captures if inner.dtype == dtype}, found)
    return found


def _follow(graph: FuncGraph, handles: dict[str, int], found: Mapping[int, list[tf.Operation]]) -> None:
    for op in graph.get_operations():
        here = {i: handles[tensor.name] for i, tensor in enumerate(op.inputs) if tensor.name in handles}
        if not here:
            continue
        if op.type == "Identity":  # a handle that is handed on within the function
            handles[op.outputs[0].name] = here[0]
        elif (bodies := called(graph, op)) and "Dataset" in op.type:  # which says in no simple way what goes where
            inside = [inner for body in bodies.values() for inner in _with_resources(body)]
            for i, handle in here.items():
                # So whatever a function of a dataset does with any resource counts as done with this one.
                found[handle] += inside if op.inputs[i].dtype == tf.resource else [op]
        elif bodies:
            for body in bodies.values():  # what comes first, such as a condition, is not handed on
                skipped = len(op.inputs) - len(body.inputs)
                handed = {body.inputs[i - skipped].name: handle for i, handle in here.items() if i >= skipped}
                _follow(body, handed, found)
        else:
            for handle in here.values():  # used here, and not handed to a function
                found[handle].append(op)


def _with_resources(graph: FuncGraph) -> Iterator[tf.Operation]:
    """Yields the operations that are given a resource, whichever it is."""
    for each in functions(graph):
        for op in each.get_operations():
            if any(tensor.dtype == tf.resource for tensor in op.inputs) and not called(each, op):
                yield op


def changes(op: tf.Operation) -> bool:
    """Returns whether an operation may change a resource that it is given."""
    # Of what is not known to read, it is taken that it changes: a finding too many is seen, one too few is not.
    return not op.type.startswith(READS) and not op.type.endswith(SUMMARIES)


def named_inputs(op: tf.Operation, name: str) -> list[tf.Tensor]:
    """Returns what an operation is given under a name, be it a list."""
    at = 0
    for argument in op.op_def.input_arg:
        length = len(op.get_attr(argument.type_list_attr)) if argument.type_list_attr else 1
        length = op.get_attr(argument.number_attr) if argument.number_attr else length
        if argument.name == name:
            return list(op.inputs[at : at + length])
        at += length
    return []


def is_random(op: tf.Operation) -> bool:
    """Returns whether an operation draws from a stream of its own, which nobody can save or restore."""
    if op.type in POOLS:
        return not op.node_def.attr["deterministic"].b
    if op.type.startswith("CudnnRNN"):  # a layer of Keras, on a GPU
        return op.node_def.attr["dropout"].f > 0  # its seeds are attributes, and there without dropout, too
    return op.type in UNSEEDED or (bool(op.op_def.is_stateful) and {"seed", "seed2"} <= op.node_def.attr.keys())


def is_unseeded(op: tf.Operation) -> bool:
    """Returns whether an operation makes a dataset that shuffles, or draws, from a seed of its own."""
    given = [named_inputs(op, name) for name in ("seed", "seed2")] if "Dataset" in op.type else []
    seeds = [tf.get_static_value(seed) for each in given for seed in each]
    # Both zero: it takes some at random; None: known only when it runs.
    return len(seeds) == 2 and all(seed is not None and int(seed) == 0 for seed in seeds)


def is_callback(op: tf.Operation) -> bool:
    """Returns whether an operation calls Python, and is not declared to depend on nothing else."""
    return op.type in ("PyFunc", "EagerPyFunc")


def calls_python(op: tf.Operation) -> bool:
    """Returns whether an operation calls Python, whatever is declared of it."""
    return op.type in ("PyFunc", "EagerPyFunc", "PyFuncStateless")


def line(op: tf.Operation) -> str:
    """Returns the line of the user's program that made an operation, as `file:number: text`; empty if there is none."""
    for last in lines(op)[-1:]:
        file = os.path.relpath(last.file) if last.file.startswith(os.getcwd()) else last.file
        return f"{file}:{last.number}: {linecache.getline(last.file, last.number).strip()}"
    return ""


def is_of_keras(op: tf.Operation) -> bool:
    """Returns whether one of Keras' own layers, or random streams, has made an operation."""
    frames = [frame.filename for frame in op.traceback or () if not frame.filename.startswith(TENSORFLOW)]
    # Keras' backend and utilities are called by all of its parts.
    beyond = (name for name in reversed(frames) if not name.startswith((f"{KERAS}backend", f"{KERAS}utils")))
    return next(beyond, "").startswith(OF_KERAS)


def lines(op: tf.Operation) -> list[Line]:
    """Returns the lines of the user's program that made an operation, without those that called what was traced."""
    frames = op.traceback or ()  # none, if it was read from a definition
    return since_called([Line(frame.filename, frame.lineno, frame.name or "<lambda>") for frame in frames])
