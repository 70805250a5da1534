"""Reads back a value that was written down, into what is there."""

import collections
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.objects import (
    COMPUTING,
    VARIABLES,
    attributes,
    build_optimizers,
    fill,
    is_of_program,
    take_away,
    variables,
)
from hooks.callbacks.records import record_class
from hooks.callbacks.things import NEW, Things
from hooks.callbacks.values import DEFAULTS, DICTS, LISTS, PLAIN, STREAMS, Bits, Json, NotKept, raw

BITS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")  # of NumPy's generators


class Present(NamedTuple):
    """What is read into.

    Attributes:
        things: Which thing is which.
        made: What was made in reading, by label.
    """

    things: Things
    made: dict[str, Any]

    def of(self, label: str, *kind: type) -> Any:
        """Returns the thing with a label, if it is of one of these kinds; None if it was made after the beginning."""
        thing = self.made.get(label) if label.startswith(NEW) else self.things.thing(label)
        if (thing is None or not isinstance(thing, kind)) and not label.startswith(NEW):
            raise NotKept(f"{'/'.join(each.__name__ for each in kind)} that is not there when the run begins")
        return thing


def read(text: str, bits: Iterator[Bits], present: Present) -> object:
    """Returns the value of which `write` made a text. What was there when the run began is changed in place.

    Args:
        text: The text.
        bits: The bits of the arrays in it, and maybe more.
        present: What is there.

    Raises:
        ValueError: If it is not such a text.
        NotKept: If only what is there could be changed, and it is not, or of another kind.
    """
    try:
        return _read(json.loads(text), bits, present)
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        if isinstance(error, NotKept):
            raise
        raise ValueError(f"This is no value that was written down: {error!r:.100}") from None


def _of_array(said: Sequence[Json], bits: Iterator[Bits]) -> np.ndarray:
    # All of it is checked before memory is taken: a text may have been planted.
    dtype, shape = said
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not all(type(length) is int and length >= 0 for length in shape) or kind.hasobject:
        raise ValueError("an array of no shape")
    whole = raw(next(bits))
    if len(whole) != size:
        raise ValueError("an array of another size")
    # A copy, since what `frombuffer` returns cannot be written to.
    return np.frombuffer(whole.tobytes(), kind).reshape(shape).copy()


def _read(said: Json, bits: Iterator[Bits], present: Present) -> Any:
    if type(said) in PLAIN:
        return said
    kind, *rest = said
    if kind == "tuple":
        return tuple(_read(item, bits, present) for item in rest[1])
    if kind in LISTS:
        return _of_list(LISTS[kind], rest[0], rest[1], rest[2], bits, present)
    if kind in DICTS:
        label, items, default = rest
        made = present.of(label, DICTS[kind])
        if made is None:
            new: Any = collections.defaultdict(DEFAULTS[default]) if kind == "default" else DICTS[kind]()
            # Before what is in it is read: it may be in there itself.
            made = present.made.setdefault(label, new)
        # All read first: what cannot be read must not leave an emptied dict behind.
        pairs = [(_read(key, bits, present), _read(item, bits, present)) for key, item in items]
        made.clear()
        made.update(pairs)
        return made
    if kind in ("scalar", "tensor"):
        array = _of_array(rest, bits)
        return array[()] if kind == "scalar" else tf.constant(array)
    if kind == "named":
        of_tuple = record_class(rest[0], rest[1])
        if of_tuple is None or not issubclass(of_tuple, tuple):
            raise NotKept(rest[1])
        return tuple.__new__(of_tuple, [_read(item, bits, present) for item in rest[2]])
    label = rest[0]
    if kind == "path":
        return Path(label)
    if kind == "enum":
        return present.of(label, Enum)
    if kind == "array":
        return _into_array(label, _of_array(rest[1:], bits), present)
    if kind in STREAMS:
        return _into_stream(kind, label, rest[1], bits, present)
    # What is assigned in place keeps being the object that others hold, too.
    fill: dict[str, tuple[Any, Callable[[Any], object]]] = {
        "variable": (VARIABLES, lambda thing: thing.assign(_of_array(rest[1:], bits))),
        "metric": (keras.Metric, lambda _: [_read(each, bits, present) for each in rest[1]]),
        "of_loop": (object, lambda _: None),  # what has changed in it, the loop puts back
        "variables": (COMPUTING, lambda thing: _assign(thing, rest[1], bits, present)),
        "object": (object, lambda thing: _fill(thing, rest[1], rest[2], bits, present)),
    }
    of, assign = fill[kind]
    thing = present.of(label, *(of if isinstance(of, tuple) else (of,)))
    if thing is None and kind == "object" and (of_record := record_class(rest[3], rest[1])) is not None:
        # Before what is in it is read: it may be in there itself.
        thing = present.made.setdefault(label, object.__new__(of_record))
    if thing is None:  # generators of random numbers can be made anew; variables and networks cannot
        raise NotKept(f"{kind} that is not there when the run begins")
    assign(thing)
    return thing


