"""Whether weights are finite, looked at in the compiled step and said outside of it."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf


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


def _floating(weights: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
    return {path: weight for path, weight in weights.items() if weight.dtype.is_floating}


def _squares(weight: tf.Variable) -> tf.Tensor:
    """Returns half the sum of the squares, float64 `[]`; those of 16 bits would soon be too large for these."""
    value = weight.read_value()
    value = tf.cast(value, tf.float32) if value.dtype.size < tf.float32.size else value
    return tf.cast(tf.nn.l2_loss(value), tf.float64)
