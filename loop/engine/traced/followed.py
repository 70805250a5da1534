"""What comes into tensors of a step, also by way of what variables hold and of what functions have from outside."""

from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from loop.exact.origins import origins
from loop.handles import by_key, key_of


def followed(
    found: Iterable[tf.Tensor],
    ends: Callable[[tf.Tensor], bool],
    written: Callable[[tf.Operation], list[tf.Tensor]],
) -> Iterator[tf.Tensor]:
    """Yields what tensors are computed of, as `origins` does, and goes on behind it.

    Args:
        found: What `origins` has found, or `deciders`.
        ends: As there.
        written: Called with the read of a variable; returns what is written into it, as far as that counts.
    """
    seen = set[int]()
    while True:
        before = list[tf.Tensor]()  # all of them at once: they have much in common behind them
        for origin in found:
            op = origin.op
            if id(op) in seen:
                continue
            seen.add(id(op))
            is_argument = op.type == "Placeholder" and origin.dtype != tf.resource
            outer = [outer for outer, inner in op.graph.captures if inner is origin] if is_argument else []
            if not outer:
                yield origin
            before += [each for each in outer if tf.is_symbolic_tensor(each)]
            before += written(op) if op.type == "ReadVariableOp" else []
        if not before:
            return
        found = origins(before, ends)


def kept_in(read: tf.Operation, *, of_weights: bool = False) -> list[tf.Tensor]:
    """Returns what is assigned to the variable that an operation reads; of weights only if asked."""
    handle, found = outermost(read.inputs[0]), list[tf.Tensor]()
    graph: tf.Graph | None = read.graph
    while graph is not None and (captures := getattr(graph, "captures", None)):
        variable = by_key(graph.variables).get(key_of(handle))
        if variable is not None and variable.trainable and not of_weights:
            return []  # a weight, which is the same in all workers after each step
        inner = [each for outer, each in captures if outermost(outer) is handle]
        uses_of = [use for each in inner for use in each.consumers()]
        # The value: the handle comes first.
        found += [use.inputs[1] for use in uses_of if use.type.startswith("Assign")]
        graph = graph.outer_graph
    return found


def outermost(tensor: tf.Tensor) -> tf.Tensor:
    """Returns what a tensor is that functions hand on to those within them."""
    while tf.is_symbolic_tensor(tensor):
        outer = next((outer for outer, inner in tensor.graph.captures if inner is tensor), None)
        if outer is None:
            break
        tensor = outer
    return tensor
