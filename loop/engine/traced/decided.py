"""Whether all workers go the same way through a step."""

from collections.abc import Iterator

import tensorflow as tf

from loop.engine.traced.averaged import outermost
from loop.exact.graph import called, changes, functions, line, operations
from loop.exact.labels import BRANCHES, LOOPS
from loop.exact.origins import deciders, origins
from loop.handles import by_key, key_of
from loop.tensors import FuncGraph
from loop.tf_internals import APART
from loop.workers.collective import number_of
from loop.workers.rows import Count

OWN = (
    "{0} is below a condition, or in a loop, that each worker decides by its own rows, or by numbers that it draws for "
    "them{1}. {2} Decide by what is the same in all workers: gradients that went through loop.average, and what went "
    "through loop.total, as in `if tf.math.is_finite(loop.total(loss))`."
)
SUM = ("A sum over workers, such as loop.average,", "Some would enter it, and wait for the others without an end.")
WEIGHT = ("A change of {!r}", "Some would change it, and train on with other weights than the others.")


def check_decided(graph: FuncGraph, whole: Count, *, equal_sizes: bool) -> None:
    """Looks at a step that was traced for several workers.

    Args:
        graph: The step.
        whole: How many rows the batch has, which is the same in all workers.
        equal_sizes: Whether all have read the same batch, so that their parts differ in how many rows they have, and in
            no other size, such as that of series that are padded.

    Raises:
        ValueError: If a sum over workers is done, or a weight changed, only where this worker's rows have it so.
    """
    weights = {key: each.name for key, each in by_key(graph.variables).items() if each.trainable}
    for within in functions(graph):
        for op in within.get_operations():
            if op.type not in (*BRANCHES, *LOOPS):
                continue
            found = next(_shared(op, weights), None)
            if found is not None and _is_own(op, graph, whole, equal_sizes):
                where = line(op)
                raise ValueError(OWN.format(found[0], f" ({where})" if where else "", found[1]))


def _shared(op: tf.Operation, weights: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Yields, in words, what within an operation all workers have to do."""
    for body in called(op.graph, op).values():
        for inner in operations(body):
            if number_of(inner) is not None:
                yield SUM
            elif inner.inputs and inner.inputs[0].dtype == tf.resource and not called(inner.graph, inner):
                name = weights.get(key_of(outermost(inner.inputs[0]))) if changes(inner) else None
                if name is not None:
                    yield WEIGHT[0].format(name), WEIGHT[1]


def _is_own(op: tf.Operation, graph: FuncGraph, whole: Count, equal_sizes: bool) -> bool:
    """Returns whether it is decided by something of this worker's alone which way is gone."""
    drawn = list[tf.Tensor]()

    def ends(each: tf.Tensor) -> bool:
        if APART in each.op.name:  # of a generator; from a seed of the program, all draw alike
            drawn.append(each)
        # What a variable holds is the same in all workers after each step.
        is_of_all = number_of(each.op) is not None or each.op.type == "ReadVariableOp"
        return is_of_all or (equal_sizes and _is_size(each, graph))

    queue, seen = [*deciders(op, ends)], set[int]()
    for origin in queue:  # grows while it is read
        of = origin.op
        if id(of) in seen or of.type != "Placeholder" or origin.dtype == tf.resource:
            continue
        seen.add(id(of))
        outer = [outer for outer, inner in of.graph.captures if inner is origin]
        # An argument of the step; of a function within, it is not known what it is called with.
        if not outer and of.graph is graph and origin is not whole:
            return True
        for each in outer:
            if tf.is_symbolic_tensor(each):
                queue += origins(each, ends)
    return bool(drawn)


def _is_size(tensor: tf.Tensor, graph: FuncGraph) -> bool:
    """Returns whether a tensor is what `tf.shape` says of a part of the batch, but for how many rows it has."""
    op = tensor.op
    if op.type not in ("StridedSlice", "Unpack") or op.inputs[0].op.type != "Shape":
        return False
    of = op.inputs[0].op.inputs[0]
    while of.op.type in ("Identity", "Cast", "StopGradient"):
        of = of.op.inputs[0]
    # An argument of the step: of what is computed, the rows may be another dimension.
    if of.op.type != "Placeholder" or of.op.graph is not graph:
        return False
    if op.type == "Unpack":
        return bool(tensor.value_index > 0)
    begin, _, stride = (tf.get_static_value(each) for each in op.inputs[1:])
    if begin is None or stride is None:
        return False
    first = begin[0] if begin[0] >= 0 else begin[0] + (of.shape.rank or 0)
    return bool(first > 0 and stride[0] > 0 and not op.get_attr("begin_mask"))
