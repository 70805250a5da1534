"""What no program of XLA can have in it, with the lines that made it, and what to write instead."""

import re

import tensorflow as tf

from loop.engine.ways.lengths import LEAVE_OUT, MASK, opening
from loop.errors.op_errors import failed, shortened
from loop.exact.graph import line, operations
from loop.findings import Finding
from loop.tensors import FuncGraph

UNKNOWN = re.compile(r"(\w+) \(No registered [^{]*(?:\{\{function_node [^}]*\}\})?\{\{node ([^}]*)\}\}")
STACK = "Stack trace for op definition"  # which begins the rest of a message
UNCHECKED = ("Assert", "CheckNumerics", "CheckNumericsV2")  # which XLA leaves out
ELSEWHERE = f"{LEAVE_OUT} do this in the data: XLA knows no texts, tables, Python, and few other things."
INSTEAD = {  # by what is in the message; the first that is counts
    "with op DenseBincount must be": f"{LEAVE_OUT} write tf.reduce_sum(tf.one_hot(x, depth=100), axis=0) for "
    "counts of whole numbers: with as many places as there can be numbers.",
    "with op ResourceStridedSliceAssign must be": f"{LEAVE_OUT} write "
    "v.scatter_update(tf.IndexedSlices(x, start + tf.range(4))) for v[start : start + 4].assign(x).",
    "must be a compile-time constant": f"{LEAVE_OUT} give it a length that does not depend on values: the "
    "largest there can be, with a mask of what counts. XLA has to know shapes beforehand.",
    "requires a fixed tensor list size": f"{LEAVE_OUT} say how often the loop can run that it goes back through: write "
    "tf.autograph.experimental.set_loop_options(maximum_iterations=100) in its first line, or "
    "tf.while_loop(..., maximum_iterations=100).",
}
GROWS = f"{LEAVE_OUT} write tf.TensorArray(dtype, size=100), without dynamic_size: as many as there can be."

PRINT = f"{LEAVE_OUT} return from the step what is to be seen, a number under a name: it is logged."
SEGMENTS = f"{LEAVE_OUT} write tf.math.unsorted_segment_{{}}(x, ids, num_segments=100): as many as there can be."
OF_KIND = {"TensorListResize": GROWS}  # of the gradient of one that may grow
OF_KIND["StringFormat"] = PRINT  # of tf.print
OF_KIND |= {f"Segment{kind}": SEGMENTS.format(kind.lower()) for kind in ("Sum", "Mean", "Prod", "Max", "Min")}


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
    wanted = UNKNOWN.findall(message)  # pairs of kind and name, as XLA lists all that it does not know
    if ops := [op for op in operations(graph) if (op.type, op.name) in wanted]:
        return [Finding(f"{owner}: {op.type}, {op.name}", line(op), OF_KIND.get(op.type, ELSEWHERE)) for op in ops]
    said = shortened(message)[0].partition(STACK)[0].strip()  # another reason: XLA tells one, and one operation
    instead = next((remedy for part, remedy in INSTEAD.items() if part in said), ELSEWHERE)
    where = next((found for op in operations(graph) if op.name == failed(message) and (found := line(op))), "")
    first = said.partition("\n")[0]
    if not where and (ops := opening(graph)):  # of what it fails to count, XLA names no operation
        why = f"leaves as many elements as values say, and of what is made of them XLA says: {first}"
        return [Finding(f"{owner}: {op.type}, {op.name}, {why}", line(op), MASK) for op in ops]
    return [Finding(f"{owner}: {said}", where, instead)]


def unchecked(graph: FuncGraph) -> list[str]:
    """Returns a line for each check that XLA leaves out."""
    ops = [op for op in operations(graph) if op.type in UNCHECKED]
    return [*dict.fromkeys(f"  {op.type}, at {line(op)}" for op in ops if line(op))]
