"""Plain values in Python, read again and again."""

import collections
import functools
import inspect
import operator
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from loop.exact.compared import (
    BY_VALUE,
    GONE,
    POLICIES,
    SIMPLE,
    THINGS,
    ContentHash,
    Counted,
    Pair,
    Structure,
    Which,
    is_array,
    same,
)
from loop.exact.holders import called, holders
from loop.exact.reach import OF_KERAS, Reach, attributes, cells_of, globals_of, is_of_program, is_within
from loop.tf_internals import SET_LATER, TELLS_NOTHING_APART, is_trainable

SMALL, LARGE = range(2**12), range(2**12, 2**24)  # bytes of arrays that are looked at each time, or at length
ITEMS = 100  # of a list or dict; larger ones are data
FLAG, TRAINED = ": trainable", "trainable variables"  # in names: of one variable, and of all of a layer
Read: TypeAlias = Callable[[Any], tuple[object, ...]]
Get: TypeAlias = Callable[[Any, str], object]


class Watched(NamedTuple):
    """Some values that belong together, as they were.

    Attributes:
        owner: What to call what has them; empty if the names say it.
        thing: What has them.
        of: What they are read from.
        names: What to call each.
        read: Returns them.
        get: Returns the one of a name.
        then: What they were.
        kept: What must not vanish, or another thing may get its id.
    """

    owner: str
    thing: object
    of: Any
    names: tuple[str, ...]
    read: Read
    get: Get
    then: tuple[object, ...]
    kept: tuple[object, ...] = ()

    def changes(self) -> dict[str, Pair]:
        """Returns then and now of what is another value, by name."""
        pairs = {name: (then, self._now(name)) for name, then in zip(self.names, self.then, strict=True)}
        return {name.removeprefix("_"): pair for name, pair in pairs.items() if not same(*pair)}

    def _now(self, name: str) -> object:
        try:
            return self.get(self.of, name)
        except Exception:  # whatever a property of the program raises: then it has no value
            return GONE


def watched(
    owner: str,
    thing: object,
    names: Sequence[str],
    get: Get,
    of: object = None,
    *,
    read: Read | None = None,
    kept: tuple[object, ...] = (),
) -> Iterator[Watched]:
    """Yields the names of which there are values to be compared; nothing, if there are none."""
    of, read = thing if of is None else of, read or _reader(names, get)
    if names:
        yield Watched(owner, thing, of, tuple(names), read, get, tuple(read(of)), kept)


def of_values(owner: str, thing: object, names: Iterable[str], get: Get, of: object) -> Iterator[Watched]:
    """Yields what the program has by names: plain values and arrays, and of all else but code which one it is."""
    values = {name: get(of, name) for name in sorted(names)}
    plain = [name for name, value in values.items() if _is_plain(value)]
    others = [name for name, value in values.items() if name not in plain and not _is_code(value)]
    yield from watched(owner, thing, plain, get, of)
    kept = tuple(values[name] for name in others)  # or another thing might get the id of one that is gone
    yield from watched(owner, thing, others, lambda of, name: Which(id(get(of, name))), of, kept=kept)
    yield from (found for name in plain for found in _of_array(owner, name, values[name], SMALL))


def counted(each: Watched) -> dict[str, Pair]:
    """Returns then and now of numbers that have changed, and of the length of a list that got a trace's tensor."""
    changes = each.changes()
    found = {name: pair for name, pair in changes.items() if all(map(_is_number, pair)) and pair[0] != pair[1]}
    length, held = changes.get("length"), each.of
    # A tensor of a trace says that it was the trace that added it.
    if length and isinstance(held, list) and held and tf.is_symbolic_tensor(held[-1]):
        found["length"] = length
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | Structure)


def of_attributes(reach: Reach) -> Iterator[Watched]:
    """Yields what is known of Keras' objects by their constructors, and what the program reads of its own."""
    variables: dict[int, keras.Variable] = {}
    for each in reach.objects:
        owner, own, of_class = called(each), attributes(each), each if isinstance(each, type) else type(each)
        of_keras, known = isinstance(each, OF_KERAS), list[str]()
        if of_keras:
            made_with = arguments(of_class) & set(own)
            kept = {name for name in made_with if _is_plain(own[name]) or isinstance(own[name], BY_VALUE)}
            known = sorted(kept | {name for name, value in own.items() if is_array(value)})
            yield from watched(owner, each, known, operator.getitem, own)
            yield from (found for name in known for found in _of_array(owner, name, own[name], SMALL))
        if not of_keras or is_of_program(of_class):
            yield from of_values(owner, each, (reach.read & set(own)) - {*known}, operator.getitem, own)
            # What an object has of its class may be set there.
            bases = [vars(base) for base in of_class.__mro__ if is_of_program(base)]
            named = reach.read - set(own)
            inherited = {name for name in named for base in bases if isinstance(base.get(name, GONE), SIMPLE)}
            yield from watched(owner, each, sorted(inherited), getattr)
        if isinstance(each, keras.Layer):
            variables |= {id(variable): variable for variable in each.variables}
    flags = {f"{variable.path}{FLAG}": variable for variable in variables.values()}
    yield from watched("variable", flags, [*flags], lambda of, name: of[name].trainable, read=_flags)