def _of_list(kind: type, label: str, items: list[Json], longest: int | None, bits: Iterator[Bits], on: Present) -> Any:
    made = on.of(label, kind)
    if made is None:
        made = on.made.setdefault(label, collections.deque(maxlen=longest) if kind is collections.deque else kind())
    read_items = [_read(item, bits, on) for item in items]
    made.clear()  # in place, as somebody else may have the same
    (made.update if kind is set else made.extend)(read_items)
    return made


def _into_array(label: str, array: np.ndarray, present: Present) -> np.ndarray:
    there = present.of(label, np.ndarray)
    if there is None:
        return present.made.setdefault(label, array)
    if there.dtype != array.dtype or there.shape != array.shape or not there.flags.writeable:
        raise NotKept("array of another shape when the run begins")
    there[...] = array  # in place: a view of it sees the values as well
    return there


def _into_stream(kind: str, label: str, state: Json, bits: Iterator[Bits], present: Present) -> object:
    stream = present.of(label, STREAMS[kind].kind)
    if stream is None:
        stream = present.made[label] = _new_generator(state) if kind == "generator" else STREAMS[kind].kind()
    STREAMS[kind].put_back(stream, _read(state, bits, Present(present.things, {})))
    return stream


def _new_generator(state: Json) -> np.random.Generator:
    name = next(item for key, item in state[2] if key == "bit_generator")
    if name not in BITS:
        raise NotKept("generator that is not there when the run begins")
    return np.random.Generator(getattr(np.random, name)())


def _assign(thing: object, said: Sequence[Sequence[Json]], bits: Iterator[Bits], present: Present) -> None:
    # All of them looked at before the first is assigned, so none is half restored.
    arrays, there = [_of_array(of, bits) if of else None for _, *of in said], {*map(id, variables(thing))}
    if len(there) < len(said):
        build_optimizers(thing)
    own = variables(thing)
    if len(own) != len(said) or not all(
        # None: it was built in the course of the run, and has a name only if it was there before a later one.
        (label is None or id(each) not in there or present.things.label(each) == label)
        and (array is None or each.shape == array.shape)
        for each, (label, *_), array in zip(own, said, arrays, strict=True)
    ):
        raise NotKept(f"{type(thing).__name__} that is built later, and has to be when a run begins")
    for variable, array in zip(own, arrays, strict=True):
        if array is not None:
            variable.assign(array)


def _fill(thing: Any, kind: str, said: Mapping[str, Json], bits: Iterator[Bits], present: Present) -> None:
    if type(thing).__qualname__ != kind or not is_of_program(thing):
        raise NotKept(kind)
    for name in attributes(thing).keys() - said.keys():  # set since by a run that is undone
        take_away(thing, name)
    for name, item in said.items():
        fill(thing, name, _read(item, bits, present))
