"""Pooling of regions whose borders are drawn, with borders drawn from a seed instead.

As in tensorflow/core/kernels/fractional_pool_common.cc (Graham, "Fractional max-pooling", 2014).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf


def is_drawn(op: tf.Operation) -> bool:
    """Returns whether a pool draws its borders anew each time; with a seed, they are always the same."""
    return not op.get_attr("deterministic")


def _pooled(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor, *, largest: bool) -> list[tf.Tensor]:
    """Returns what is pooled, and the borders of the rows and of the columns, int64, from 0."""
    (value,) = inputs
    # Axes 1 and 2: rows and columns; batch and channels are not pooled.
    borders = [_borders(op, tf.shape(value)[axis], axis, seed) for axis in (1, 2)]
    # TensorFlow says of its own that they are one fewer, and fails where that matters.
    as_said = [tf.compat.v1.placeholder_with_default(ends, [None]) for ends in borders]
    return [_of_regions(op, value, borders, largest=largest), *as_said]


def _of_regions(op: tf.Operation, value: tf.Tensor, borders: Sequence[tf.Tensor], *, largest: bool) -> tf.Tensor:
    """Returns the largest number or the mean of each region.

    Args:
        op: The pool.
        value: `[batch, rows, columns, channels]`.
        borders: Of the rows and of the columns: int64 `[regions + 1]`, from 0.
        largest: Whether it is the largest number.
    """
    found, counts = value, tf.ones([1, 1, 1, 1], value.dtype)
    for axis, ends in enumerate(borders, 1):
        most = math.floor(op.get_attr("pooling_ratio")[axis]) + 1 + op.get_attr("overlapping")
        last = tf.minimum(ends[1:] + int(op.get_attr("overlapping")), tf.shape(value, tf.int64)[axis])
        parts = list[tf.Tensor]()
        for at in [ends[:-1] + offset for offset in range(most + 1)]:  # regions have another length by one
            inside = _along(at < last, axis)
            # What is behind the end of a region is its last number once more, which changes no maximum.
            there = tf.gather(found, tf.minimum(at, last - 1), axis=axis)
            parts.append(there if largest else tf.where(inside, there, tf.zeros([], value.dtype)))
        found = functools.reduce(tf.maximum, parts) if largest else tf.add_n(parts)
        counts *= tf.cast(_along(last - ends[:-1], axis), value.dtype)
    if largest:
        return found
    return tf.truncatediv(found, counts) if value.dtype.is_integer else found / counts


def _along(values: tf.Tensor, axis: int) -> tf.Tensor:
    return tf.reshape(values, [-1 if each == axis else 1 for each in range(4)])


def _borders(op: tf.Operation, length: tf.Tensor, axis: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns where regions begin, and the length: int64 `[regions + 1]`."""
    number = tf.cast(tf.floor(tf.cast(length, tf.float32) / op.get_attr("pooling_ratio")[axis]), tf.int64)
    length, seed = tf.cast(length, tf.int64), seed + tf.constant([0, axis], tf.int64)
    make = _nearly_even if op.get_attr("pseudo_random") else _in_any_order
    return make(length, number, seed)


def _in_any_order(length: tf.Tensor, number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns borders of which some are longer by one than others, whichever these are."""
    longer = tf.cast(tf.range(number) < length % number, tf.int64)
    lengths = tf.random.experimental.stateless_shuffle(length // number + longer, seed)
    return tf.concat([[0], tf.cumsum(lengths)], 0)


def _nearly_even(length: tf.Tensor, number: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns borders at even distances, rounded, from a place that is drawn."""
    alpha, k = length / number, tf.cast(length // number, tf.float64)
    most = tf.minimum(
        (k + 2) / alpha - 1, (tf.cast(length, tf.float64) + 1 - k) / alpha - tf.cast(number - 1, tf.float64)
    )
    first = tf.random.stateless_uniform([], seed, dtype=tf.float64) * most
    inner = tf.math.ceil(alpha * (tf.cast(tf.range(1, number), tf.float64) + first))
    return tf.concat([[0], tf.cast(inner, tf.int64) - 1, [length]], 0)


POOLS: Mapping[str, Callable[[tf.Operation, Sequence[tf.Tensor], tf.Tensor], list[tf.Tensor]]] = {
    "FractionalMaxPool": functools.partial(_pooled, largest=True),
    "FractionalAvgPool": functools.partial(_pooled, largest=False),
}
