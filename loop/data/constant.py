"""One batch, over and over: to measure what a step takes where nothing has to be read for it."""

from collections.abc import Sequence

import tensorflow as tf

from loop.data.at_hand import AtHand
from loop.digest import BatchDigest
from loop.tensors import Nest

ENDLESS = 2**30  # batches that are alike


class Constant(AtHand):
    """A pass without end over one batch, which is in memory. Nobody goes on in it: it has no state.

    Attributes:
        rows: How many examples are in it; 1 if it is a scalar.

    Args:
        batch: The batch.
    """

    def __init__(self, batch: Nest) -> None:
        self.element_spec = tf.nest.map_structure(tf.type_spec_from_value, batch)
        self.source, self.ahead = (), batch
        self.seen: BatchDigest | None = None
        self.variables: Sequence[tf.Variable] = ()
        self.steps_per_epoch: int | None = None
        shape = tf.nest.flatten(self.element_spec)[0].shape
        self.rows: int = (shape[0] or 1) if shape.rank else 1
        self.sizes: Sequence[int] = [self.rows]

    def open(self, epoch: int) -> None:
        """Has nothing to begin."""

    def close(self, *, complete: bool = True) -> None:
        """Has nothing to end."""

    def alike(self, index: int) -> int:
        return ENDLESS

    def order(self) -> tf.Tensor:
        return tf.zeros([1, 1], tf.int32)  # nobody looks into it

    def at(self, order: tf.Tensor, index: tf.Tensor, size: int) -> Nest:
        return self.ahead
