"""What a step returns on several workers, and is no mean over rows: as far as its trace shows it."""

import itertools
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.exact.graph import behind
from loop.exact.origins import CALLS, origins, same_as
from loop.tensors import GraphDef, unconverted
from loop.workers.collective import number_of

log = logging.getLogger("exactloop")
SCALING = ("Mul", "RealDiv", "DivNoNan")
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
    "Step %r returns %r, a sum over the rows of a batch, be it divided by a fixed number. Each of several workers adds "
    "up its own, and what is logged is the mean of these sums; so is the gradient, if that is a loss. Write "
    "loop.total(x) around it for what one process has, or tf.reduce_mean for a mean."
)
EXTREME = (
    "Step %r returns %r, the largest or the smallest of the rows of a batch. Each of several workers has that of its "
    "own rows, and what is logged is the mean of these."
)
SAID = {"Sum": SUM, "L2Loss": SUM, "Max": EXTREME, "Min": EXTREME}  # by operation


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
    rows = {(each.graph, each.name) for each in batch if each.shape.rank != 0}  # else it is the same for all of them

    def ends(tensor: tf.Tensor) -> bool:
        return _adds_up(tensor) or (tensor.graph, tensor.name) in rows

    for name, value in values.items():
        value, of_all = tf.convert_to_tensor(value), tf.convert_to_tensor(alone[name])
        of = [*origins(value, ends)]  # a sum over all workers ends it: what comes of that is the same in all
        if not any((tensor.graph, tensor.name) in rows for tensor in of):
            if not (_may_equal(of, [*origins(of_all, _adds_up)]) or _equal(folded(value), folded(of_all))):
                raise ValueError(SIZE.format(step, name))
        elif not value.dtype.is_floating:  # of which the mean over workers, by rows, means nothing
            kind = "a truth value" if value.dtype.is_bool else "a whole number"
            raise ValueError(COUNT.format(step, name, kind))
        elif (reduced := _reduces_rows(value, of_all, batch)) is not None:
            log.warning(SAID[reduced], step, name)


def _adds_up(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor has been added up over all workers."""
    return number_of(tensor.op) is not None


def _may_equal(some: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> bool:
    """Returns whether what two values are computed of is the same, or no constants alone."""
    if any(tensor.op.type != "Const" for tensor in (*some, *others)):
        return True
    return _equal(*([np.asarray(tf.get_static_value(tensor)) for tensor in each] for each in (some, others)))


def _equal(some: Sequence[np.ndarray] | None, others: Sequence[np.ndarray] | None) -> bool:
    """Returns whether values are the same, NaN too, but for rounding; not if any are not known."""
    if some is None or others is None or len(some) != len(others):
        return False
    return all(map(_is_close, some, others))


def _is_close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype.kind not in "fV":  # V: of no type of NumPy's own, such as bfloat16
        return np.array_equal(one, other)
    return np.allclose(one.astype(np.float64), other.astype(np.float64), rtol=1e-5, atol=0, equal_nan=True)


def folded(value: tf.Tensor, most: int = 1_000_000) -> list[np.ndarray] | None:
    """Returns what is computed of constants, by so many operations at most; None if the function in which it is has to
    be given something for that, or it takes more."""
    value = same_as(value)
    needed = [*itertools.islice(behind([value.op]), most + 1)]
    # What more than constants go into cannot be computed here.
    if len(needed) > most or any(
        op.op_def.is_stateful or (not op.inputs and op.type not in ("Const", *CALLS)) for op in needed
    ):
        return None
    definition, names = value.graph.as_graph_def(), {op.name for op in needed}
    nodes = [node for node in definition.node if node.name in names]
    for node in nodes:
        node.input[:] = [each for each in node.input if not each.startswith("^")]  # a value waits for nothing
    definition = GraphDef(node=nodes, library=definition.library, versions=definition.versions)
    with tf.init_scope():  # out of the trace, to where it can be run
        graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, return_elements=[value.name]), [])
        return [each.numpy() for each in graph()]


def _reduces_rows(value: tf.Tensor, of_all: tf.Tensor, batch: Sequence[tf.Tensor]) -> str | None:
    """Returns by what operation a value is a sum, or the largest, of as many rows as a batch has, or such a one times a
    fixed number; None if it is not."""
    op, whole = same_as(value).op, same_as(of_all).op
    while op.type in SCALING and whole.type == op.type:
        fixed, there = ([tf.get_static_value(each) for each in of.inputs] for of in (op, whole))
        known = [i for i, each in enumerate(fixed) if each is not None]
        # Divided by the number of rows, of which all have more, it is a mean.
        if len(known) != 1 or not np.array_equal(fixed[known[0]], there[known[0]]):
            return None
        op, whole = (same_as(of.inputs[1 - known[0]]).op for of in (op, whole))
    if op.type not in SAID or not (rank := op.inputs[0].shape.rank):
        return None
    sizes = {each.shape[0] for each in batch if each.shape.rank}
    # Rows are the first axis of a batch.
    axes = [0] if op.type == "L2Loss" else tf.get_static_value(op.inputs[1])
    of_rows = axes is not None and 0 in [int(axis) % rank for axis in np.ravel(axes)]
    return op.type if of_rows and op.inputs[0].shape[0] in sizes else None
