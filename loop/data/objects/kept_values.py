"""A value of the program as a checkpoint holds it, and taken over where it is: so others who have it see it too."""

import array
import collections
import io
import random
import types
import warnings
import zlib
from collections.abc import Iterator, Sized

import numpy as np

from loop.exact.reach import is_of_program
from loop.state.plain import Encoded, Plain

DEEPEST = 6  # iterators, tuples and containers within one another
LARGEST = 2**26  # bytes of values that are copied to see whether they change; of others there are checksums
EXACT = (type(None), bool, int, float, complex, str, bytes, np.ndarray)  # come back as what they were
CONTAINERS = list | tuple | dict | set | collections.deque
BUFFERS = bytearray | array.array
SHARED = list | dict | set | collections.deque | bytearray | np.ndarray  # what two names may have in common, and change

ENTERED = (list, tuple, dict, set, collections.deque, bytearray, np.ndarray)  # a tuple is five times as fast as `|`
SIZED = (str, bytes, *ENTERED)


def kind(value: object) -> str:
    """Returns what has to be there for a value to be taken over into it."""
    if isinstance(value, np.random.Generator):
        return f"{type(value).__name__} of {type(value.bit_generator).__name__}"
    return type(value).__name__


def said(value: object, name: str = "") -> str:
    """Returns what a value is in words: of an array dtype and shape, else its kind, if it has no name."""
    return f"{value.dtype} {[*value.shape]}" if isinstance(value, np.ndarray) else name or kind(value)


def plain(value: object) -> Plain:
    """Returns what a value is made of, as far as it is known: of generators their state, of a deque or set a list."""
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.BitGenerator):
        return value.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, collections.deque):
        return list(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, set):
        # The order of a set of texts is another one in each process: Python hashes them with a seed.
        return sorted(value, key=lambda item: (type(item).__name__, item))
    return value.getstate() if isinstance(value, random.Random) else value


def is_exact(value: object, depth: int = 0) -> bool:
    """Returns whether a value that is put in the place of another is what it was: no other class is lost in it."""
    if type(value) in (list, tuple, dict):
        items = value.values() if isinstance(value, dict) else value
        # Of a million numbers, none is worth a call.
        others = (item for item in items if type(item) not in EXACT)  # type: ignore[attr-defined]
        return depth < DEEPEST and all(is_exact(item, depth + 1) for item in others)
    return type(value) in EXACT or isinstance(value, np.generic)


def inside(value: object, depth: int = 0) -> Iterator[SHARED]:
    """Yields what within a value others could have too: it, or the memory that it is a part of, and what is in it."""
    if isinstance(value, SHARED):
        yield value
    if isinstance(value, np.ndarray) and isinstance(value.base, np.ndarray):  # a view of what others may have
        yield value.base
    # With more items than that it is too large to be kept, as `size` counts.
    if isinstance(value, CONTAINERS) and depth < DEEPEST and len(value) <= LARGEST // 64:
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, ENTERED):
                yield from inside(item, depth + 1)


def copied(value: object, most: int = LARGEST) -> object:
    """Returns what tells whether a value has changed: a copy, if it is plain and has at most so many bytes."""
    if isinstance(value, io.IOBase):
        return None  # a file that is opened again, and read from where it has to be
    # Python's own, as of a zip: it is known by where it is.
    if isinstance(value, Iterator) and not is_of_program(type(value)):
        return id(value), _place(value)
    # Too large for a copy; or, with -1 for `most`, to be compared with what is a checksum.
    if size(value, most) > most and isinstance(value, CONTAINERS | np.ndarray | str | bytes | BUFFERS):
        return _checked(value)
    try:
        held = plain(value)
        if is_exact(held):
            return Encoded(held, "an attribute")
    except (TypeError, ValueError, RecursionError):
        pass  # then it is told by what it is
    if isinstance(value, CONTAINERS | BUFFERS):
        return _checked(value)
    # What the program's own objects hold has slots of its own; others have changed if there is another one.
    return None if is_of_program(type(value)) else id(value)


def can_be_saved(value: object) -> bool:
    """Returns whether a value is plain now, and not too large. What it was, it may be no more."""
    # Of an array, its dtype says it: not of objects, nor of records.
    tried = np.empty([0], value.dtype) if isinstance(value, np.ndarray) else value
    try:
        return size(value) <= LARGEST and bool(Encoded(plain(tried), "an attribute"))
    except (TypeError, ValueError, RecursionError):
        return False


