"""Which of the operations of its function one is: a number that is the same in each process."""

import collections
from collections.abc import Collection, Mapping

import tensorflow as tf

from loop.handles import key_of
from loop.rebuilt.late_rows import ROWS
from loop.tensors import FuncGraph

CHANGES_NOTHING = ("OptionsDataset",)  # does not change what is yielded


class Counts:
    """Counts the operations of functions.

    Args:
        kinds: The kinds of those that count: names, and how many there are of others, may be different in a program
            that yields the same.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds) - frozenset(CHANGES_NOTHING)
        self._places: dict[FuncGraph, dict[str, str]] = {}
        self._users: dict[FuncGraph, Mapping[str, Mapping[str, int]]] = {}

    def of(self, op: tf.Operation) -> str:
        """Returns which of the operations of its function it is that count; nothing, if it does not."""
        if op.graph not in self._places:
            # The number among those that are made otherwise: others may be added without moving it.
            written = [each for each in op.graph.get_operations() if ROWS not in each.name]
            found = [each.name for each in written if each.type in self._kinds]
            self._places[op.graph] = {name: f"{number}" for number, name in enumerate(found)}
        return self._places[op.graph].get(op.name, "")

    def ranks(self, op: tf.Operation, made: Mapping[str, tf.Tensor], streams: Collection[int]) -> Mapping[int, int]:
        """Returns for each random stream that an operation is given which of those that are given it it is.

        Args:
            op: The operation.
            made: By name, what there is now.
            streams: The keys of the streams.
        """
        keys = {tensor.name: key_of(made.get(tensor.name)) for tensor in op.inputs if tensor.dtype == tf.resource}
        given = {name: key for name, key in keys.items() if key in streams}
        if not given:
            return {}
        if op.graph not in self._users:
            users = collections.defaultdict[str, dict[str, int]](dict)
            for each in op.graph.get_operations():
                for name in {tensor.name for tensor in each.inputs if tensor.dtype == tf.resource}:
                    users[name][each.name] = len(users[name])
            self._users[op.graph] = users
        return {key: self._users[op.graph][name][op.name] for name, key in given.items()}
