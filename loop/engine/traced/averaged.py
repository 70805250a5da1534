"""Whether the gradients that an optimizer applies went through `average`."""

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from loop.engine.traced.followed import followed, kept_in
from loop.exact.graph import called, operations
from loop.exact.origins import origins
from loop.tf_internals import APART
from loop.workers.collective import number_of
from loop.workers.sums import TracedStep

SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")  # which are the same of all workers' gradients
FORGOTTEN = (
    "The train step applies gradients of this worker's rows alone, by {}: other workers have other rows, draw other "
    "numbers, and would go on with other weights. Write, before they are clipped or applied, and behind noise that is "
    "added to them, gradients = loop.average(gradients)."
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
    """Returns whether something of this worker's rows, or of what it draws for them, as a generator's noise, comes to
    one of some tensors by a way on which there is no such sum; how many rows the batch has of which these are a part,
    is the same for all."""

    def ends(each: tf.Tensor) -> bool:
        # Whatever a variable holds is looked at below: a weight is the same in all workers, a kept gradient may not be.
        return each.op.type in (*SHAPES, "ReadVariableOp") or number_of(each.op) in step.averaged

    # What is no row of a batch is the same for all, too.
    of_all = [each for each in tf.nest.flatten(step.part.batch, expand_composites=True) if each.shape.rank == 0]
    of_all.append(step.part.whole)

    def is_own(each: tf.Tensor) -> bool:
        # An argument of the step itself, such as the batch.
        is_argument = each.op.type == "Placeholder" and each.dtype != tf.resource
        return APART in each.op.name or (is_argument and not any(each is other for other in of_all))

    # All at once: clipped together, they have all that is behind them in common.
    return any(map(is_own, followed(origins(tensors, ends), ends, kept_in)))
