"""Which rows of a batch a worker trains on."""

from typing import NamedTuple, TypeAlias

import tensorflow as tf

from loop.tensors import Nest, examples

Count: TypeAlias = int | tf.Tensor
UNEQUAL = (
    "Each of several workers trains on its own rows of a batch, so all parts of it have equally many. Received: {}. "
    "Pad them, or let the step make the one of the other; what is the same for all rows is no part of a batch."
)


class Part(NamedTuple):
    """A worker's rows of a batch.

    Attributes:
        batch: The rows.
        rows: How many they are; none, if there are fewer in the batch than workers.
        whole: How many the batch has.
    """

    batch: Nest
    rows: Count
    whole: Count


class OwnRows:
    """The rows of a worker: of n rows, those from `n * rank / count` on up to those of the next one.

    Args:
        rank: The number of this worker.
        count: How many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self._rank, self.count = rank, count

    def bounds(self, rows: Count) -> tuple[Count, Count]:
        """Returns the first row, and the one behind the last, of so many."""
        return rows * self._rank // self.count, rows * (self._rank + 1) // self.count

    def size(self, rows: Count) -> Count:
        """Returns how many rows these are."""
        first, end = self.bounds(rows)
        return end - first

    def spec(self, element_spec: Nest) -> Nest:
        """Returns the type specs of a worker's rows of such batches.

        Raises:
            ValueError: If parts of a batch are known to have other numbers of rows than others.
        """
        shapes = [each.shape for each in tf.nest.flatten(element_spec)]
        # What is not known while tracing is compared in each step, by `_equal`.
        if len(sizes := {shape[0] for shape in shapes if shape.rank and shape[0] is not None}) > 1:
            raise ValueError(UNEQUAL.format(f"tensors of {' and '.join(map(str, sorted(sizes)))} rows"))
        return tf.nest.map_structure(self._of_spec, element_spec)

    def _of_spec(self, spec: tf.TypeSpec) -> tf.TypeSpec:
        rows = spec.shape[0] if spec.shape.rank else None
        # None at all are not known, either: what is computed of them is NaN then, as of a last batch, and left out.
        # Keras takes a shape of 0 for a loss that need not be averaged.
        return _with_rows(spec, None if rows is None else self.size(rows) or None)

    def of(self, batch: Nest) -> Part:
        """Returns a worker's rows of a batch. To be called in a graph."""
        first = tf.nest.flatten(batch)[0]
        # Known, the bounds are constants, and nothing of this is computed in a step.
        static = first.shape[0] if first.shape.rank else None
        whole: Count = examples(batch) if static is None else static
        equal = [] if static is not None else [_equal(each, whole) for each in tf.nest.flatten(batch)]
        # Before the rows are cut: rows of other numbers would be paired wrongly, in silence.
        with tf.control_dependencies([each for each in equal if each is not None]):
            begin, end = (tf.identity(each) for each in self.bounds(whole)) if equal else self.bounds(whole)

        return Part(_cut(batch, begin, end), end - begin, whole)


def alone(batch: Nest, whole: tf.Tensor) -> Part:
    """Returns all rows of a batch that a worker has read for itself, of so many of all workers. In a graph."""
    rows = examples(batch)
    with tf.control_dependencies([each for part in tf.nest.flatten(batch) if (each := _equal(part, rows)) is not None]):
        return Part(batch, tf.identity(rows), whole)


def no_rows(batch: Nest) -> Nest:
    """Returns none of the rows of a batch. To be called in a graph."""
    return _cut(batch, tf.constant(0), tf.constant(0))


def of_any_rows(element_spec: Nest) -> Nest:
    """Returns the type specs of batches like these, with any number of rows."""
    return tf.nest.map_structure(lambda spec: _with_rows(spec, None), element_spec)


def none_of(element_spec: Nest) -> Nest:
    """Returns a batch of no rows."""

    def none(spec: tf.TypeSpec) -> Nest:
        shape = [0, *(size or 0 for size in spec.shape[1:])] if spec.shape.rank else [0]
        if isinstance(spec, tf.RaggedTensorSpec):
            flat = tf.zeros([0, *shape[1 + spec.ragged_rank :]], spec.dtype)
            splits = [tf.zeros([1], spec.row_splits_dtype)] * spec.ragged_rank
            return tf.RaggedTensor.from_nested_row_splits(flat, splits)
        if isinstance(spec, tf.SparseTensorSpec):
            return tf.SparseTensor(tf.zeros([0, len(shape)], tf.int64), tf.zeros([0], spec.dtype), shape)
        return tf.zeros(shape, spec.dtype)

    return tf.nest.map_structure(none, element_spec)


def _with_rows(spec: tf.TypeSpec, size: int | None) -> tf.TypeSpec:
    shape = spec.shape
    if not shape.rank:  # a number for the whole batch, or nobody knows
        return spec
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec([size, *shape[1:]], spec.dtype, spec.ragged_rank, spec.row_splits_dtype)
    kind = tf.SparseTensorSpec if isinstance(spec, tf.SparseTensorSpec) else tf.TensorSpec
    return kind([size, *shape[1:]], spec.dtype)


def _cut(batch: Nest, begin: Count, end: Count) -> Nest:
    def cut(tensor: Nest) -> Nest:
        if tensor.shape.rank == 0:
            return tensor
        if isinstance(tensor, tf.SparseTensor):
            shape = tf.cast(tensor.dense_shape, tf.int64)
            head = tf.cast(tf.stack([begin, end - begin]), tf.int64)
            start = tf.concat([head[:1], tf.zeros_like(shape[1:])], 0)
            return tf.sparse.slice(tensor, start, tf.concat([head[1:], shape[1:]], 0))
        return tensor[begin:end]

    return tf.nest.map_structure(cut, batch)


def _equal(tensor: Nest, rows: tf.Tensor) -> tf.Operation | None:
    """Returns what fails if a part of a batch has not so many rows; None of a number for the whole batch."""
    if tensor.shape.rank == 0:
        return None
    return tf.debugging.assert_equal(examples(tensor), rows, UNEQUAL.format("tensors of different numbers of rows"))
