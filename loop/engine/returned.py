"""What a step returns on several workers, and is no mean over rows: as far as its trace shows it."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.exact.graph import called, operations
from loop.tensors import unconverted
from loop.workers.collective import number_of

log = logging.getLogger("exactloop")
SAME = ("Identity", "Cast", "Reshape", "EnsureShape", "StopGradient")
COUNT = (
    "Step {!r} returns {!r}, {} that each of several workers computes of its own rows, and that is no mean over rows. "
    "Write loop.total(x) around it for the sum over all rows, or return tf.cast(x, tf.float32) for the mean over them."
)
SIZE = (
    "Step {!r} returns {!r}, which depends on how many rows this worker has, and on nothing else of them. "
    "Write loop.total(x) around it if it is to be added up, as the number of rows is: loop.total(tf.shape(batch)[0])."
)
NAMES = (
    "Step {!r} returns {}, traced for several workers, and {} as it was traced before for one process. A step has to "
    "return the same names whenever it is traced: leave the choice of names to nothing that changes between, such as "
    "a count of the calls in Python."
)
SUM = (
    "Step %r returns %r, a sum over the rows of a batch. Each of several workers adds up its own, and what is logged "
    "is the mean of these sums; so is the gradient, if that is a loss. Write loop.total(x) around it for what one "
    "process has, or tf.reduce_mean for a mean."
)


@unconverted
def check_returned(
    step: str, values: Mapping[str, tf.Tensor], alone: Mapping[str, tf.Tensor], batch: Sequence[tf.Tensor]
) -> None:
    """Looks at what a step returns, while it is traced for several workers; a sum over rows is warned of.

    Args:
        step: Its name.
        values: What it returns here, by name.
        alone: What it returns where it was traced for one process.
        batch: What it is given of this worker's rows.

    Raises:
        ValueError: If a whole number, or a truth value, depends on these rows alone; or if anything depends on how many
            there are, and on nothing else of them; or if it has returned other names there.
    """
    if values.keys() != alone.keys():
        raise ValueError(NAMES.format(step, sorted(values), sorted(alone)))
    for name, value in values.items():
        value, of_all = tf.convert_to_tensor(value), tf.convert_to_tensor(alone[name])
        if not _depends(value, batch):
            here, alone_too = _constants(value), _constants(of_all)
            if here is not None and alone_too is not None and here != alone_too:
                raise ValueError(SIZE.format(step, name))
        elif not value.dtype.is_floating:
            kind = "a truth value" if value.dtype.is_bool else "a whole number"
            raise ValueError(COUNT.format(step, name, kind))
        elif _adds_up_rows(value, batch):
            log.warning(SUM, step, name)


def _depends(value: tf.Tensor, batch: Sequence[tf.Tensor]) -> bool:
    """Returns whether a value is computed of a batch, and not by way of what is added up over all workers."""
    rows = {each.name for each in batch if each.shape.rank != 0}  # else it is the same for all of them
    return any(tensor.name in rows for tensor in _behind(value))


def _constants(value: tf.Tensor) -> list[object] | None:
    """Returns the constants that a value is computed of; None if it is computed of anything else."""
    found = [*_behind(value)]
    sources = [tensor for tensor in found if not tensor.op.inputs]
    if any(map(_adds_up, {tensor.op for tensor in found})) or any(tensor.op.type != "Const" for tensor in sources):
        return None
    return [np.asarray(tf.get_static_value(tensor)).tolist() for tensor in sources]


def _behind(value: tf.Tensor) -> Iterator[tf.Tensor]:
    """Yields a value and all that it is computed of, up to what is added up over all workers."""
    queue, seen = [value], {value.name}
    for tensor in queue:  # grows while it is read
        yield tensor
        op = tensor.op
        if _adds_up(op):
            continue
        inputs = [op.inputs[tensor.value_index]] if op.type == "IdentityN" else op.inputs  # as of a custom gradient
        new = {each.name: each for each in inputs if each.name not in seen}
        seen |= new.keys()
        queue += new.values()


def _adds_up(op: tf.Operation) -> bool:
    """Returns whether an operation adds up over all workers, by itself or in a function that it calls."""
    within = (inner for body in called(op.graph, op).values() for inner in operations(body))
    return any(number_of(each) is not None for each in (op, *within))


def _adds_up_rows(value: tf.Tensor, batch: Sequence[tf.Tensor]) -> bool:
    """Returns whether a value is a sum over as many rows as a batch has."""
    op = value.op
    while op.type in SAME:
        op = op.inputs[0].op
    if op.type != "Sum" or not (rank := op.inputs[0].shape.rank):
        return False
    axes, sizes = tf.get_static_value(op.inputs[1]), {each.shape[0] for each in batch if each.shape.rank}
    return axes is not None and 0 in [int(axis) % rank for axis in np.ravel(axes)] and op.inputs[0].shape[0] in sizes
