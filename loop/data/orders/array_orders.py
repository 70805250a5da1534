"""The order in which an epoch visits the rows of arrays, made while the epoch before it runs."""

import functools
from collections.abc import Callable

import tensorflow as tf

from loop.data.orders.order import order_of
from loop.data.orders.prefetch import Prefetched
from loop.tensors import Nest


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
        self._early: dict[tuple[int, int], Prefetched[tuple[tf.Tensor, Nest]]] = {}

    def begin(self, seed: int, epoch: int) -> Nest:
        """Takes the order of an epoch, if it is not there, and returns the first batch in it."""
        wanted = seed, epoch if self._shuffled else 0
        if self.of != wanted:
            self._begin(*wanted)
        return self._first

    def _begin(self, seed: int, epoch: int) -> None:
        early = self._early.pop((seed, epoch), None)
        order, self._first = self.made(seed, epoch) if early is None else early.get()
        tf.raw_ops.AssignVariableOp(resource=self.now.handle, value=order)
        self.of = seed, epoch
        # The next orders are made while this one is used: of 10^7 rows one takes 250 ms. Not while the first one is,
        # which is the only one of an evaluation. Of small ones several are made, up to 1 MB with their first batches,
        # because to have another thread begin something takes 1 ms.
        if early is None or not self._early:
            kept = [order, *tf.nest.flatten(self._first)]
            size = sum(tensor.dtype.size * tensor.shape.num_elements() for tensor in kept)
            at_once = max(1, min(16, 2**20 // size))
            following = [(seed, epoch + n) for n in range(1, at_once + 1)] if epoch else []
            self._early = {key: Prefetched(functools.partial(self.made, *key)) for key in following}

    def begin_anew(self) -> None:
        """Forgets what was made early, and where that is: there are other rows."""
        self.of, self._early = None, {}

    def made(self, seed: int, epoch: int) -> tuple[tf.Tensor, Nest]:
        """Returns the rows of each batch of an epoch, int32 `[steps + 1, batch]`, and the first batch.

        One row is one gather; the last ones are filled up, and cut to size when read. The one behind the last batch is
        there to be fetched, early, as each other is.
        """
        return self._compiled(tf.constant([seed, epoch if self._shuffled else 0], tf.int64))

    @functools.cached_property
    def _compiled(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, Nest]]:
        def rows(seed: tf.Tensor) -> tuple[tf.Tensor, Nest]:
            order = order_of(self._rows, seed, shuffled=self._shuffled)
            total = self._steps * self._batch_size
            padded = tf.pad(order[:total], [[0, max(0, total - self._rows) + self._batch_size]])
            order = tf.reshape(padded, [self._steps + 1, self._batch_size])
            return order, self._fetch(order, tf.constant(0))

        return tf.function(rows, autograph=False).get_concrete_function(tf.TensorSpec([2], tf.int64))
