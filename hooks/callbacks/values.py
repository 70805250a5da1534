"""The kinds of values that a Python object keeps, as texts and bits. No program is read or run to get them back."""

import collections
import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Json: TypeAlias = Any
Bits: TypeAlias = bytes | np.ndarray  # an array is a view of what is held anyway
# By exact type: a subclass, such as an enum, would come back as something else.
PLAIN = (bool, int, float, str, type(None))
LISTS: dict[str, type] = {"list": list, "tuple": tuple, "deque": collections.deque, "set": set}
DICTS: dict[str, type] = {
    "dict": dict,
    "ordered": collections.OrderedDict,
    "counter": collections.Counter,
    "default": collections.defaultdict,
}
DEFAULTS = {None: None, "int": int, "float": float, "str": str, "list": list, "dict": dict, "set": set}


class Stream(NamedTuple):
    """A kind of generator of random numbers: its class, and what returns its state and gives it one."""

    kind: type
    state: Callable[[Any], object]
    put_back: Callable[[Any, Any], object]


STREAMS = {
    "random": Stream(random.Random, random.Random.getstate, random.Random.setstate),
    "generator": Stream(
        np.random.Generator,
        lambda own: own.bit_generator.state,
        lambda own, state: setattr(own.bit_generator, "state", state),
    ),
    "numpy": Stream(np.random.RandomState, lambda own: own.get_state(legacy=False), np.random.RandomState.set_state),
}


class NotKept(TypeError):
    """A value that cannot be written down. Its text is what kind of thing that is."""


class GoesOn(NotKept):
    """One that goes on by itself, as an iterator or a file does, so that nobody sees whether it has changed."""


class WrittenValue(NamedTuple):
    """What was written of a value.

    Attributes:
        text: What JSON says of it.
        bits: Those of the arrays in it.
        closed: The kinds of things in it of which something has changed that cannot be saved.
    """

    text: str
    bits: tuple[Bits, ...] = ()
    closed: tuple[str, ...] = ()

    def is_like(self, other: "WrittenValue") -> bool:
        """Returns whether the same was written. Costs nothing for arrays that nobody has touched."""
        # Texts first, which is where most changes show; bits may be as large as a model.
        same = self.text == other.text and len(self.bits) == len(other.bits)
        return same and all(map(_equal, self.bits, other.bits)) and self.closed == other.closed


def _equal(one: Bits, other: Bits) -> bool:
    if one is other:
        return True
    if isinstance(one, bytes) and isinstance(other, bytes):
        return one == other
    return np.array_equal(raw(one), raw(other))  # by bytes, so NaN equals itself


def raw(bits: Bits) -> np.ndarray:
    """Returns bits as bytes in an array, without a copy."""
    return np.frombuffer(bits, np.uint8) if isinstance(bits, bytes) else bits.reshape(-1).view(np.uint8)
