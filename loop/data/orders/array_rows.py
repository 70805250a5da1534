"""The rows of arrays, which a program without a seed may have shuffled: they go back to where they were."""

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.orders.lists import LARGEST, NAME, as_noted, may_move, noted
from loop.data.orders.pool import Pool
from loop.data.orders.rows import Rows
from loop.digest import digest

CONTENT = "content"  # the name of a note
log = logging.getLogger("exactloop")


class ArrayRows:
    """The rows of arrays. Those of tensors, as they are on accelerators, stay where they are.

    Args:
        arrays: The arrays.
        moved: Called when rows were moved.
    """

    def __init__(self, arrays: Sequence[tf.Tensor | tf.Variable], moved: Callable[[], None]) -> None:
        self._arrays, self._moved, self._pool = arrays, moved, Pool()
        self._notes: Mapping[str, int] | None = None
        self._moves = 0
        self._now: Rows | None = None  # shares the memory of the arrays, as long as they stay as they are

    def pool_rows(self, pool: Pool) -> None:
        """Adds the rows to those of all data of the loop."""
        self._pool = pool
        pool.add(self._rows)

    @functools.cached_property
    def content(self) -> str:
        """What tells the arrays from others."""
        return hashlib.sha256(repr([digest(array) for array in self._arrays]).encode()).hexdigest()[:16]

    def notes(self) -> Mapping[str, int]:
        """Returns which rows stand where, if another process may have them elsewhere."""
        if self._notes is not None:
            self._now = None  # all data have theirs: nobody needs those that were moved any more
        else:
            rows = self._rows()
            places = noted(rows, self._pool) if may_move(rows) else {}
            self._notes = {**places, CONTENT: self._number()} if places else {}
        return self._notes

    def recall(self, notes: Mapping[str, int]) -> None:
        """Puts the rows where they were when the run began, if they are the same."""
        # Rows go back in all arrays together, or x would be parted from y.
        are_movable = len(self._variables()) == len(self._arrays)
        if not are_movable or notes.get(CONTENT, self._number()) == self._number():
            return
        for columns in as_noted(self._rows(), self._pool, notes):
            go_back = self.mark()
            self._put(columns)
            if notes[CONTENT] == self._number():
                self._notes = {name: n for name, n in notes.items() if name == CONTENT or name.startswith(f"{NAME} ")}
                log.info("The rows of the arrays are where they were put, without a seed, when the run began.")
            else:
                go_back()

    def mark(self) -> Callable[[], None]:
        """Returns what puts the rows back to where they are now."""
        # Buffers are shared until somebody writes: this copies nothing.
        held, notes, moves = [array.value() for array in self._variables()], self._notes, self._moves

        def go_back() -> None:
            if self._moves != moves:
                self._put(held)
                self._notes = notes

        return go_back

    def _put(self, columns: Sequence[tf.Tensor]) -> None:
        for array, column in zip(self._variables(), columns, strict=True):
            array.assign(column)
        vars(self).pop("content", None)  # it is of other rows now
        self._moves += 1
        self._moved()

    def _number(self) -> int:
        return int(self.content[:12], 16)

    def _variables(self) -> list[tf.Variable]:
        return [array for array in self._arrays if isinstance(array, tf.Variable)]

    def _rows(self) -> list[Rows]:
        self._now = self._now or Rows([tf.convert_to_tensor(array) for array in self._arrays])
        return [self._now] if self._now.size <= LARGEST else []
