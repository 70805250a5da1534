"""Values of variables of any shape, dtype and size as texts, which one variable of unknown length can hold."""

import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from loop.tf_internals import given_up

LONGEST = 2**28  # bytes of a text; what goes through protocol buffers, such as tf.io.serialize_tensor, dies at 2^31


def as_texts(values: Iterable[tf.Variable]) -> list[bytes]:
    """Returns for each value its shape, and then its bits, one after the other."""
    return [text for value in values for text in _texts(value)]


def texts_in(variable: tf.Variable) -> Iterator[bytes]:
    """Yields the texts in a variable, one at a time: all at once would be in memory twice."""
    return (variable[i].numpy() for i in range(int(tf.size(variable))))


def from_texts(texts: Iterable[bytes], like: Mapping[str, tf.Variable]) -> dict[str, tf.Tensor]:
    """Returns the values of which `as_texts` made these, by the names of variables that can hold them.

    Raises:
        ValueError: If they are too few, too many, or not values of these variables.
    """
    left = iter(texts)
    found = {name: _value(variable, left) for name, variable in like.items()}
    if next(left, None) is not None:
        raise ValueError("There are more texts than the values have.")
    return found


def text_variable(name: str, text: str = "") -> tf.Variable:
    """Returns a variable that holds a text as bytes, uint8 `[length]`, of which equal texts have equal bits."""
    return tf.Variable(in_bytes(text), shape=[None], trainable=False, name=name)


def in_bytes(text: str) -> tf.Tensor:
    """Returns what such a variable is assigned."""
    return tf.constant([*text.encode()], tf.uint8)


def text_in(variable: tf.Variable) -> str:
    """Returns the text."""
    return variable.numpy().tobytes().decode()


def _texts(value: tf.Variable) -> list[bytes]:
    if value.dtype == tf.string:
        array = np.asarray(value.numpy(), object)
        return [json.dumps(array.shape).encode(), *array.reshape(-1).tolist()]
    tensor = value.read_value()
    # Of no copy, as `numpy()` is; but of [], TensorFlow hands out a number, no array if NumPy lacks its dtype.
    array = np.asarray(tensor if tensor.shape.rank else tensor.numpy())
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    # Copies one part at a time, `[bytes]`; an empty value has none, but a shape.
    parts = (data[first : first + LONGEST].tobytes() for first in range(0, data.size, LONGEST))
    return [json.dumps(tensor.shape.as_list()).encode(), *parts]


def _value(variable: tf.Variable, left: Iterator[bytes]) -> tf.Tensor:
    wrong, dtype = f"The texts are no value of {variable.name}, of shape {variable.shape}.", variable.dtype
    try:
        shape = json.loads(next(left, b"null"))
        # A bool is an int in Python, and JSON's `true` would be a length of 1; to TensorFlow `{}` is a shape, too.
        fits = isinstance(shape, list) and all(type(length) is int and length >= 0 for length in shape)
        fits = fits and variable.shape.is_compatible_with(shape)
    except (TypeError, ValueError, RecursionError):  # of a text that is no JSON, or none of a shape
        fits = False
    if not fits:
        raise ValueError(wrong)
    count = math.prod(shape)
    if dtype == tf.string:
        # As many as the shape says; `islice` takes no number above sys.maxsize.
        words = list(itertools.islice(left, min(count, sys.maxsize)))
        if len(words) != count:
            raise ValueError(wrong)
        return tf.constant(words, tf.string, shape=shape)
    size = count * dtype.size  # bytes, by the dtype of the variable: the texts do not say it
    parts = list(itertools.islice(left, min(-(-size // LONGEST), sys.maxsize)))
    lengths = [min(LONGEST, size - LONGEST * i) for i in range(len(parts))]
    if [*map(len, parts)] != lengths or sum(lengths) != size:  # before there is memory for what they claim to be
        raise ValueError(wrong)
    data = np.empty(size, np.uint8)
    for i, text in enumerate(parts):
        data[LONGEST * i : LONGEST * i + len(text)] = np.frombuffer(text, np.uint8)
    return given_up(data.view(dtype.as_numpy_dtype).reshape(shape), dtype)  # not copied once more
