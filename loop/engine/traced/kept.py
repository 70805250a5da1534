"""What layers keep of their rows on several workers, and is no mean over them: as far as a trace shows it."""

import logging
from collections.abc import Sequence

import tensorflow as tf

from loop.exact.graph import changes, uses
from loop.exact.origins import origins
from loop.handles import key
from loop.tensors import FuncGraph, unconverted
from loop.workers.collective import number_of

log = logging.getLogger("exactloop")
KEPT = (
    "Step %r changes %s by this worker's rows, otherwise than by a mean over them. What layers keep is averaged over "
    "the workers after each step, by rows, which is right for means, and not for sums, extremes, or rows themselves. "
    "Write loop.total(x) around a sum over rows for what one process has; a layer that keeps rows is for one process."
)


@unconverted
def warn_of_kept(step: str, kept: Sequence[tf.Variable], graph: FuncGraph, batch: Sequence[tf.Tensor]) -> None:
    """Warns of what is averaged over the workers after a step though it comes of rows by another way than a mean.

    Args:
        step: The name of the step.
        kept: What is averaged.
        graph: The step, while it is traced for several workers.
        batch: What it is given of this worker's rows.
    """
    rows = {(each.graph, each.name) for each in batch if each.shape.rank != 0}

    def ends(tensor: tf.Tensor) -> bool:
        is_mean = tensor.op.type == "Mean" or number_of(tensor.op) is not None
        return is_mean or (tensor.graph, tensor.name) in rows

    done, found = uses(graph), list[str]()
    for variable in kept:
        given = [each for op in done.get(key(variable), []) if changes(op) for each in op.inputs[1:]]
        of = [tensor for each in given if each.dtype != tf.resource for tensor in origins(each, ends)]
        if any((tensor.graph, tensor.name) in rows for tensor in of):
            found.append(repr(variable.name.partition(":")[0]))
    if found:
        log.warning(KEPT, step, ", ".join(sorted(found)))
