"""Some batches of equal shape in one, for a program of XLA, which can have no iterator in it."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

from loop.data.source import Batches
from loop.tensors import Nest

Shapes: TypeAlias = tuple[tuple[int, ...], ...]  # of the tensors in a batch
# A block is copied, as long as it may be, even if there is one batch in it: so it is as long as makes a call cheap.
LENGTH, BYTES = 128, 2**20


@dataclasses.dataclass(frozen=True)
class Block:
    """Batches behind one another.

    A block has room for as many as its shapes allow, whatever is in it, so that one program is compiled for all.

    Attributes:
        batches: The tensors of a batch, in the order of `tf.nest.flatten`: `[room, ...]`.
        begin: Where in them the first batch is.
        count: How many there are.
    """

    batches: Sequence[tf.Tensor]
    begin: int
    count: int

    @property
    def shapes(self) -> Shapes:
        """The shapes of a batch."""
        return tuple(tuple(tensor.shape[1:]) for tensor in self.batches)

    def cut(self, count: int) -> tuple["Block", tuple["Block", ...]]:
        """Returns the first so many batches, and the rest of them, if there is one."""
        left = self.count - count
        rest = () if left <= 0 else (dataclasses.replace(self, begin=self.begin + count, count=left),)
        return dataclasses.replace(self, count=min(self.count, count)), rest

    def tensors(self) -> list[tf.Tensor]:
        """Returns the batches in it, `[count, ...]`."""
        return [tensor[self.begin : self.begin + self.count] for tensor in self.batches]


def block_of(tensors: Sequence[tf.Tensor]) -> Block:
    """Returns a block of what `Block.tensors` returned."""
    count = int(tensors[0].shape[0])
    size = sum(tensor.dtype.size * (tensor.shape.num_elements() or 0) for tensor in tensors) // count  # of a batch
    # Room that is left is filled with the last batch, which nobody reads there: `count` says how many count.
    rows = tf.minimum(tf.range(room(size)), count - 1)
    return Block([tf.gather(tensor, rows) for tensor in tensors], 0, count)


def room(size: int) -> int:
    """Returns how many batches of so many bytes a block has room for."""
    # At least one batch, however large; never more than are worth it.
    return max(1, min(LENGTH, BYTES // max(1, size)))


def bytes_of(element_spec: Nest, shapes: Shapes) -> int:
    """Returns the bytes in a batch."""
    dtypes = [spec.dtype for spec in tf.nest.flatten(element_spec)]
    return sum(dtype.size * tf.TensorShape(shape).num_elements() for dtype, shape in zip(dtypes, shapes, strict=True))


def shapes_in(batch: Sequence[tf.Tensor]) -> Shapes:
    """Returns the shapes of the tensors of a batch."""
    return tuple(tuple(tensor.shape) for tensor in batch)


def shapes_of(element_spec: Nest) -> Shapes | None:
    """Returns the shapes of batches; None if they vary."""
    shapes = [spec.shape for spec in tf.nest.flatten(element_spec)]
    return tuple(tuple(shape) for shape in shapes) if all(shape.is_fully_defined() for shape in shapes) else None


def why_not(data: Batches) -> str:
    """Returns what XLA cannot have in batches; empty if there is nothing of the kind."""
    for spec in tf.nest.flatten(data.element_spec):
        if not isinstance(spec, tf.TensorSpec):
            return f"{type(spec).__name__.removesuffix('Spec')}s"
        if spec.dtype in (tf.string, tf.variant, tf.resource):
            return "texts" if spec.dtype == tf.string else "datasets"
        if spec.shape.rank is None:
            return "tensors of unknown rank"
    return ""
