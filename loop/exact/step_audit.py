"""What would keep a resumed run from ending with the same bits, found before the first step."""

import logging
from collections.abc import Callable, Collection, Sequence

import tensorflow as tf

from loop.digest import unchanged
from loop.errors.remedies import (
    CLOCK,
    ITERATED_IN_STEP,
    MADE_IN_STEP,
    PYTHON_IN_STEP,
    QUEUE,
    RANDOM_IN_STEP,
    READ_IN_STEP,
    SEED_IN_STEP,
    STATE,
)
from loop.exact.graph import changes, is_callback, is_random, is_unseeded, line, operations, uses
from loop.exact.tables import Table, table_of
from loop.findings import Finding
from loop.handles import by_key, captured, key
from loop.tensors import FuncGraph

log = logging.getLogger("exactloop")


def in_function(graph: FuncGraph, owner: str) -> list[Finding]:
    """Returns what is random, or calls Python, in a function and in those that it calls."""
    found = []
    for op in operations(graph):
        if is_random(op):
            what = f"{owner} draws from a stream that cannot be saved: {op.type}"
            found.append(Finding(what, line(op), RANDOM_IN_STEP))
        elif is_unseeded(op):
            what = f"{owner} shuffles, or draws, in a dataset without a seed: {op.type}"
            found.append(Finding(what, line(op), SEED_IN_STEP))
        elif is_callback(op):
            found.append(Finding(f"{owner} calls Python: {op.type}", line(op), PYTHON_IN_STEP))
        elif op.type.startswith(KEEPING):
            what = f"{owner} keeps values in something that it makes itself and that outlives it: {op.type}"
            found.append(Finding(what, line(op), MADE_IN_STEP))
        elif op.type == "Timestamp":
            found.append(Finding(f"{owner} reads the clock", line(op), CLOCK))
    for ops in uses(graph, tf.variant).values():
        iterating = [op for op in ops if "Dataset" in op.type or op.type == "MakeIterator"]
        what = f"{owner} iterates a dataset made outside of it, which may have another order each time"
        found += [Finding(what, line(op), ITERATED_IN_STEP) for op in iterating[:1]]  # once for each dataset
    return found


class TraceAudit:
    """A traced function, looked at once.

    Args:
        graph: The function.
        owner: What to call it.
    """

    def __init__(self, graph: FuncGraph, owner: str) -> None:
        self._owner, self._found, self._uses = owner, in_function(graph, owner), uses(graph)
        self._variables, self._captured = by_key(graph.variables), captured(graph)

    def findings(self, covered: Collection[int]) -> list[Finding]:
        """Returns what would keep a run from being resumed exactly.

        Args:
            covered: The keys of the variables, tables and iterators that a checkpoint holds; see `loop.handles`.
        """
        return self._found + [
            Finding(
                f"{self._owner} changes what no checkpoint would hold: {self._name(key, op)}",
                line(op),
                QUEUE if op.type.startswith("Queue") else STATE,
            )
            for key, op in self._changing(covered).items()
            if op is not None
        ]

    def only_read(self, covered: Collection[int]) -> list[tf.Variable]:
        """Returns the variables that the function does not change and no checkpoint holds."""
        read = [key for key, op in self._changing(covered).items() if op is None]
        return [self._variables[key] for key in read if key in self._variables]

    def has(self, key: int) -> bool:
        """Returns whether the function does anything with what has this key."""
        return key in self._uses

    def may_change(self, key: int) -> bool:
        """Returns whether the function does anything but read what has this key."""
        return any(map(changes, self._uses.get(key, ())))

    def changed(self) -> dict[int, tf.Operation]:
        """Returns the first operation that changes something, by the key of what it changes."""
        return {key: op for key, op in self._changing(()).items() if op is not None}

    def tables(self, covered: Collection[int]) -> list[Table]:
        """Returns the lookup tables that the function does not change."""
        read = [key for key, op in self._changing(covered).items() if op is None and key not in self._variables]
        found = [table_of(self._captured[key], self._uses[key]) for key in read]
        return [table for table in found if table is not None]

    def _changing(self, covered: Collection[int]) -> dict[int, tf.Operation | None]:
        """Returns by the key of what no checkpoint holds the first operation that changes it; None if none does."""
        uses = {key: ops for key, ops in self._uses.items() if key not in covered}
        return {key: next((op for op in ops if changes(op)), None) for key, ops in uses.items()}

    def _name(self, key: int, op: tf.Operation) -> str:
        variable = self._variables.get(key)
        if variable is None:
            return KINDS.get(op.type[:8], op.type)
        return f"{variable.name}  shape {variable.shape}, {variable.dtype.name}"


# By the first letters of what is done with it.
KINDS = {"Iterator": "an iterator", "LookupTa": "a lookup table", "QueueEnq": "a queue", "QueueDeq": "a queue"}
# Resources that are found again by their names; those without one begin with "Anonymous".
KEEPING = ("MutableHashTable", "MutableDenseHashTable", "VarHandleOp", "VariableV2", "Stage", "MapStage") + (
    *("OrderedMapStage", "FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "RandomShuffleQueue", "Barrier"),
)


class Constants:
    """Variables and lookup tables of which nobody but a hook could know that they change.

    Args:
        variables: What the steps, or functions of the data, only read.
        tables: Lookup tables like that.
        in_data: The keys of those that functions of the data read, which a checkpoint may hold: it does not know which
            elements were made with which of their values.
    """

    def __init__(
        self,
        variables: Sequence[tf.Variable],
        tables: Sequence[Table],
        in_data: Collection[int] = frozenset(),
    ) -> None:
        self._noted = [(each.name, key(each) in in_data, unchanged(each)) for each in variables]
        self._noted += [("a lookup table", False, _unchanged(table)) for table in tables]

    def changed(self) -> list[str]:
        """Returns what to call those that have another value than when this was made."""
        return [name for name, _, is_unchanged in self._noted if not is_unchanged()]

    def findings(self) -> list[Finding]:
        """Returns those that have another value than when this was made, in the course of a run."""
        which = {True: ("functions of the data read", READ_IN_STEP), False: ("no checkpoint holds", STATE)}
        changed = [(name, *which[in_data]) for name, in_data, is_unchanged in self._noted if not is_unchanged()]
        what = "A hook, or another thread, has changed what"
        return [Finding(f"{what} {by}: {name}", "", remedy) for name, by, remedy in changed]


def _unchanged(table: Table) -> Callable[[], bool]:
    then = table.digest()  # a digest: a copy of a large table would stay
    return lambda: table.digest() == then
