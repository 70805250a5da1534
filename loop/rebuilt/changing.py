"""Which operations of a function are made otherwise, because of what they are or of what they use."""

from collections.abc import Collection

import tensorflow as tf

from loop.exact.graph import called
from loop.exact.stage_audit import cycle_of, is_loose, is_open
from loop.tensors import FuncGraph, NodeDef


class Changing:
    """Tells which operations are made otherwise.

    Args:
        kinds: The kinds of those that are in any case.
        pinned: The kinds of those that are if they yield of as many inputs at once as the cores allow.
    """

    def __init__(self, kinds: Collection[str], pinned: Collection[str]) -> None:
        self._kinds, self._pinned = frozenset(kinds), frozenset(pinned)
        self._known: dict[FuncGraph, set[str]] = {}

    def within(self, graph: FuncGraph) -> bool:
        """Returns whether anything in a function is made otherwise."""
        return bool(self._names(graph))

    def node(self, node: NodeDef) -> bool:
        """Returns whether an operation that was read from a definition is made otherwise."""
        return node.op in self._kinds or is_loose(node)

    def calls(self, op: tf.Operation) -> bool:
        """Returns whether an operation calls a function in which anything is made otherwise."""
        return any(map(self.within, called(op.graph, op).values()))

    def read_by(self, op: tf.Operation) -> bool:
        """Returns whether what an operation reads, its first input, is made otherwise."""
        return op.inputs[0].op.name in self._names(op.graph)

    def is_pinned(self, op: tf.Operation, length: tf.Tensor | None = None) -> bool:
        """Returns whether an operation yields of as many inputs at once as the cores allow.

        Args:
            op: The operation.
            length: Of how many at once, as it is given now; None: as it was written.
        """
        written = cycle_of(op) if op.type in self._pinned else None
        return written is not None and is_open(written if length is None else length)

    def _names(self, graph: FuncGraph) -> set[str]:
        """Returns the names of the operations that are made otherwise, and of all that use these."""
        if graph not in self._known:  # each function is looked into once
            names = set[str]()
            # In the order in which they were made: what an operation uses was seen before it.
            for op in graph.get_operations():
                if (
                    self.node(op.node_def)
                    or self.is_pinned(op)
                    or any(tensor.op.name in names for tensor in op.inputs)
                    or self.calls(op)
                ):
                    names.add(op.name)
            self._known[graph] = names
        return self._known[graph]
