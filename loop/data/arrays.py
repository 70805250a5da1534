"""Arrays that live in the graph."""

import copy
import operator
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.orders.array_orders import RowOrders
from loop.data.orders.array_rows import ArrayRows
from loop.data.orders.placed import placed, rows_of
from loop.data.orders.pool import Pool
from loop.data.orders.seed import Seed
from loop.digest import BatchDigest
from loop.errors.calls import BY_POSITION, explained
from loop.exact.files import as_wanted
from loop.findings import Finding
from loop.state.position import Position
from loop.state.resumable import Earlier
from loop.tensors import Nest
from loop.tf_internals import Trackable
from loop.workers.rows import Count, OwnRows

BATCHING = {
    BY_POSITION: "write ArrayData((x, y), batch_size=32)",
    "batch_size": "write ArrayData((x, y), batch_size=32)",
    "batch": "write batch_size=...",
    "drop_last": "write drop_remainder=...",
    "reshuffle_each_iteration": "leave it out: with shuffle=True, each epoch has an order of its own",
}


@explained(BATCHING)
class ArrayData(Trackable):
    """Arrays that live in the graph: a batch is a gather, so there is no input pipeline to wait for, or to save.

    Epoch e visits the rows in the order of a permutation that depends on (seed, e) alone, step s of it starts at row
    `s * batch_size` of that order, and so going back to any step costs the same as starting.

    Args:
        arrays: A nest of arrays or tensors of equal first dimension n. They are put on the default device once.
        batch_size: Rows in a batch.
        seed: Any integer; its lowest 64 bits count. If None, a loop draws one from Python's `random`, and saves it with
            each checkpoint; an evaluation takes 0.
        shuffle: Whether to permute the rows in each epoch.
        drop_remainder: Whether to leave out the last batch of an epoch if it is smaller.

    Raises:
        TypeError: If it is nothing that a tensor can be made of.
        ValueError: If there are no rows, or the arrays differ in how many they have, or no batch can be made.
    """

    def __init__(
        self,
        arrays: Nest,
        *,
        batch_size: int,
        seed: int | None = None,
        shuffle: bool = True,
        drop_remainder: bool = False,
    ) -> None:
        own, batch_size = placed(arrays), operator.index(batch_size)
        rows = rows_of(own, arrays)
        if batch_size < 1:
            raise ValueError(f"ArrayData(batch_size=...) must be at least 1. Received: batch_size={batch_size}.")
        if drop_remainder and batch_size > rows:
            raise ValueError(
                f"ArrayData needs a batch_size of at most the {rows} rows there are with "
                f"drop_remainder=True. Received: batch_size={batch_size}, drop_remainder={drop_remainder}. "
                f"Write batch_size={rows}, or leave out drop_remainder."
            )
        self._wanted_batch_size, self._shuffle, self._drops = batch_size, shuffle, drop_remainder
        self._seed = Seed("ArrayData", seed, shuffles=shuffle)
        self.repeats_itself, self.taken = True, False
        self.seen: BatchDigest | None = None
        self.own: OwnRows | None = None  # of several workers: the rows that are fetched of each batch
        self._array_rows = ArrayRows(tf.nest.flatten(own), self._begin_anew)
        self._hold(own, rows)

    def _hold(self, arrays: Nest, rows: int) -> None:
        """Makes all that comes of arrays with so many rows."""
        self._arrays, self._rows, wanted = arrays, rows, self._wanted_batch_size
        # A batch larger than all rows is all rows: XLA and the order need no room for more.
        self._batch_size = min(wanted, rows)
        self._even = self._drops or rows % wanted == 0
        self.steps_per_epoch = rows // wanted + (0 if self._even else 1)
        # Only where all batches are alike is their length in the type.
        size = wanted if self._even else None
        self.element_spec = tf.nest.map_structure(lambda a: tf.TensorSpec([size, *a.shape[1:]], a.dtype), arrays)
        steps, shuffled = self.steps_per_epoch, self._shuffle
        self._orders = RowOrders(rows, self._batch_size, steps, self._fetch, shuffled=shuffled)
        # Not for checkpoints: with the seed, all of it can be made again.
        variables = (array for array in tf.nest.flatten(arrays) if isinstance(array, tf.Variable))
        self.variables = [self._orders.now, *variables]
        self.source: Nest = ()
        self._ahead: Nest = ()
        self._sought: Position | None = None  # where to go on, if that is yet to be fetched: a finished run never does

    def _begin_anew(self) -> None:
        self._orders.begin_anew()  # those that there are by then: see `recall_count`

    def __copy__(self) -> "ArrayData":
        return copy.deepcopy(self)  # two of them cannot have one order

    def draw(self) -> None:
        """Draws a seed that was not given, if there is none yet. A loop does so with its data when it is made.

        Not these themselves: data that are made for an evaluation, or not made, leave Python's random numbers alone.
        """
        self._seed.draw()

    def first(self, count: int) -> "ArrayData":
        """Returns data of the rows of the first so many batches, as they stand, not shuffled."""
        rows = count * self._batch_size
        arrays = tf.nest.map_structure(lambda array: array[:rows], self._arrays)
        return ArrayData(arrays, batch_size=self._wanted_batch_size, shuffle=False, drop_remainder=self._even)

    def fix_seed(self) -> None:
        """Takes 0 for a seed that was not given. For evaluations, of whose data nothing is saved."""
        self._seed.put(0)

    def open(self, epoch: int) -> None:
        if self.seen:
            self.seen.reset()
        self.ahead = self._orders.begin(self._seed.value, epoch)

    def close(self, *, complete: bool = True) -> None:
        pass  # The next `open` replaces the order.

    @property
    def ahead(self) -> Nest:
        if self._sought is not None:
            self._orders.begin(self._seed.value, self._sought.epoch)
            self._ahead, self._sought = self._fetch(self._orders.now, tf.constant(self._sought.step_in_epoch)), None
        return self._ahead

    @ahead.setter
    def ahead(self, ahead: Nest) -> None:
        self._ahead, self._sought = ahead, None

    def rows(self, epoch: int, index: int) -> list[int]:
        """Returns the numbers of the rows in batch `index` of an epoch, both from 0."""
        order, _ = self._orders.made(self._seed.value, epoch)
        left = self._rows - index * self._batch_size
        return order[index].numpy()[:left].tolist()

    def pool_rows(self, pool: Pool) -> None:
        self._array_rows.pool_rows(pool)

    def cursor(self) -> dict[str, int]:
        return {**self.drawn(), "seed": self._seed.value}

    def drawn(self) -> dict[str, int]:
        return {**self._array_rows.cursor(), **self._seed.noted()}

    def in_memory(self) -> Sequence[tf.Tensor]:
        return self._array_rows.values()

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        self._seed.recall(cursor, earlier)
        self._array_rows.recall(cursor, earlier)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._rows

    def recall_count(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Takes the rows that there were when the run began, if they were more or fewer; before anything is traced."""
        if columns := self._array_rows.of_another_count(cursor, earlier):
            arrays = tf.nest.pack_sequence_as(self._arrays, columns)
            self._array_rows.exchange(tf.nest.flatten(own := placed(arrays)), cursor)
            self._hold(own, rows_of(own, arrays))
            earlier.taken()

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self._seed.put(cursor["seed"])
        self._sought = place if place.step_in_epoch else None  # else the pass is yet to be opened
        return []

    def mark(self) -> Callable[[], None]:
        # `ahead` is fetched for that, if it was not yet.
        seed, place, order = self._seed.mark(), self.ahead, self._orders.of
        rows = self._array_rows.mark()

        def go_back() -> None:
            rows()
            if order is not None:
                self._orders.begin(*order)
            seed()
            self.ahead = place

        return go_back

    def changes(self) -> list[str]:
        return []

    def findings(self, owner: str) -> list[Finding]:
        return []

    def describe(self) -> dict[str, object]:
        return {
            "kind": "ArrayData",
            "rows": self._rows,
            "batch_size": self._wanted_batch_size,
            "seed": self._seed.given,
            "shuffle": self._shuffle,
            "steps_per_epoch": self.steps_per_epoch,
            "element_spec": str(self.element_spec),
            "content": as_wanted(self._array_rows.content),
        }

    def dataset(self) -> None:
        return None

    def feed_spec(self) -> tuple[Nest, Nest]:
        return (), self.element_spec if self.own is None else self.own.spec(self.element_spec)

    def more(self, ahead: Nest) -> tf.Tensor:
        return tf.constant(True)

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        return ahead

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        with tf.control_dependencies(None):  # fetched while the step runs, which a tenth of a small one would wait for
            return self._fetch(self._orders.now, index)

    @property
    def sizes(self) -> Sequence[int]:
        # How many rows are in the last batch.
        rest = self._rows - (self.steps_per_epoch - 1) * self._batch_size
        return [self._batch_size] if self._even else [self._batch_size, rest][-self.steps_per_epoch :]

    def alike(self, index: int) -> int:
        left = self.steps_per_epoch - index
        return left if self._even else max(1, left - 1)  # the last one is of another size

    def order(self) -> tf.Tensor:
        return self._orders.now.read_value()

    def at(self, order: tf.Tensor, index: tf.Tensor, size: int) -> Nest:
        # The size is Python's, so each has a program of its own, of static shapes.
        rows = tf.ensure_shape(tf.gather(order, index), [self._batch_size])[:size]
        return tf.nest.map_structure(lambda array: tf.gather(array, rows), self._arrays)

    def read_apart(self, own: OwnRows) -> None:
        """Has only the rows of one of several workers be fetched, unless somebody wants to digest whole batches."""
        self.own = None if self.seen is not None else own

    def size_at(self, index: tf.Tensor) -> Count:
        """Returns how many rows batch `index` of a pass has, int32 `[]`."""
        if self._even:
            return self._batch_size
        return tf.maximum(tf.minimum(self._rows - index * self._batch_size, self._batch_size), 0)

    def _fetch(self, order: tf.Tensor | tf.Variable, index: tf.Tensor) -> Nest:
        rows = tf.gather(order, index)
        if not self._even:
            left = self._rows - index * self._batch_size
            rows = rows[: tf.minimum(left, self._batch_size)]
        if self.own is not None:
            first, end = self.own.bounds(self.size_at(index))
            rows = rows[first:end]
        return tf.nest.map_structure(lambda array: tf.gather(array, rows), self._arrays)
