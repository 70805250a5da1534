"""A value of the program as a checkpoint holds it, and taken over where it is: so others who have it see it too."""

import collections
import itertools
import random
import types
from collections.abc import Iterator, Sized

import numpy as np

from loop.exact.reach import is_of_program
from loop.state.plain import Encoded, Plain

DEEPEST = 6  # iterators and tuples within one another
LARGEST = 2**26  # bytes of one array or list that are copied to see whether it changes; of larger ones, a sample


def plain(value: object) -> Plain:
    """Returns what a value is made of, as far as it is known: of generators their state, of a deque a list."""
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, collections.deque):
        return list(value)
    return value.getstate() if isinstance(value, random.Random) else value


def copied(value: object) -> object:
    """Returns what tells whether a value has changed: a copy, if it is plain; a sample, if it is too large for that."""
    if isinstance(value, np.ndarray) and value.nbytes > LARGEST:
        return id(value), value[:: max(1, len(value) // 1000)].tobytes()[:LARGEST]
    if isinstance(value, Iterator) and not is_of_program(type(value)):
        return id(value), _place(value)
    if isinstance(value, set) or (isinstance(value, list | dict | collections.deque) and len(value) > LARGEST // 64):
        return id(value), len(value), repr(list(itertools.islice(value, 1000)))
    try:
        return Encoded(plain(value), "an attribute")
    except (TypeError, ValueError, RecursionError):
        return None if is_of_program(type(value)) else id(value)


def _place(thing: object, depth: int = 0) -> object:
    """Returns what tells where one of Python's own iterators is, as far as it says that."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, types.GeneratorType):
        frame = thing.gi_frame
        return None if frame is None else (frame.f_lasti, _place(tuple(frame.f_locals.values()), depth + 1))
    if isinstance(thing, tuple) and depth < DEEPEST:
        return tuple(_place(part, depth + 1) for part in thing)
    if isinstance(thing, Iterator) and depth < DEEPEST:
        try:
            return _place(tuple(thing.__reduce__()[1:]), depth + 1)
        except TypeError:  # a file
            return None
    return len(thing) if isinstance(thing, Sized) else None


def taken_over(now: object, new: Plain) -> bool:
    """Lets what is there now become what was kept of it. Returns whether it could: else the new one takes its place."""
    if isinstance(now, np.random.Generator):
        now.bit_generator.state = new
    elif isinstance(now, np.random.RandomState):
        now.set_state(new)
    elif isinstance(now, random.Random):
        now.setstate(new)
    elif isinstance(now, np.ndarray) and isinstance(new, np.ndarray) and _alike(now, new):
        now[...] = new
    elif isinstance(now, list) and isinstance(new, list):
        now[:] = new
    elif isinstance(now, collections.deque) and isinstance(new, list):
        now.clear()
        now.extend(new)
    elif isinstance(now, dict) and isinstance(new, dict):
        now.clear()
        now.update(new)
    else:
        return False
    return True


def _alike(now: np.ndarray, new: np.ndarray) -> bool:
    return (now.shape, now.dtype) == (new.shape, new.dtype) and now.flags.writeable
