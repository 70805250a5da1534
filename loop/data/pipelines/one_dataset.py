"""One dataset for all epochs, and what of it the next process may have otherwise, as it was drawn without a seed."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.orders.lists import made_of
from loop.data.orders.one_order import Orders
from loop.data.orders.pool import Pool
from loop.data.pipelines.layer_tables import put_tables
from loop.data.pipelines.python_rows import PythonRows
from loop.data.pipelines.recalled import places_of_rows, recalled, seeds_and_numbers
from loop.data.pipelines.written import Written
from loop.exact.pipeline import stages
from loop.state.resumable import Earlier
from loop.state.settled import is_settled
from loop.tf_internals import functions_of


class OneDataset:
    """The dataset of all epochs.

    Attributes:
        first: The dataset as this process has made it.
        now: As it is iterated: what was drawn in an earlier process is in it.
        python: The rows that Python in it has.

    Args:
        first: As above.
        python: As above.
    """

    def __init__(self, first: Written, python: PythonRows) -> None:
        self.first = self.now = first
        self.python, self._pool = python, Pool()
        self._places: Mapping[str, int] | None = None  # of the rows of `now`, once they were noted
        self._tables_back: Callable[[], None] = lambda: None  # takes tables back from layers

    def pool_rows(self, pool: Pool) -> None:
        """Adds what it was made of, in this process, to what all data have."""
        self._pool = pool
        pool.add(lambda: [*self.first.lists.values()])
        pool.splits.add(self.first.dataset, self._shuffle)

    def _shuffle(self, orders: Orders) -> None:
        self.first = self.now = self.first.with_others(dataclasses.replace(self.first.exchanged, orders=orders))

    def at(self, epoch: int) -> Written:
        """Returns the dataset, which is the same in each epoch."""
        return self.now

    def notes(self) -> dict[str, int]:
        """Returns what the program may have drawn without a seed when it made the dataset."""
        if self._places is None:
            self._places = places_of_rows(self.now, self._pool)
        return {**seeds_and_numbers(self.now), **self._places}

    @functools.cached_property
    def may_be_other(self) -> bool:
        """Whether it, or what Python in it has, may be other in the next process: looked at once, which takes time."""
        dataset = self.first.dataset
        has_any = made_of(dataset, self.first.replaced) or any(map(functions_of, stages(dataset)))
        return bool(has_any) and not is_settled()

    def in_memory(self) -> Sequence[tf.Tensor]:
        """Returns the tensors that it is made of, and behind them what Python in it has."""
        return [*self.now.in_memory(), *self.python.tensors()]

    def recall(self, cursor: Mapping[str, int], earlier: Earlier, stages_now: int | None) -> bool:
        """Takes the order, or the rows, that were drawn in an earlier process, if no more has changed.

        Args:
            cursor: Those of the data.
            earlier: The rows that it was made of.
            stages_now: The hash of what it is now.

        Returns:
            Whether it is another one than before.
        """
        self.python.recall(earlier, len(self.now.in_memory()))
        if cursor.get("stages") in (None, stages_now):
            return False
        if (before := recalled(self.now, cursor, self._pool, earlier)) is None:
            return False
        self.now, self._places = before, None
        self._tables_back = put_tables(before.dataset, before.exchanged.functions)
        return True

    def mark(self) -> Callable[[], None]:
        """Returns what takes it back to what it is now."""
        held, python, tables = dict(vars(self)), self.python.mark(), self._tables_back

        def go_back() -> None:
            if self._tables_back is not tables:
                self._tables_back()
            python()
            vars(self).update(held)

        return go_back
