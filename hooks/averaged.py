"""Weights, and averages of them in two vectors, which need no shapes before the weights are there."""

from collections.abc import Mapping

import tensorflow as tf

from loop.tf_internals import ConcreteFunction, call_flat, scalar

WIDE = (tf.float64, tf.complex128)


class Averaged:
    """Weights that are averaged, one behind the other in a vector of float32, and those of 64 bits in another one.

    Args:
        weights: Real or complex variables of fixed shapes, by path.
        narrow: The averages of those that float32 holds: float32, of any length.
        wide: The averages of the others: float64.
    """

    def __init__(self, weights: Mapping[str, tf.Variable], narrow: tf.Variable, wide: tf.Variable) -> None:
        self._weights = dict(weights)
        of_wide = {path: weight for path, weight in weights.items() if weight.dtype in WIDE}
        of_narrow = {path: weight for path, weight in weights.items() if path not in of_wide}
        # float32 for what has 32 bits and fewer: float16 would lose the small share that a step has.
        both = [(narrow, of_narrow), (wide, of_wide)]
        self._parts = [(vector, mine) for vector, mine in both if mine]
        self._moved: ConcreteFunction | None = None

    def is_of(self, weights: Mapping[str, tf.Variable]) -> bool:
        """Returns whether it is these weights that are averaged."""
        # By which objects they are: a model that was built anew has the same paths and other variables.
        return [(path, id(weight)) for path, weight in weights.items()] == [
            (path, id(weight)) for path, weight in self._weights.items()
        ]

    def move(self, share: float) -> None:
        """Moves the averages towards the weights by a share of the distance; 1: they become these."""
        if share == 1.0:
            for vector, weights in self._parts:
                # Also gives the vector its length, which is 0 before.
                vector.assign(_joined(weights, vector.dtype))
            return
        if self._moved is None:
            # Traced once, with the share as an argument: a number of Python would be a trace for each.
            self._moved = tf.function(self._move, autograph=False).get_concrete_function(tf.TensorSpec([], tf.float64))
        call_flat(self._moved, [scalar(share, tf.float64)])

    def _move(self, share: tf.Tensor) -> None:
        for vector, weights in self._parts:
            # The difference of what training does not change is 0, so the average of that is exact.
            vector.assign_add((_joined(weights, vector.dtype) - vector) * tf.cast(share, vector.dtype))

    def values(self) -> dict[str, tf.Tensor]:
        """Returns the averages by path, of the shapes and dtypes of the weights."""
        found: dict[str, tf.Tensor] = {}
        for vector, weights in self._parts:
            parts = tf.split(vector, [_size(weight) for weight in weights.values()])
            found |= {path: _shaped(part, weights[path]) for path, part in zip(weights, parts, strict=True)}
        return found


def _size(weight: tf.Variable) -> int:
    return weight.shape.num_elements() * (2 if weight.dtype.is_complex else 1)


def _joined(weights: Mapping[str, tf.Variable], dtype: tf.DType) -> tf.Tensor:
    """Returns all numbers of some weights; of complex ones, the real and the imaginary part one after the other."""
    values = [weight.read_value() for weight in weights.values()]
    real = [tf.stack([tf.math.real(v), tf.math.imag(v)], axis=-1) if v.dtype.is_complex else v for v in values]
    return tf.concat([tf.reshape(tf.cast(value, dtype), [-1]) for value in real], axis=0)


def _shaped(part: tf.Tensor, weight: tf.Variable) -> tf.Tensor:
    if weight.dtype.is_complex:
        pairs = tf.reshape(part, [*weight.shape, 2])
        return tf.complex(pairs[..., 0], pairs[..., 1])
    return tf.cast(tf.reshape(part, weight.shape), weight.dtype)
