"""Whether the gradients that an optimizer applies went through `average`."""

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from loop.exact.graph import called, operations
from loop.exact.origins import origins
from loop.handles import by_key, key_of
from loop.workers.collective import number_of
from loop.workers.sums import TracedStep

SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")  # which are the same of all workers' gradients
FORGOTTEN = (
    "The train step applies gradients of this worker's rows alone, by {}: other workers have other rows, and would go "
    "on with other weights. Write, before they are clipped or applied, gradients = loop.average(gradients)."
)


def averaged(step: TracedStep, optimizer: keras.optimizers.Optimizer, gradients: list) -> list:
    """Returns gradients that a model's own step applies, averaged, unless it has done so itself."""
    return gradients if _went_through(step, gradients) else step.average(gradients)


def check_averaged(step: TracedStep, optimizer: keras.optimizers.Optimizer, gradients: list) -> list:
    """Returns gradients that are applied. Raises `ValueError` if some did not go through `average`."""
    if not _went_through(step, gradients):
        raise ValueError(FORGOTTEN.format(f"{type(optimizer).__name__} {optimizer.name!r}"))
    return gradients


def _went_through(step: TracedStep, gradients: Iterable[object]) -> bool:
    # None is the gradient of a variable that the loss does not depend on: an optimizer leaves that alone.
    given = [tf.convert_to_tensor(each) for each in gradients if each is not None]
    return all(_is_behind(step.averaged, each) for each in given) and not _is_beside(step, given)


def _is_behind(wanted: set[int], tensor: tf.Tensor) -> bool:
    """Returns whether one of some sums over workers is behind a tensor: also by way of variables that gradients are
    kept in, and from within a condition or a function."""
    queue, seen = [tensor], set[int]()
    for each in queue:  # grows while it is read
        op = each.op
        # A sum within a branch, or a loop, is an operation of that function, and not of this graph.
        within = [inner for body in called(op.graph, op).values() for inner in operations(body)]
        if any(number_of(inner) in wanted for inner in (op, *within)):
            return True
        if id(op) in seen:
            continue
        seen.add(id(op))
        queue += op.inputs
        if op.type == "Placeholder":
            # What was there before the step was traced, an eager tensor, has no sum behind it.
            queue += [outer for outer, inner in op.graph.captures if inner is each and tf.is_symbolic_tensor(outer)]
        elif op.type == "ReadVariableOp":
            queue += kept_in(op)  # gradients that are accumulated over several steps, say
    return False


def _is_beside(step: TracedStep, tensors: Sequence[tf.Tensor]) -> bool:
    """Returns whether something of this worker's rows comes to one of some tensors by a way on which there is no such
    sum; how many rows the batch has of which these are a part, is the same for all."""

    def ends(each: tf.Tensor) -> bool:
        # Whatever a variable holds is looked at below: a weight is the same in all workers, a kept gradient may not be.
        return each.op.type in (*SHAPES, "ReadVariableOp") or number_of(each.op) in step.averaged

    # What is no row of a batch is the same for all, too.
    of_all = [each for each in tf.nest.flatten(step.part.batch, expand_composites=True) if each.shape.rank == 0]
    of_all.append(step.part.whole)
    seen = set[int]()
    while tensors:  # all of them at once: clipped together, they have all that is behind them in common
        before = list[tf.Tensor]()
        for origin in origins(tensors, ends):
            op = origin.op
            if id(op) in seen:
                continue
            seen.add(id(op))
            if op.type == "ReadVariableOp":
                before += kept_in(op)
            elif op.type == "Placeholder" and origin.dtype != tf.resource:
                outer = [outer for outer, inner in op.graph.captures if inner is origin]
                # An argument of the step itself, such as the batch.
                if not outer and not any(origin is each for each in of_all):
                    return True
                before += [each for each in outer if tf.is_symbolic_tensor(each)]
        tensors = before
    return False


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
