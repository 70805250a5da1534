"""Tensors as bytes, in a form of which a file that somebody has made up can do no harm: a line of JSON, and numbers."""

import itertools
import json
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from loop.tf_internals import Tensors

MOST = 32  # dimensions: of texts with more, TensorFlow ends the process


def encoded(tensors: Mapping[str, tf.Tensor]) -> bytes:
    """Returns tensors of numbers and texts as bytes; the same bytes for the same tensors."""
    parts, said = list[bytes](), []
    for name, tensor in tensors.items():
        if tensor.dtype == tf.string:
            texts = tf.reshape(tensor, [-1]).numpy().tolist()
            parts += [np.array([*map(len, texts)], "<i8").tobytes(), *texts]
        else:
            parts.append(np.asarray(tensor.numpy()).tobytes())
        said.append([name, tensor.dtype.name, tensor.shape.as_list()])
    return b"".join([json.dumps(said).encode(), b"\n", *parts])  # JSON has no line break of its own


def decoded(raw: bytes) -> Tensors:
    """Returns the tensors of which these are the bytes. Raises `ValueError` if they are of none."""
    head, _, _ = raw.partition(b"\n")
    at, found = len(head) + 1, dict[str, tf.Tensor]()
    try:
        for name, kind, shape in json.loads(head):
            # Lengths first: a text among them would be repeated as often as the others say.
            if not isinstance(name, str) or len(shape) > MOST or not all(type(length) is int for length in shape):
                raise ValueError("not what tensors of rows have")
            count, dtype = math.prod(shape), tf.as_dtype(kind)
            lengths = np.frombuffer(raw, "<i8", count, at) if dtype == tf.string else np.zeros([0])
            if count < 0 or (lengths < 0).any():
                raise ValueError("less than nothing")
            if dtype == tf.string:
                ends = at + 8 * count + np.cumsum(lengths)
                starts, values = [at + 8 * count, *ends.tolist()], np.empty([count], object)
                values[:] = [raw[start:end] for start, end in itertools.pairwise(starts)]
                at = starts[-1]
            else:
                values = np.frombuffer(raw, dtype.as_numpy_dtype, count, at)
                at += values.nbytes
            with tf.device("CPU"):
                found[name] = tf.constant(values.reshape(shape), dtype)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"it holds no rows: {error!r:.100}") from None
    if at != len(raw):
        raise ValueError(f"{at} of its {len(raw)} bytes are used")
    return found
