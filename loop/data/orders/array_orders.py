"""The order in which an epoch visits the rows of arrays, made while the epoch before it runs."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import tensorflow as tf

from loop.data.orders.order import order_of
from loop.data.orders.prefetch import Prefetched
from loop.tensors import Nest, put
from loop.tf_internals import ConcreteFunction, call_flat

Made: TypeAlias = tuple[tf.Tensor, Nest]  # an order, and the first batch in it
MOST = 16  # orders that are made early at once


class RowOrders:
    """The order of one epoch in a variable, and those of the next ones.

    Attributes:
        now: The rows of each batch: int32 `[steps + 1, batch]`.
        of: The seed and the epoch of that; None before there is one.

    Args:
        rows: How many there are.
        batch_size: Rows in a batch.
        steps: Batches in an epoch.
        fetch: Returns batch `index` in an order.
        shuffled: Whether the rows are permuted in each epoch.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        steps: int,
        fetch: Callable[[tf.Tensor | tf.Variable, tf.Tensor], Nest],
        *,
        shuffled: bool,
    ) -> None:
        self._rows, self._batch_size, self._steps = rows, batch_size, steps
        self._fetch, self._shuffled = fetch, shuffled
        with tf.device("CPU"):
            # In memory, also where there is an accelerator: TensorFlow has integers of 32 bits there.
            self.now = tf.Variable(tf.zeros([steps + 1, batch_size], tf.int32), trainable=False, name="order")
        self.of: tuple[int, int] | None = None
        self._first: Nest = ()  # the first batch in it
        self._early: dict[tuple[int, int], Callable[[], Made]] = {}
        self._compiled = dict[int, ConcreteFunction]()  # by how many orders it makes

    def begin(self, seed: int, epoch: int) -> Nest:
        """Takes the order of an epoch, if it is not there, and returns the first batch in it."""
        wanted = seed, epoch if self._shuffled else 0
        if self.of != wanted:
            self._begin(*wanted)
        return self._first

    def _begin(self, seed: int, epoch: int) -> None:
        early = self._early.pop((seed, epoch), None)
        self.of = None  # an interrupt may come before all of it is there
        order, self._first = self.made(seed, epoch) if early is None else early()
        put(self.now, order)
        self.of = seed, epoch
        # The next orders are made while this one is used: of 10^7 rows one takes 250 ms. Not while the first one is,
        # which is the only one of an evaluation. Of small ones several are made, up to 1 MB with their first batches,
        # because to have another thread begin something takes 1 ms.
        if early is None or not self._early:
            kept = [order, *tf.nest.flatten(self._first)]
            size = sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in kept)
            at_once = max(1, min(MOST, 2**20 // size))
            # Of a long run in one call: it takes a fifth of what they take one by one, and is traced once for that.
            together = at_once if epoch >= MOST else 1
            firsts = range(epoch + 1, epoch + 1 + at_once, together) if epoch else ()
            self._early = {key: get for first in firsts for key, get in self._begun(seed, first, together)}

    def _begun(self, seed: int, first: int, count: int) -> Iterator[tuple[tuple[int, int], Callable[[], Made]]]:
        made = functools.cache(Prefetched(functools.partial(self._made, seed, first, count)).get)
        for number in range(count):
            yield (seed, first + number), functools.partial(lambda number: made()[number], number)

    def begin_anew(self) -> None:
        """Forgets what was made early, and where that is: there are other rows."""
        self.of, self._early = None, {}

    def made(self, seed: int, epoch: int) -> Made:
        """Returns the rows of each batch of an epoch, int32 `[steps + 1, batch]`, and the first batch.

        One row is one gather; the last ones are filled up, and cut to size when read. The one behind the last batch is
        there to be fetched, early, as each other is.
        """
        (made,) = self._made(seed, epoch if self._shuffled else 0, 1)
        return made

    def _made(self, seed: int, first: int, count: int) -> Sequence[Made]:
        """Returns the same of several epochs."""
        if count not in self._compiled:
            self._compiled[count] = self._traced(count)
        return call_flat(self._compiled[count], [tf.constant([seed, first], tf.int64)])

    def _traced(self, count: int) -> ConcreteFunction:
        def rows(seed: tf.Tensor) -> Made:
            order = order_of(self._rows, seed, shuffled=self._shuffled)
            total = self._steps * self._batch_size
            padded = tf.pad(order[:total], [[0, max(0, total - self._rows) + self._batch_size]])
            order = tf.reshape(padded, [self._steps + 1, self._batch_size])
            return order, self._fetch(order, tf.constant(0))

        def several(seed: tf.Tensor) -> list[Made]:
            return [rows(seed + [0, number]) for number in range(count)]

        return tf.function(several, autograph=False).get_concrete_function(tf.TensorSpec([2], tf.int64))