def of_names(reach: Reach) -> Iterator[Watched]:
    """Yields the globals that functions of the program read, and what they share with the functions around them."""
    for function in filter(is_of_program, reach.functions):
        shared, around = function.__globals__, cells_of(function)
        yield from of_values("global", shared, globals_of(function), operator.getitem, shared)
        yield from of_values(f"in {function.__qualname__}", around, around, _content, around)


def of_containers(reach: Reach) -> Iterator[Watched]:
    """Yields what is in small lists and dicts."""
    where = holders(reach)
    for each in filter(_is_small, reach.containers):
        owner, items = where(each), _named(each)
        if not isinstance(each, tuple):  # which holds what it was made with
            keys, size = {name: key for name, key, _ in items}, _size(each)[0]
            get = functools.partial(
                lambda keys, size, of, name: _size(of)[1] if name == size else _comparable(of[keys[name]]), keys, size
            )
            read = _contained if all(_is_plain(value) for _, _, value in items) else _mixed
            kept, then = tuple(value for _, _, value in items), read(each)
            if len(then) != 1 + len(keys):
                raise RuntimeError(f"{owner} has changed size while it was looked at.")
            yield Watched(owner, each, each, (size, *keys), read, get, then, kept)
        yield from (found for name, _, value in items for found in _of_array(owner, name, value, SMALL))


def of_structure(reach: Reach) -> Iterator[Watched]:
    """Yields what takes longer to read: the layers and trainable variables of models, and large arrays."""
    layers = {id(each) for each in reach.objects if isinstance(each, keras.Layer)}
    for each in reach.objects:
        owner, of_keras = called(each), isinstance(each, OF_KERAS)
        if isinstance(each, keras.Model):
            yield from watched(owner, each, ["layers"], lambda of, name: Counted(map(id, of.layers)))
        if isinstance(each, keras.Layer) and not is_within(each, layers, reach.parents):
            yield from watched(owner, each, [TRAINED], lambda of, name: Counted(map(id, of.trainable_variables)))
        for name, value in attributes(each).items():
            if of_keras or name in reach.read:
                yield from _of_array(owner, name, value, LARGE)
    where = holders(reach)
    for held in filter(_is_small, reach.containers):
        for name, _, value in _named(held):
            yield from _of_array(where(held), name, value, LARGE)


@functools.cache
def arguments(of_class: type) -> frozenset[str]:
    """Returns the names of attributes in which a class of Keras, or one made of it, keeps what it was made with."""
    names = {*SET_LATER}
    for base in of_class.__mro__ if issubclass(of_class, OF_KERAS) else ():
        if isinstance(made := vars(base).get("__init__"), types.FunctionType):
            names |= {n for name in inspect.signature(made).parameters for n in (name, f"_{name}")}
    return frozenset(names - {"self", "args", "kwargs", "name", *TELLS_NOTHING_APART})


def _flags(variables: Mapping[str, keras.Variable]) -> tuple[object, ...]:
    return tuple(map(is_trainable, variables.values()))


def _is_small(container: Mapping | Sequence) -> bool:
    return len(container) <= ITEMS


def _named(container: Mapping | Sequence) -> list[tuple[str, object, object]]:
    """Returns what to call each item, of which no two may be called the same, its key and its value."""
    items = [*(container.items() if isinstance(container, Mapping) else enumerate(container))]
    called, found = collections.Counter[str](), list[tuple[str, object, object]]()
    for key, value in items:
        name = f"item {key!r}"
        called[name] += 1  # keys of the program's own may all look the same
        found.append((name if called[name] == 1 else f"{name} ({called[name]})", key, value))
    return found


def _size(of: Mapping | Sequence) -> tuple[str, object]:
    """Returns what has changed if there are other items, by its name."""
    return ("keys", tuple(of)) if isinstance(of, Mapping) else ("length", Structure(len(of)))


def _contained(of: Mapping | Sequence) -> tuple[object, ...]:
    return (tuple(of), *of.values()) if isinstance(of, Mapping) else (Structure(len(of)), *of)


def _mixed(of: Mapping | Sequence) -> tuple[object, ...]:
    size, *values = _contained(of)
    return (size, *map(_comparable, values))


def _comparable(value: object) -> object:
    return value if _is_plain(value) else Which(id(value))


def _content(cells: Mapping[str, types.CellType], name: str) -> object:
    return cells[name].cell_contents


def _reader(names: Sequence[str], get: Get) -> Read:
    """Returns what reads them at once, in C where that can be."""
    if len(names) > 1 and get in (operator.getitem, getattr):
        return operator.itemgetter(*names) if get is operator.getitem else operator.attrgetter(*names)
    return lambda of: tuple([get(of, name) for name in names])


def _of_array(owner: str, name: str, value: object, sizes: range) -> Iterator[Watched]:
    """Yields the contents of an array, which can be written to in place, if it has so many bytes."""
    if isinstance(value, np.ndarray) and value.nbytes in sizes:
        # All of its bytes; SMALL bounds what that takes at each halt.
        yield from watched(owner, value, [name], lambda of, name: ContentHash(hash(of.tobytes())))


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        # A tuple of more than plain values is looked into elsewhere.
        return len(value) <= ITEMS and all(isinstance(item, SIMPLE) for item in value)
    if isinstance(value, BY_VALUE):  # which one it is counts, and is compared by that
        return False
    return isinstance(value, (*SIMPLE, *THINGS, *POLICIES)) or is_array(value)


def _is_code(value: object) -> bool:
    """Returns whether this is what nobody exchanges, and what is met everywhere."""
    return isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, property, staticmethod, classmethod))
