"""The rows of arrays, which a program without a seed may have shuffled: they go back to where they were."""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.orders.lists import NAME, as_noted, may_move, noted, say_order
from loop.data.orders.pool import Pool
from loop.data.orders.rows import Rows
from loop.exact.files import as_wanted, in_both_ways, of_texts
from loop.state.resumable import Earlier
from loop.state.settled import is_settled

CONTENT = "content"  # the name of a note


class ArrayRows:
    """The rows of arrays. Those of tensors, as they are on accelerators, stay where they are.

    Args:
        arrays: The arrays.
        moved: Called when rows were moved.
    """

    def __init__(self, arrays: Sequence[tf.Tensor | tf.Variable], moved: Callable[[], None]) -> None:
        self._arrays, self._moved, self._pool = arrays, moved, Pool()
        self._cursor: Mapping[str, int] | None = None
        self._moves = 0
        self._now: Rows | None = None  # shares the memory of the arrays, as long as they stay as they are

    def pool_rows(self, pool: Pool) -> None:
        """Adds the rows to those of all data of the loop."""
        self._pool = pool
        pool.add(self._rows)

    @functools.cached_property
    def content(self) -> str:
        """What tells the arrays from others, in both ways."""
        return _content(self._arrays)

    def cursor(self) -> Mapping[str, int]:
        """Returns which rows stand where, if another process may have them elsewhere."""
        if self._cursor is not None:
            self._now = None  # all data have theirs: nobody needs those that were moved any more
        else:
            rows = self._rows()
            places = noted(rows, self._pool) if may_move(rows) else {}
            self._cursor = {**places, CONTENT: self._number()} if places or not is_settled() else {}
        return self._cursor

    def values(self) -> list[tf.Tensor]:
        """Returns the arrays; nothing, if rows cannot be put into them."""
        # In all together, or x would be parted from y.
        variables = self._variables()
        return [array.value() for array in variables] if len(variables) == len(self._arrays) else []

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Puts the rows where they were when the run began, or, if there are others now, those that there were."""
        if not self.values() or cursor.get(CONTENT, self._number()) == self._number():
            return
        (now,), then = self._rows(), as_noted(self._rows(), self._pool, cursor)
        if any(self._fit(columns, cursor) for columns in then):
            say_order("The rows of the arrays are", earlier, [(now, Rows(then[0]))])
        elif self._fit(earlier.tensors(), cursor):
            earlier.taken()

    def _fit(self, columns: Sequence[tf.Tensor], cursor: Mapping[str, int]) -> bool:
        """Puts columns into the arrays, if they are those of which there are notes. Returns whether they are."""
        if [(each.shape, each.dtype) for each in columns] != [(each.shape, each.dtype) for each in self._variables()]:
            return False
        go_back = self.mark()
        self._put(columns)
        if cursor[CONTENT] != self._number():
            go_back()
            return False
        self._cursor = _of_rows(cursor)
        return True

    def of_another_count(self, cursor: Mapping[str, int], earlier: Earlier) -> Sequence[tf.Tensor]:
        """Returns the rows that there were when the run began, if they were more or fewer; else nothing."""
        now = self._variables()
        columns = earlier.tensors() if CONTENT in cursor and len(now) == len(self._arrays) else []
        kinds = [[(each.dtype, each.shape[1:]) for each in side] for side in (columns, now)]
        is_other = kinds[0] == kinds[1] and columns[0].shape[0] != now[0].shape[0]
        return columns if is_other and _number(_content(columns)) == cursor[CONTENT] else []

    def exchange(self, arrays: Sequence[tf.Tensor | tf.Variable], cursor: Mapping[str, int]) -> None:
        """Has the arrays of an earlier process in the place of its own, which nobody has used yet."""
        self._arrays, self._cursor, self._now = arrays, _of_rows(cursor), None
        vars(self).pop("content", None)

    def mark(self) -> Callable[[], None]:
        """Returns what puts the rows back to where they are now."""
        # Buffers are shared until somebody writes: this copies nothing.
        held, cursor, moves = [array.value() for array in self._variables()], self._cursor, self._moves

        def go_back() -> None:
            if self._moves != moves:
                self._put(held)
                self._cursor = cursor

        return go_back

    def _put(self, columns: Sequence[tf.Tensor]) -> None:
        for array, column in zip(self._variables(), columns, strict=True):
            array.assign(column)
        vars(self).pop("content", None)  # it is of other rows now
        self._moves += 1
        self._moved()

    def _number(self) -> int:
        return _number(self.content)

    def _variables(self) -> list[tf.Variable]:
        return [array for array in self._arrays if isinstance(array, tf.Variable)]

    def _rows(self) -> list[Rows]:
        self._now = self._now or Rows([tf.convert_to_tensor(array) for array in self._arrays])
        return [self._now]


def _content(arrays: Sequence[tf.Tensor | tf.Variable]) -> str:
    """Returns a hash of arrays, in both ways."""
    return in_both_ways(lambda: hashlib.sha256(repr([*map(of_texts, arrays)]).encode()).hexdigest()[:16])


def _number(content: str) -> int:
    return int(as_wanted(content)[:12], 16)


def _of_rows(cursor: Mapping[str, int]) -> Mapping[str, int]:
    return {name: n for name, n in cursor.items() if name == CONTENT or name.startswith(f"{NAME} ")}
