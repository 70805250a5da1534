"""Values that a Python object keeps, as texts and bits. No program is read or run to get them back."""

import collections
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.closed import changes, keeps_unseen, python_of
from hooks.callbacks.objects import COMPUTING, VARIABLES, attributes, fill, is_of_program, take_away, variables
from hooks.callbacks.things import NEW, Things

Json: TypeAlias = Any
Bits: TypeAlias = bytes | np.ndarray  # an array is a view of what is held anyway
PLAIN = (bool, int, float, str, type(None))
LISTS: dict[str, type] = {"list": list, "tuple": tuple, "deque": collections.deque, "set": set}
DICTS: dict[str, type] = {
    "dict": dict,
    "ordered": collections.OrderedDict,
    "counter": collections.Counter,
    "default": collections.defaultdict,
}
DEFAULTS = {None: None, "int": int, "float": float, "str": str, "list": list, "dict": dict, "set": set}
BITS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")  # of NumPy's generators
DEEPEST = 20


class NotKept(TypeError):
    """A value that cannot be written down. Its text is what kind of thing that is."""


class GoesOn(NotKept):
    """One that goes on by itself, as an iterator or a file does, so that nobody sees whether it has changed."""


class Written(NamedTuple):
    """What was written of a value.

    Attributes:
        text: What JSON says of it.
        bits: Those of the arrays in it.
        closed: The kinds of things in it of which something has changed that cannot be saved.
    """

    text: str
    bits: tuple[Bits, ...] = ()
    closed: tuple[str, ...] = ()

    def is_like(self, other: "Written") -> bool:
        """Returns whether the same was written. Costs nothing for arrays that nobody has touched."""
        same = self.text == other.text and len(self.bits) == len(other.bits)
        return same and all(map(_equal, self.bits, other.bits)) and self.closed == other.closed


class Paper(NamedTuple):
    """What is written on.

    Attributes:
        bits: Those of the arrays so far.
        closed: As in `Written`, so far.
        things: Which thing is which.
        kept: The ids of variables that are kept elsewhere.
        made: The numbers of things that were made since the run began, by id.
        naming: Whether this is how it begins: whatever is met is there.
    """

    bits: list[Bits]
    closed: list[str]
    things: Things
    kept: Set[int]
    made: dict[int, str]
    naming: bool

    def label(self, value: object, path: str, can_be_made: bool) -> str:
        if self.naming:
            self.things.name(value, path)
        if (label := self.things.label(value)) is not None:
            return label
        if not can_be_made:
            raise NotKept(f"{type(value).__name__} that was not there when the run began")
        return self.made.setdefault(id(value), f"{NEW} {len(self.made)}")


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
        if not isinstance(thing, kind) and not label.startswith(NEW):
            raise NotKept(f"{'/'.join(each.__name__ for each in kind)} that is not there when the run begins")
        return thing


def write(
    value: object, things: Things, path: str, kept: Set[int] = frozenset(), made: dict[int, str] | None = None
) -> Written:
    """Returns a value as a text and the bits of its arrays.

    That is: numbers, texts, arrays, tensors, lists, tuples, sets and dicts of them; the values of variables, metrics,
    networks and optimizers; the state of generators of random numbers; and what objects of the program's own classes,
    and callbacks, have of all this.

    Args:
        value: Any value.
        things: Which thing is which.
        path: Where the value is.
        kept: The ids of TensorFlow's variables of which somebody else keeps the values.
        made: Numbers of what was made since the run began, to add to; None: the run begins, and all that is met in the
            value is named.

    Raises:
        NotKept: If there is anything else in it, or a thing that is only known by what it was when the run began.
    """
    paper = Paper([], [], things, kept, {} if made is None else made, made is None)
    return Written(json.dumps(_written(value, paper, path, 0)), tuple(paper.bits), tuple(paper.closed))


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


