"""A batch as a checkpoint holds it, among the state of a source: bytes and texts."""

import numpy as np
import tensorflow as tf

from loop.state.plain import Plain


def kept(tensor: tf.Tensor | np.ndarray) -> Plain:
    """Returns an array as plain values."""
    array = np.asarray(tensor)
    if array.dtype != object:  # else they are texts
        return [array.dtype.str, list(array.shape), array.tobytes()]
    return ["text", list(array.shape), [each.encode() if isinstance(each, str) else each for each in array.flat]]


def taken(values: Plain) -> np.ndarray:
    """Returns an array of the values that it was kept as."""
    kind, shape, data = values
    array = np.array(data, object) if kind == "text" else np.frombuffer(data, kind)
    return array.reshape(shape)
