"""Types of TensorFlow that have no short public name, and how to read a variable in a third of the time."""

import functools
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from loop.tf_internals import assign, read_variable, scalar

Nest: TypeAlias = tf.types.experimental.TensorLike  # and tuples, lists and mappings of them, as in tf.nest
FuncGraph: TypeAlias = tf.Graph  # what tf.function traces: with `inputs`, `captures` and `variables` besides
GraphDef: TypeAlias = tf.compat.v1.GraphDef
NodeDef: TypeAlias = tf.compat.v1.NodeDef
# For what is called while tracing and needs no AutoGraph, which takes 30 to 250 ms to convert a function.
unconverted: Any = tf.autograph.experimental.do_not_convert


OF_4_BITS = ("int4", "uint4")


def widened(tensor: tf.Tensor) -> tf.Tensor:
    """Returns integers of 4 bits as int8, for the many operations that know only that; others as they are."""
    return tf.cast(tensor, tf.int8) if tensor.dtype.name in OF_4_BITS else tensor


def raw(variable: tf.Variable | keras.Variable) -> tf.Variable:
    """Returns TensorFlow's variable behind a Keras one."""
    return variable.value if isinstance(variable, keras.Variable) else variable  # `value` is that variable


read, put = read_variable, assign  # in a tenth of the time of the methods


def write(variable: tf.Variable, value: float) -> None:
    """Assigns a number."""
    put(variable, _whole(value, variable.dtype) if isinstance(value, int) else scalar(value, variable.dtype))


# Kept, as TensorFlow would do it, but not all of them for good: most numbers come again, and to make a tensor of one
# takes as long as to assign it. An update of a variable that shares its buffer makes another one.
@functools.lru_cache(maxsize=64)
def _whole(value: int, dtype: tf.DType) -> tf.Tensor:
    """Returns a whole number, or a bool, as a tensor `[]`."""
    return scalar(value, dtype)


def examples(batch: Nest) -> tf.Tensor:
    """Returns the leading dimension of a batch's first tensor, where it varies: int32 `[]`."""
    # Any of them would do: all tensors of a batch have its examples in their first dimension.
    first = tf.nest.flatten(batch)[0]
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.int32)
    if isinstance(first, tf.SparseTensor):
        return tf.cast(first.dense_shape[0], tf.int32)
    return tf.concat([tf.shape(first), [1]], axis=0)[0]  # of what Python has made, nobody may know that it is a scalar


def text_of(spec: Nest) -> str:
    """Returns a text of what has a structure, with dicts in the order of their keys: in saved datasets, it is any."""
    if type(spec) is dict:
        return f"{{{', '.join(f'{key!r}: {text_of(spec[key])}' for key in sorted(spec, key=repr))}}}"
    if type(spec) is tuple:
        return f"({', '.join(map(text_of, spec))}{',' if len(spec) == 1 else ''})"
    return repr(spec)
