"""What in a step is of one worker alone: it must not decide what all do together, nor what all hold."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from loop.engine.traced.averaged import SHAPES
from loop.engine.traced.followed import followed, kept_in, outermost
from loop.engine.traced.returned import folded
from loop.exact.graph import called, changes, functions, line, operations, uses
from loop.exact.labels import BRANCHES, LOOPS
from loop.exact.origins import deciders, origins
from loop.handles import by_key, key_of, keys
from loop.tensors import FuncGraph
from loop.tf_internals import APART
from loop.workers.collective import number_of
from loop.workers.rows import Part

log = logging.getLogger("exactloop")
OWN = (
    "{0} is below a condition, or in a loop, that each worker decides by its own rows, by what a metric or a variable "
    "has of them, or by numbers that it draws for them{1}. {2} Decide by what is the same in all workers: gradients "
    "that went through loop.average, and what went through loop.total, as in `if tf.math.is_finite(loop.total(loss))`."
)
SKIPS = "RngReadAndSkip"
FEW = 20  # operations of which a number is computed that is looked at
SUM = ("A sum over workers, such as loop.average,", "Some would enter it, and wait for the others without an end.")
WEIGHT = ("A change of {!r}", "Some would change it, and train on with other weights than the others.")
APART_FROM_OTHERS = (
    "Step %r changes %s by the rows of this worker alone, by how many they are, or by numbers that it draws for them, "
    "and one process would by all rows. Workers that come to hold other values are refused when these are compared: "
    "before a save, and when the run ends. Write loop.average(x) around gradients and means over rows, and "
    "loop.total(x) around sums over them."
)


class Own:
    """Finds what comes, in a step, of the rows of this worker alone, or of what it draws for them.

    Args:
        graph: The step, traced for several workers.
        part: What it is given there of a batch.
        averaged: The variables that are averaged over the workers when it ends.
        equal_sizes: Whether all have read the same batch, so that their parts differ in how many rows they have, and in
            no other size, such as that of series that are padded.
    """

    def __init__(self, graph: FuncGraph, part: Part, averaged: Sequence[tf.Variable], *, equal_sizes: bool) -> None:
        self._graph, self._averaged, self._equal_sizes = graph, keys(averaged), equal_sizes
        # What is no row of a batch is the same for all of them.
        given = [each for each in tf.nest.flatten(part.batch, expand_composites=True) if each.shape.rank != 0]
        self._rows = {each.name for each in (*given, part.rows) if isinstance(each, tf.Tensor)}

    def decides(self, op: tf.Operation) -> bool:
        """Returns whether that decides which way is gone in a branch, or how often a loop goes round."""
        return self._is_among(deciders(op, self._ends), self._ends, self._written)

    def is_in(self, values: Sequence[tf.Tensor]) -> bool:
        """Returns whether it goes into one of some values, but for what variables hold that go into them."""

        def ends(each: tf.Tensor) -> bool:
            # The shape of a gradient is the same in all workers, whatever it is computed of.
            is_shape = each.op.type in SHAPES and each.op.inputs[0].name not in self._rows
            return is_shape or self._ends(each)

        return self._is_among(origins(values, ends), ends, lambda read: [])

    def _ends(self, each: tf.Tensor) -> bool:
        op = each.op
        is_known = number_of(op) is not None or op.type == "ReadVariableOp" or APART in op.name
        return is_known or (self._equal_sizes and _is_size(each, self._graph))

    def _written(self, read: tf.Operation) -> list[tf.Tensor]:
        """Returns what a step writes into what it reads there: that is not the same in all workers before it ends."""
        return [] if key_of(outermost(read.inputs[0])) in self._averaged else kept_in(read, of_weights=True)

    def _is_among(
        self,
        found: Iterable[tf.Tensor],
        ends: Callable[[tf.Tensor], bool],
        written: Callable[[tf.Operation], list[tf.Tensor]],
    ) -> bool:
        # By a generator drawn apart; from a seed of the program, all draw alike.
        return any(APART in each.op.name or self._is_row(each) for each in followed(found, ends, written))

    def _is_row(self, each: tf.Tensor) -> bool:
        # An argument of the step; of a function within, it is not known what it is called with.
        return each.op.type == "Placeholder" and each.op.graph is self._graph and each.name in self._rows


def check_decided(graph: FuncGraph, own: Own) -> None:
    """Looks at a step that was traced for several workers.

    Raises:
        ValueError: If a sum over workers is done, or a weight changed, only where this worker's rows have it so.
    """
    weights = {key: each.name for key, each in by_key(graph.variables).items() if each.trainable}
    for within in functions(graph):
        for op in within.get_operations():
            if op.type not in (*BRANCHES, *LOOPS):
                continue
            found = next(_shared(op, weights), None)
            if found is not None and own.decides(op):
                where = line(op)
                raise ValueError(OWN.format(found[0], f" ({where})" if where else "", found[1]))


def warn_of_apart(step: str, graph: FuncGraph, alone: FuncGraph, own: Own, joined: Sequence[tf.Variable]) -> None:
    """Warns of what a step writes into variables by the rows of this worker alone, or by how many they are.

    Args:
        step: Its name.
        graph: The step, traced for several workers.
        alone: The step, traced for one process.
        own: As above.
        joined: The variables that are added up, or averaged, when it ends.
    """
    names = {key: each.name.partition(":")[0] for key, each in by_key(graph.variables).items()}
    written, by_one = (_written_in(each, names.keys() - keys(joined)) for each in (graph, alone))
    found = [key for key, values in written.items() if _has_other_constants(values, by_one[key])]
    # All at once first: nearly always, that is all there is to look at.
    if own.is_in([each for values in written.values() for each in values]):
        found += [key for key, values in written.items() if own.is_in(values)]
    if found:
        log.warning(APART_FROM_OTHERS, step, ", ".join(sorted({repr(names[key]) for key in found})))


def _written_in(graph: FuncGraph, wanted: Iterable[int]) -> dict[int, list[tf.Tensor]]:
    """Returns what is written in a function into variables, by their keys."""
    # Not what a generator skips: by how many numbers, is the same in all workers, and other than in one process.
    done = {key: [op for op in ops if changes(op) and op.type != SKIPS] for key, ops in uses(graph).items()}
    return {
        key: [each for op in done.get(key, []) for each in op.inputs[1:] if each.dtype != tf.resource] for key in wanted
    }


def _has_other_constants(values: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> bool:
    """Returns whether known numbers are among values, in the place of which there are others: of rows, how many."""
    pairs = zip(map(_known, values), map(_known, others), strict=False)
    return any(one is not None and other is not None and not np.array_equal(one, other) for one, other in pairs)


def _known(value: tf.Tensor) -> np.ndarray | None:
    """Returns what a value is, if it is computed of constants by a few operations."""
    static = tf.get_static_value(value)
    known = folded(value, FEW) if static is None else [static]
    return None if known is None else np.asarray(known)


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
