"""What was read of a stream for a program of XLA, and is yet to be trained."""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from loop.data.blocks import Block, block_of
from loop.tensors import Nest

PENDING, ENDED = "pending", "ended"  # notes: how many blocks a checkpoint has; behind them, the data end
AGAIN = "again"  # a note: the pass is to be read again up to here, the iterator was past what it could not read


@dataclasses.dataclass(frozen=True)
class Fetched:
    """Batches that are in the iterator no more.

    Attributes:
        blocks: The batches.
        failed: What was raised when the one behind them was read; it belongs to the step that wants it.
    """

    blocks: tuple[Block, ...] = ()
    failed: Exception | None = None

    def cursor(self, more: Callable[[], bool]) -> dict[str, int]:
        """Returns what a checkpoint has to know: nothing, if nothing was fetched.

        Args:
            more: Says whether something is behind the blocks; asked only if there are some.
        """
        if self.failed is not None:
            return {AGAIN: 1}
        return {PENDING: len(self.blocks), **({} if more() else {ENDED: 1})} if self.blocks else {}

    def tensors(self) -> dict[str, tf.Tensor]:
        """Returns what a checkpoint has of the blocks."""
        found = dict[str, tf.Tensor]()
        for n, block in enumerate(self.blocks):
            found |= {f"{PENDING}_{n}_{i}": tensor for i, tensor in enumerate(block.tensors())}
        return found

    @classmethod
    def noted(cls, cursor: Mapping[str, int], element_spec: Nest) -> "Fetched":
        """Returns what asks a checkpoint for the blocks that it has: only the names and dtypes of tensors count."""
        nothing = [tf.zeros([0], each.dtype) for each in tf.nest.flatten(element_spec)]
        return cls((Block(nothing, 0, 0),) * cursor.get(PENDING, 0))

    def restored(self, tensors: Mapping[str, tf.Tensor]) -> "Fetched":
        """Returns as many blocks with what a checkpoint has of them."""
        leaves = [range(len(block.batches)) for block in self.blocks]
        blocks = [[tensors[f"{PENDING}_{n}_{i}"] for i in each] for n, each in enumerate(leaves)]
        return Fetched(tuple(map(block_of, blocks)))
