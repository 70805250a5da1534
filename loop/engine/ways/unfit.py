"""What no program of XLA can have in it, with the lines that made it, and what to write instead."""

import re

import tensorflow as tf

from loop.engine.ways.lengths import MASK, opening
from loop.engine.ways.other_operations import ELSEWHERE, GROWS, IN_MESSAGE, OF_KIND
from loop.errors.op_errors import failed, shortened
from loop.exact.graph import line, operations
from loop.findings import Finding
from loop.tensors import FuncGraph
from loop.tf_internals import is_known_to_xla

UNKNOWN = re.compile(r"(\w+) \(No registered [^{]*(?:\{\{function_node [^}]*\}\})?\{\{node ([^}]*)\}\}")
STACK = "Stack trace for op definition"  # which begins the rest of a message
FLUSHES = "FlushSummaryWriter"  # of summaries, which are named by what they write
INNER = ("Placeholder", "OptionalNone", "OptionalFromValue", "OptionalGetValue")  # which are gone when it compiles
UNCHECKED = ("Assert", "CheckNumerics", "CheckNumericsV2")  # which XLA leaves out


def grows(owner: str, graph: FuncGraph) -> list[Finding]:
    """Returns what XLA would compile into something else: it drops what is written behind the end of an array.

    Of one that may grow, a write is let through if it is known to be within it. In a loop, it never is: the gradient of
    an array that may grow there would end the process.
    """
    ops = [op for op in operations(graph) if op.type == "TensorListSetItem" and _grows(op) and not _is_within(op)]
    return [Finding(f"{owner}: a TensorArray grows, {op.name}", line(op), GROWS) for op in ops]


def _grows(op: tf.Operation) -> bool:
    return op.node_def.attr["resize_if_index_out_of_bounds"].b


def _is_within(op: tf.Operation) -> bool:
    """Returns whether it is known that a write is to a place that an array has from the beginning."""
    index, made = tf.get_static_value(op.inputs[1]), op.inputs[0].op  # None: known only when it runs
    while made.type in ("TensorListSetItem", "Identity"):  # back to where the array was made; writes hand it on
        made = made.inputs[0].op
    size = None
    if made.type == "TensorListReserve":
        size = tf.get_static_value(made.inputs[1])
    elif made.type == "TensorListFromTensor":  # its size is that of what it was made of, if its shape is known
        size = made.inputs[0].shape[0] if made.inputs[0].shape.rank else None
    return index is not None and size is not None and 0 <= index < size


def refused(owner: str, graph: FuncGraph, message: str) -> list[Finding]:
    """Returns what XLA could not compile.

    Args:
        owner: What to call the step.
        graph: What was to be compiled.
        message: What XLA said.
    """
    wanted = UNKNOWN.findall(message)  # pairs of kind and name: XLA lists some of what it does not know, or only one
    if any((op.type, op.name) in wanted for op in operations(graph)):
        ops = [op for op in operations(graph) if (op.type, op.name) in wanted or _is_unknown(op)]
        return [Finding(f"{owner}: {op.type}, {op.name}", line(op), OF_KIND.get(op.type, ELSEWHERE)) for op in ops]
    said = shortened(message)[0].partition(STACK)[0].strip()  # another reason: XLA tells one, and one operation
    instead = next((remedy for part, remedy in IN_MESSAGE.items() if part in said), ELSEWHERE)
    where = next((found for op in operations(graph) if op.name == failed(message) and (found := line(op))), "")
    first = said.partition("\n")[0]
    if not where and (ops := opening(graph)):  # of what it fails to count, XLA names no operation
        why = f"leaves as many elements as values say, and of what is made of them XLA says: {first}"
        return [Finding(f"{owner}: {op.type}, {op.name}, {why}", line(op), MASK) for op in ops]
    return [Finding(f"{owner}: {said}", where, instead)]


def _is_unknown(op: tf.Operation) -> bool:
    """Returns whether XLA does not know an operation that is there when it compiles: not if all is known beforehand."""
    if op.type in (*INNER, FLUSHES) or is_known_to_xla(op.type) or not line(op):
        return False
    return not op.inputs or any(tf.get_static_value(each) is None for each in op.inputs)


def unchecked(graph: FuncGraph) -> list[str]:
    """Returns a line for each check that XLA leaves out."""
    ops = [op for op in operations(graph) if op.type in UNCHECKED]
    return [*dict.fromkeys(f"  {op.type}, at {line(op)}" for op in ops if line(op))]