def size(value: object, most: int = LARGEST, depth: int = 0) -> int:
    """Returns how many bytes a value has, or more than `most` as soon as it has more."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if not isinstance(value, CONTAINERS) or depth > DEEPEST:
        return len(value) if isinstance(value, str | bytes | bytearray) else 8
    total = 64 * len(value)
    for item in (value.values() if isinstance(value, dict) else value) if total <= most else ():
        if isinstance(item, SIZED):
            total += size(item, most - total, depth + 1)
            if total > most:
                break
    return total


def _checked(value: object, depth: int = 0) -> object:
    """Returns a checksum of a value and of what is in it, made in a second for 2 GB; of a mapped file, no more than is
    in its first rows. Things of other kinds count for what they are."""
    if type(value) in EXACT[:6]:
        return value
    if isinstance(value, np.ndarray):
        rows = value[: max(1, LARGEST // max(1, value[:1].nbytes))] if isinstance(value, np.memmap) else value
        return id(value), zlib.crc32(np.ascontiguousarray(rows).view(np.uint8).data) if rows.dtype != object else 0
    if isinstance(value, BUFFERS):
        return id(value), zlib.crc32(value)
    if not isinstance(value, CONTAINERS) or depth > DEEPEST:
        return id(value)
    items = value.values() if isinstance(value, dict) else value
    # Hashes of texts differ from process to process: they are compared within this one alone.
    return id(value), len(value), hash(tuple(_checked(item, depth + 1) for item in items))


def same_within(value: CONTAINERS, known: object) -> bool:
    """Returns whether as much is in a value as there was in another one, of which this is what `copied` returned."""
    found = _checked(value)
    return isinstance(known, tuple) and isinstance(found, tuple) and found[1:] == known[1:]


def _place(thing: object, depth: int = 0) -> object:
    """Returns what tells where one of Python's own iterators is, as far as it says that."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, types.GeneratorType):
        # Where it has halted, and its local numbers and texts; of what is over, nothing.
        frame = thing.gi_frame
        return None if frame is None else (frame.f_lasti, _place(tuple(frame.f_locals.values()), depth + 1))
    if isinstance(thing, tuple) and depth < DEEPEST:
        return tuple(_place(part, depth + 1) for part in thing)
    if isinstance(thing, Iterator) and depth < DEEPEST:
        try:
            with warnings.catch_warnings(action="ignore"):  # Python is going to have none of it
                return _place(tuple(thing.__reduce__()[1:]), depth + 1)
        except Exception:  # a file, or whoever does not want to be copied
            return None
    return len(thing) if isinstance(thing, Sized) else None


def taken_over(now: object, new: Plain) -> bool:
    """Lets what is there now become what was kept of it. Returns whether it could: both have to be of one kind."""
    if isinstance(now, np.random.Generator):
        now.bit_generator.state = new
    elif isinstance(now, np.random.BitGenerator):
        now.state = new
    elif isinstance(now, np.random.RandomState):
        now.set_state(new)
    elif isinstance(now, random.Random):
        now.setstate(new)
    elif isinstance(now, np.ndarray) and isinstance(new, np.ndarray) and _alike(now, new):
        now[...] = new
    elif (isinstance(now, list) and isinstance(new, list)) or (isinstance(now, bytearray) and isinstance(new, bytes)):
        now[:] = new
    elif isinstance(now, set) and isinstance(new, list):
        now.clear()
        now.update(new)
    elif isinstance(now, collections.deque) and isinstance(new, list):
        now.clear()
        now.extend(new)
    elif isinstance(now, dict) and isinstance(new, dict):
        now.clear()
        for key, value in new.items():  # a Counter would add them up
            now[key] = value
    elif isinstance(now, tuple) and isinstance(new, tuple) and len(now) == len(new):
        # A tuple cannot be changed, but what is in it can.
        return all(is_same(x, y) or taken_over(x, y) for x, y in zip(now, new, strict=True))
    else:
        return False
    return True


def is_same(now: object, new: Plain) -> bool:
    """Returns whether nothing has to be taken over."""
    return Encoded(plain(now), "an attribute") == Encoded(new, "an attribute")


def _alike(now: np.ndarray, new: np.ndarray) -> bool:
    return (now.shape, now.dtype) == (new.shape, new.dtype) and now.flags.writeable