def _equal(one: Bits, other: Bits) -> bool:
    if one is other:
        return True
    if isinstance(one, bytes) and isinstance(other, bytes):
        return one == other
    return np.array_equal(raw(one), raw(other))


def raw(bits: Bits) -> np.ndarray:
    """Returns bits as bytes in an array, without a copy."""
    return np.frombuffer(bits, np.uint8) if isinstance(bits, bytes) else bits.reshape(-1).view(np.uint8)


def _written(value: object, on: Paper, path: str, depth: int) -> Json:
    kind = type(value)
    if kind in PLAIN:
        return value
    if depth > DEEPEST:
        raise NotKept("what contains itself")

    def inner(item: object, name: object) -> Json:
        return item if type(item) in PLAIN else _written(item, on, f"{path}.{name}", depth + 1)

    if name := next((name for name, of_list in LISTS.items() if kind is of_list), ""):
        label = None if name == "tuple" else on.label(value, path, True)
        items = [inner(item, i) for i, item in enumerate(value)]  # type: ignore[arg-type, var-annotated]
        return [name, label, sorted(items, key=repr) if name == "set" else items, getattr(value, "maxlen", None)]
    if name := next((name for name, of_dict in DICTS.items() if kind is of_dict), ""):
        label, default = on.label(value, path, True), getattr(value, "default_factory", None)
        if label.startswith(NEW) and default not in DEFAULTS.values():
            raise NotKept("defaultdict that was not there when the run began")
        pairs = enumerate(value.items())  # type: ignore[attr-defined]
        said = [[inner(key, f"{i}.key"), inner(item, i)] for i, (key, item) in pairs]
        return [name, label, said, getattr(default, "__name__", None)]
    if isinstance(value, np.ndarray):
        return ["array", on.label(value, path, True), *_array(value, on.bits)]
    if isinstance(value, np.generic | tf.Tensor):
        return ["scalar" if isinstance(value, np.generic) else "tensor", *_array(np.asarray(value), on.bits)]
    if isinstance(value, VARIABLES):
        own = value.value if isinstance(value, keras.Variable) else value
        return ["variable", on.label(own, path, False), *_array(on.things.view(own), on.bits, held=True)]
    if isinstance(value, keras.Metric):
        return ["metric", on.label(value, path, False), [inner(each, i) for i, each in enumerate(value.variables)]]
    if kind is random.Random:
        return ["random", on.label(value, path, True), _of_state(value.getstate(), on)]  # type: ignore[attr-defined]
    if isinstance(value, np.random.Generator):
        return ["generator", on.label(value, path, True), _of_state(value.bit_generator.state, on)]
    if isinstance(value, np.random.RandomState):
        return ["numpy", on.label(value, path, True), _of_state(value.get_state(legacy=False), on)]
    if isinstance(value, Iterator) and not is_of_program(value):
        raise GoesOn(kind.__name__)
    if isinstance(value, COMPUTING):
        return ["variables", on.label(value, path, False), _of_variables(value, on, path)]
    if is_of_program(value):
        label = on.label(value, path, False)
        return [
            "object",
            label,
            kind.__qualname__,
            {name: inner(item, name) for name, item in attributes(value).items()},
        ]
    raise NotKept(kind.__name__)


def _of_state(state: object, on: Paper) -> Json:
    return _written(
        state, Paper(on.bits, on.closed, on.things, on.kept, {}, False), "", 0
    )  # which is made anew each time


def _of_variables(value: object, on: Paper, path: str) -> list[Json]:
    label = on.things.label(value)
    if label is not None and not label.startswith("/"):  # what is in the state of the loop is not the callback's
        if unseen := keeps_unseen(value):
            raise GoesOn(unseen)
        now = python_of(value)
        if changes(value, on.things.first(label, now), now):
            on.closed.append(type(value).__name__)
    said = []
    for i, each in enumerate(variables(value)):
        if on.naming:
            on.things.name(each, f"{path}.{i}")
        array = [] if id(each) in on.kept else _array(on.things.view(each), on.bits, held=True)
        said.append([on.things.label(each), *array])
    return said


