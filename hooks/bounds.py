"""What is looked at in the compiled step and said outside of it: bounds of values, and whether weights are finite."""

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np
import tensorflow as tf

from hooks.shared.figures import figure


class Bounds:
    """What has to be finite, and what must not be above a limit.

    Args:
        watch: The names of the values that have to be finite; None: all.
        limits: The largest number that a value may be, by its name.
    """

    def __init__(self, watch: Collection[str] | None, limits: Mapping[str, float]) -> None:
        self._watch, self._limits = watch, limits

    def broken(self, values: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns whether a value is beyond its bounds, or NaN: bool `[]`, one for each dtype that values have.

        Traced into the step.

        Args:
            values: Each `[]`, by name.
        """
        found = [self._broken(values, dtype) for dtype in (tf.float32, tf.float64)]
        return [each for each in found if each is not None]

    def _broken(self, values: Mapping[str, tf.Tensor], dtype: tf.DType) -> tf.Tensor | None:
        """Looks at the values of one dtype; None if there is none.

        Few operations, because a step as small as they are waits for each: what is not what it is when it is brought
        within its bounds is beyond them, and NaN is not equal to anything.
        """
        largest = float(dtype.max)
        found, least, most = list[tf.Tensor](), list[np.floating](), list[np.floating]()
        # In the order of the step's values, so that each start makes the same graph.
        for name, value in values.items():
            watched = value.dtype.is_floating and (self._watch is None or name in self._watch)
            if _kept_in(value.dtype) == dtype and (watched or name in self._limits):
                limit = self._limits.get(name, math.inf)
                found.append(tf.cast(value, dtype))
                least.append(_rounded_down(-largest if watched else -math.inf, dtype))
                most.append(_rounded_down(min(limit, largest) if watched else limit, dtype))
        if not found:
            return None
        if len(found) == 1:  # which has nothing to be stacked with
            return _outside(found[0], least[0], most[0])
        return tf.reduce_any(_outside(tf.stack(found), np.stack(least), np.stack(most)))

    def said(self, values: Mapping[str, float]) -> str:
        """Returns which of a step's values is beyond its bounds, in words; nothing if none is."""
        # On the host, of the logged values. The graph has decided; this only finds the words.
        for name, value in values.items():
            if not math.isfinite(value) and (self._watch is None or name in self._watch):
                return f"{name} = {value}"
        for name, limit in self._limits.items():
            if not values[name] <= limit:
                return f"{name} = {figure(values[name], 6)} is above its limit of {figure(limit, 6)}"
        return ""


class Finite:
    """What looks at weights. One operation each, because a step as small as they are waits for it.

    Args:
        weights: Returns them, by path. Asked when the step is traced, and again outside of it.
    """

    def __init__(self, weights: Callable[[], Mapping[str, tf.Variable]]) -> None:
        self._weights = weights
        self._compiled: Callable[[], tf.Tensor] = tf.function(self.suspect, autograph=False)

    def suspect(self) -> tf.Tensor:
        """Returns whether some are NaN or infinite, or so large that their squares are: bool `[]`."""
        sums = [_squares(weight) for weight in _floating(self._weights()).values()]
        return tf.logical_not(tf.math.is_finite(tf.add_n(sums))) if sums else tf.constant(False)

    def said(self) -> str:
        """Returns which of them are NaN or infinite, in words; nothing if none is."""
        if not self._compiled():  # sync: reads one bool
            return ""
        arrays = {path: np.asarray(tf.cast(v, tf.float64)) for path, v in _floating(self._weights()).items()}
        counts = {path: np.count_nonzero(~np.isfinite(array)) for path, array in arrays.items()}
        wrong = [f"{path} ({count} of {arrays[path].size})" for path, count in counts.items() if count]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return f"weights are NaN or infinite, {', '.join(wrong[:3])}{more}," if wrong else ""


def _outside(value: tf.Tensor, least: np.floating | np.ndarray, most: np.floating | np.ndarray) -> tf.Tensor:
    """Returns what is below the least or above the most, or NaN: bool, of the shape of the value."""
    return tf.not_equal(value, tf.raw_ops.ClipByValue(t=value, clip_value_min=least, clip_value_max=most))


def _kept_in(dtype: tf.DType) -> tf.DType:
    """Returns the dtype that holds all numbers of another, and in which they can be compared."""
    return tf.float32 if dtype.is_floating and dtype.size <= tf.float32.size else tf.float64


def _rounded_down(bound: float, dtype: tf.DType) -> np.floating:
    """Returns the largest number of a dtype that is not above a bound, so that comparisons are as with the bound."""
    with np.errstate(over="ignore"):  # beyond float32: infinity, and then the largest below it
        number = dtype.as_numpy_dtype(bound)
    return number if float(number) <= bound else np.nextafter(number, dtype.as_numpy_dtype(-math.inf))


def _floating(weights: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
    return {path: weight for path, weight in weights.items() if weight.dtype.is_floating}


def _squares(weight: tf.Variable) -> tf.Tensor:
    """Returns half the sum of the squares, float64 `[]`; those of 16 bits would soon be too large for these."""
    value = weight.read_value()
    value = tf.cast(value, tf.float32) if value.dtype.size < tf.float32.size else value
    return tf.cast(tf.nn.l2_loss(value), tf.float64)
