"""Where a thing of the program keeps values, by name: what it may change, and what a checkpoint has to hold then.

Of an object: its attributes, those of its class, and what its methods name. Of a function: globals, and variables of
the functions that it was made in. Likewise within these, of objects and functions of the program, lists and dicts.
"""

import functools
import random
import types
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from typing import NamedTuple, TypeAlias

import numpy as np

from loop.exact.reach import NAMESPACES, attributes, cells_of, codes, function_of, globals_of, is_of_program

Path: TypeAlias = tuple[str, ...]
GENERATORS = np.random.Generator | np.random.BitGenerator | np.random.RandomState | random.Random
DATA = None | bool | int | float | complex | str | bytes | np.generic | np.ndarray | list | tuple | dict
DEEPEST = 6  # things of the program within one another
MANY = 100  # items of a list or dict; what has more holds data
FUNCTIONS = types.FunctionType | types.MethodType | functools.partial
OWN = types.FunctionType | type  # what says itself where it comes from
METHODS = types.FunctionType | staticmethod | classmethod | property


class Slot(NamedTuple):
    """A place for a value.

    Attributes:
        value: What is in it.
        put: Puts something else into it.
        remove: Leaves nothing there.
        is_entry: Whether it is a place in a list, of which there may be fewer.
    """

    value: object
    put: Callable[[object], object]
    remove: Callable[[], object]
    is_entry: bool = False


def slots(thing: object) -> dict[Path, Slot]:
    """Returns what a thing holds, by path. What is there twice has the path by which it is met first."""
    return dict(_walk(thing, (), {id(thing)}))


def generators_in(thing: object) -> Iterator[tuple[Path, GENERATORS]]:
    """Yields the random generators that a thing holds."""
    return ((path, slot.value) for path, slot in slots(thing).items() if isinstance(slot.value, GENERATORS))


def _walk(thing: object, above: Path, seen: set[int]) -> Iterator[tuple[Path, Slot]]:
    if len(above) >= DEEPEST:
        return
    # All names of a thing before what is in them, so that paths are as short as they can be.
    held = list(_held(thing))
    yield from ((((*above, name)), slot) for name, slot in held)
    for name, slot in held:
        if id(slot.value) not in seen and _is_entered(slot.value):  # or what has itself in it would never end
            seen.add(id(slot.value))
            yield from _walk(slot.value, (*above, name), seen)


def _is_entered(value: object, depth: int = 0) -> bool:
    if isinstance(value, list | tuple | dict):
        if len(value) > MANY or depth > DEEPEST:
            return False
        items = value.values() if isinstance(value, dict) else value
        # Plain data are one value; what may have objects in it has slots for each item.
        return any(not isinstance(item, DATA) or _is_entered(item, depth + 1) for item in items)
    if isinstance(value, (types.MethodType, functools.partial, *NAMESPACES)):
        return True
    if isinstance(value, types.FunctionType) and value.__closure__:  # of a library, for what it was given
        return True
    return not isinstance(value, types.ModuleType) and is_of_program(value if isinstance(value, OWN) else type(value))


def _held(thing: object) -> Iterator[tuple[str, Slot]]:
    if isinstance(thing, list):
        yield from ((f"[{i}]", _entry(thing, i)) for i in range(len(thing)))
    elif isinstance(thing, tuple):
        yield from ((f"[{i}]", Slot(value, _fixed, _fixed)) for i, value in enumerate(thing))
    elif isinstance(thing, dict):
        yield from ((f"[{name!r}]", _item(thing, name)) for name in list(thing))
    elif isinstance(thing, types.MethodType):
        yield "__self__", Slot(thing.__self__, _fixed, _fixed)
        yield from _named_by(thing.__func__)
    elif isinstance(thing, functools.partial):
        parts = {"function": thing.func, "arguments": thing.args, "keywords": thing.keywords}
        yield from ((name, Slot(value, _fixed, _fixed)) for name, value in parts.items())
    elif isinstance(thing, types.FunctionType):
        yield from _named_by(thing)
    else:
        if not isinstance(thing, type):
            yield from ((name, attribute(thing, name, value)) for name, value in list(attributes(thing).items()))
        named = dict[str, Slot]()
        own = thing if isinstance(thing, type) else type(thing)
        for of_class in (each for each in own.__mro__ if is_of_program(each)):
            for name, value in list(vars(of_class).items()):
                if isinstance(value, METHODS):
                    named |= dict(_named_by(function_of(value)))
                elif not name.startswith("__"):  # what Python itself keeps in a class
                    named |= {f"class {name}": attribute(of_class, name, value)}
        yield from named.items()


def _named_by(function: object) -> Iterator[tuple[str, Slot]]:
    """Yields what a function of the program names elsewhere."""
    if not isinstance(function, types.FunctionType):
        return
    if is_of_program(function):
        given = {"defaults": function.__defaults__, "keyword defaults": function.__kwdefaults__}
        yield from ((name, Slot(value, _fixed, _fixed)) for name, value in given.items() if value)
        yield from ((f"attribute {name}", _item(vars(function), name)) for name in list(vars(function)))
    read = {name for code in codes(function.__code__) for name in code.co_names}
    for name, found in globals_of(function).items() if is_of_program(function) else ():
        yield f"global {name}", _item(function.__globals__, name)
        if isinstance(found, types.ModuleType) and is_of_program(found):
            known = vars(found)
            # Of a module, what the function's own code names: all of it would be the whole program.
            yield from ((f"global {name}.{each}", _item(known, each)) for each in sorted(read & known.keys()))
    for name, cell in cells_of(function).items():
        if name != "__class__":  # which serves `super()`
            yield f"outer {name}", attribute(cell, "cell_contents", cell.cell_contents)


def attribute(thing: object, name: str, value: object) -> Slot:
    """Returns the place of an attribute."""
    return Slot(value, functools.partial(setattr, thing, name), functools.partial(delattr, thing, name))


def _item(thing: MutableMapping, key: Hashable) -> Slot:
    put, remove = functools.partial(thing.__setitem__, key), functools.partial(thing.__delitem__, key)
    return Slot(thing[key], put, remove)


def _entry(thing: list, i: int) -> Slot:
    return Slot(thing[i], functools.partial(thing.__setitem__, i), _fixed, is_entry=True)


def _fixed(*value: object) -> None:
    """Does nothing: an item of a tuple is what it is. What has the tuple changes, if there is another one."""