def _array(array: np.ndarray, bits: list[Bits], *, held: bool = False) -> list[Json]:
    if array.dtype.hasobject or array.dtype.fields:
        raise NotKept(f"{array.dtype.name} array")
    bits.append(array if held else np.ascontiguousarray(array).tobytes())
    return [array.dtype.str if array.dtype.kind in "biufcSUmM" else array.dtype.name, list(array.shape)]


def _of_array(said: Sequence[Json], bits: Iterator[Bits]) -> np.ndarray:
    dtype, shape = said
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not all(type(length) is int and length >= 0 for length in shape) or kind.hasobject:
        raise ValueError("an array of no shape")
    whole = raw(next(bits))
    if len(whole) != size:
        raise ValueError("an array of another size")
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
            made = present.made.setdefault(label, new)
        pairs = [(_read(key, bits, present), _read(item, bits, present)) for key, item in items]
        made.clear()
        made.update(pairs)
        return made
    if kind in ("scalar", "tensor"):
        array = _of_array(rest, bits)
        return array[()] if kind == "scalar" else tf.constant(array)
    label = rest[0]
    if kind == "array":
        return _into_array(label, _of_array(rest[1:], bits), present)
    fill: dict[str, tuple[Any, Callable[[Any], object]]] = {
        "variable": (VARIABLES, lambda thing: thing.assign(_of_array(rest[1:], bits))),
        "metric": (keras.Metric, lambda _: [_read(each, bits, present) for each in rest[1]]),
        "random": (random.Random, lambda thing: thing.setstate(_read(rest[1], bits, Present(present.things, {})))),
        "generator": (
            np.random.Generator,
            lambda thing: _set_generator(thing, _read(rest[1], bits, Present(present.things, {}))),
        ),
        "numpy": (
            np.random.RandomState,
            lambda thing: thing.set_state(_read(rest[1], bits, Present(present.things, {}))),
        ),
        "variables": (COMPUTING, lambda thing: _assign(thing, rest[1], bits, present)),
        "object": (object, lambda thing: _fill(thing, rest[1], rest[2], bits, present)),
    }
    of, assign = fill[kind]
    thing = present.of(label, *(of if isinstance(of, tuple) else (of,)))
    if thing is None:
        thing = present.made[label] = _drawing(kind, rest[1])
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
    there[...] = array
    return there


def _drawing(kind: str, state: Json) -> object:
    """Returns a new generator of random numbers."""
    if kind == "random":
        return random.Random()
    if kind == "numpy":
        return np.random.RandomState()
    name = next(item for key, item in state[2] if key == "bit_generator")
    if kind != "generator" or name not in BITS:
        raise NotKept(f"{kind} that is not there when the run begins")
    return np.random.Generator(getattr(np.random, name)())


def _set_generator(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


def _assign(thing: object, said: Sequence[Sequence[Json]], bits: Iterator[Bits], present: Present) -> None:
    arrays, own = [_of_array(of, bits) if of else None for _, *of in said], variables(thing)
    if len(own) != len(said) or not all(
        present.things.label(each) == label and (array is None or each.shape == array.shape)
        for each, (label, *_), array in zip(own, said, arrays, strict=True)
    ):
        raise NotKept(f"{type(thing).__name__} that is built later, and has to be when a run begins")
    for variable, array in zip(own, arrays, strict=True):
        if array is not None:
            variable.assign(array)


def _fill(thing: Any, kind: str, said: Mapping[str, Json], bits: Iterator[Bits], present: Present) -> None:
    if type(thing).__qualname__ != kind or not is_of_program(thing):
        raise NotKept(kind)
    for name in attributes(thing).keys() - said.keys():
        take_away(thing, name)
    for name, item in said.items():
        fill(thing, name, _read(item, bits, present))
