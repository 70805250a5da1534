"""What tracing a step for several workers needs to know of it."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.data.own_files import OwnFiles
from loop.data.source import Batches, Data
from loop.engine.traced.averaged import averaged, check_averaged
from loop.engine.traced.means import examples_in
from loop.engine.traced.measured import check_additive, results_of_all
from loop.engine.traced.strategies import check_no_strategy
from loop.exact.graph import changes, uses
from loop.handles import key
from loop.state.variables import all_layers, flat, nodes, optimizers, own_variables
from loop.steps import Step
from loop.tensors import FuncGraph, Nest, raw
from loop.workers.cluster import Workers
from loop.workers.joining import check_joined
from loop.workers.rows import OwnRows, Part, alone
from loop.workers.together import Together

log = logging.getLogger("exactloop")
MANY = 4  # workers, from which on it is said that all of them read what each needs a part of
READ_BY_ALL = (
    "Each of the %d workers reads all batches of this %s, and trains on its own rows of them. With ArrayData, or "
    "IndexedData(items, batch_size=n), each would read only these; with StreamData(dataset, shard='files'), files of "
    "its own."
)


class Several(NamedTuple):
    """Several workers, as a loop sees them.

    Attributes:
        workers: All of them.
        own: The rows of this one.
        given: The user's `state=`.
        equal_sizes: Whether all read the same batches, so that parts of one differ in how many rows they have alone.
    """

    workers: Workers
    own: OwnRows
    given: Mapping[str, object]
    equal_sizes: bool = True

    def reading(self, data: Batches) -> "Several":
        """Returns the workers, as they read some data."""
        own = isinstance(data, OwnFiles) or (isinstance(data, IndexedData) and data.own is not None)
        return self._replace(equal_sizes=not own)

    def read_apart(self, data: Data) -> None:
        """Has data that can do so read the rows of this worker alone; unless somebody wants to know the whole batch."""
        if isinstance(data, ArrayData | IndexedData):
            data.read_apart(self.own)

    def part(self, data: Batches, batch: Nest, ahead: Nest, index: tf.Tensor) -> Part:
        """Returns the rows of this worker of a batch.

        Args:
            data: Where it comes from.
            batch: As it was read.
            ahead: What the data had handed on, of which it was taken.
            index: Its number in the pass, from 0: int32 `[]`.
        """
        if isinstance(data, OwnFiles):
            return alone(batch, data.rows_of_all(ahead))
        # It was fetched so: these are this worker's rows.
        if isinstance(data, ArrayData | IndexedData) and data.own is not None:
            whole = data.size_at(index)
            return Part(batch, self.own.size(whole), whole)
        return self.own.of(batch)

    def together(self, step: Step, graph: FuncGraph) -> Together:
        """Returns what runs a step on several workers.

        Args:
            step: The step.
            graph: The step as one process runs it, traced, so that its metrics and layers are built.
        """
        check_additive(step.variables(), graph)
        metrics = [variable for variables in step.variables().values() for variable in variables]
        apart = {id(raw(variable)) for variable in metrics}  # metrics in layers: these are added up, and not averaged
        statistics = [each for each in _statistics(self.given, graph) if id(each) not in apart]
        # Who writes a step has to call average; a step of Keras' own cannot, so it is done for it.
        applied = check_averaged if step.of_model is None else averaged
        return Together(self.workers, metrics, statistics, applied, results_of_all(step))


def several_of(
    workers: Workers, given: Mapping[str, object], data: Data, evaluated: Iterable[Data], *, jit_compile: bool
) -> Several | None:
    """Returns what tracing needs to know of the workers; None if there is one. Has data read by each what is its own.

    Args:
        workers: All of them.
        given: The user's `state=`.
        data: What is trained on.
        evaluated: The data of evaluations.
        jit_compile: Whether XLA is to compile the loop.

    Raises:
        RuntimeError: If a strategy of TensorFlow's is in use; or if this is one of several and has not joined them.
        ValueError: If batches have fewer rows than there are workers; with `jit_compile`.
    """
    check_no_strategy(given)
    if not workers.are_several:
        check_joined()
        return None
    if jit_compile:
        raise ValueError(
            "Loop(jit_compile=True) is for one process: XLA has no sums over several, as they are in every step. "
            f"Received: one of {workers.count} workers. Leave it out."
        )
    if isinstance(data, ArrayData) or (isinstance(data, IndexedData) and not data.of_batches):
        size: int | None = int(data.size_at(tf.constant(0)))
    else:
        size = examples_in(data.element_spec)
        if workers.is_chief and workers.count > MANY and not isinstance(data, OwnFiles):
            log.warning(READ_BY_ALL, workers.count, type(data).__name__)
    if size is not None and size < workers.count:  # else some worker would never have a row
        raise ValueError(
            f"A batch needs at least one row for each of the {workers.count} workers. Received: batches of {size}. "
            f"Give them batch_size={workers.count} or more: it is that of all workers together."
        )
    several = Several(workers, OwnRows(workers.rank, workers.count), given)
    for each in (data, *evaluated):  # before anything is traced: it decides what a batch is like
        several.read_apart(each)
    return several


def _statistics(given: Mapping[str, object], graph: FuncGraph) -> Iterator[tf.Variable]:
    """Yields what a step changes of layers and modules without training it: floating, of no optimizer or metric."""
    changed = {handle for handle, ops in uses(graph).items() if any(map(changes, ops))}
    parts = [value for value in flat(given) if not isinstance(value, tf.Variable | keras.Variable | keras.Metric)]
    others = {id(raw(variable)) for optimizer in optimizers(given) for variable in optimizer.variables}
    found = [node for part in parts for node in nodes(part) if isinstance(node, tf.Variable)]
    found += [raw(variable) for layer in all_layers(given) for variable in own_variables(layer)]
    for variable in {id(variable): variable for variable in found}.values():
        mine = not variable.trainable and variable.dtype.is_floating and id(variable) not in others
        if mine and key(variable) in changed:
            yield variable
