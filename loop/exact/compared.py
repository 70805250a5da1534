"""When two values in Python are the same, and what is said of those that are not."""

import math
import reprlib
import types
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from loop.exact.reach import OF_KERAS

Pair: TypeAlias = tuple[object, object]  # then and now
SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic, tf.DType)
THINGS = (*OF_KERAS, types.FunctionType, types.MethodType, tf.Module, tf.Variable, keras.Variable)  # which one it is
BY_VALUE = (tf.Variable, keras.Variable)  # two of these are equal if their values are
POLICIES = (keras.dtype_policies.DTypePolicy, keras.dtype_policies.DTypePolicyMap)
ARRAYS = (np.ndarray, tf.Tensor)
GONE = object()  # what is not there any more


class Structure(int):
    """What changes only with what there is to be watched."""


class Which(Structure):
    """The id of a thing of which counts which one it is; what is in it is watched by itself."""


class Counted(tuple):
    """Things of which a message says only how many there are."""

    def __repr__(self) -> str:
        return f"{len(self)} in number"


class ContentHash(int):
    """A hash of what is in an array."""

    def __repr__(self) -> str:
        return f"an array with hash {self & 0xFFFF:04x}"


def is_simple(value: object) -> bool:
    """Returns whether there is nothing to be watched within this."""
    return isinstance(value, SIMPLE) and not isinstance(value, Structure)


def is_array(value: object) -> bool:
    """Returns whether this has contents that can be looked at."""
    return isinstance(value, ARRAYS) and not tf.is_symbolic_tensor(value)


def same(then: object, now: object) -> bool:
    """Returns whether a value is what it was; of things, whether it is the same one."""
    if then is now:  # also what cannot be compared
        return True
    if isinstance(then, ARRAYS) and isinstance(now, ARRAYS):
        one, other = np.asarray(then), np.asarray(now)
        # Bits, of which NaN is equal to itself, and 0.0 is not -0.0.
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(then, (tuple, *SIMPLE)) and isinstance(now, (tuple, *SIMPLE)):
        if then != then and now != now:  # NaN is not equal to itself
            return True
        return bool(then == now) and exactly(then) == exactly(now)
    kinds = (*POLICIES, types.MethodType)  # of which equal ones are made again and again
    # Of all else counts which object it is, as it did above.
    return isinstance(then, kinds) and isinstance(now, kinds) and bool(then == now)


def exactly(value: object) -> object:
    """Returns what tells a plain value from others that are equal to it: 1 from 1.0 and True, 0.0 from -0.0."""
    if type(value) is tuple:
        return tuple(map(exactly, value))
    return math.copysign(1.0, value) if type(value) is float and not value else type(value)


def told(then: object, now: object) -> str:
    """Returns a change for a message."""
    if isinstance(then, Which) and isinstance(now, Which):
        return "is another object now"
    if isinstance(then, (*THINGS, *ARRAYS)) and type(then) is type(now):
        return f"is another {type(now).__name__} now"
    return f"was {_shown(then)}, is {_shown(now)} now"


def _shown(value: object) -> str:
    if value is GONE:
        return "not there"
    if isinstance(value, Counted | ContentHash):
        return repr(value)
    if isinstance(value, POLICIES):
        return value.name
    return f"a {type(value).__name__}" if isinstance(value, (*THINGS, *ARRAYS)) else reprlib.repr(value)
