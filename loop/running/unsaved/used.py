"""Which names the functions of a program read, set and fill, by their instructions: a count is read and then set."""

import dis
import functools
import itertools
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from loop.exact.reach import is_of_program, outside

# A function, and what it is given in any case, by name.
Given: TypeAlias = tuple[types.FunctionType, Mapping[str, object]]
TAKING = {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "clear"}  # methods of lists etc.
# What follows is not reached from there.
LEAVING = ("RETURN_VALUE", "RETURN_CONST", "RAISE_", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD")
ATTRIBUTES: Final = (("LOAD_ATTR",), ("STORE_ATTR",))  # the instructions by which they are read, and set
OUTSIDE: Final = (("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_FAST"), ("STORE_GLOBAL", "STORE_DEREF", "STORE_FAST"))


class Used(NamedTuple):
    """The names that functions use.

    Attributes:
        counted: Of what is read before it is set, and set.
        read: Of what is read otherwise than to fill it.
        filled: Of what something is put into.
    """

    counted: set[str]
    read: set[str]
    filled: set[str]


class Instruction(NamedTuple):
    """What a function does at one place.

    Attributes:
        offset: The place.
        does: What it does.
        name: The name that it has to do with, or what stands there else.
        target: Where it may jump to; None: it does not.
    """

    offset: int
    does: str
    name: str
    target: int | None


def used_by(functions: Iterable[types.FunctionType], loads: Collection[str], stores: Collection[str]) -> Used:
    """Returns the names that functions use by some instructions."""
    found = Used(set(), set(), set())
    for function in functions:
        # In the order in which it is written; each with its neighbours.
        listed = [*_instructions(function)]
        surely, read, own = _surely_set(listed, stores), set[str](), set[str]()
        for earlier, each, following in zip([None, *listed], listed, listed[1:], strict=False):
            # What is set in one branch, and read in another one, is what an earlier call has set.
            if each.does in loads and each.name not in surely[each.offset]:
                fills = following.name in TAKING or (earlier and earlier.does == "COPY")  # as in `self.w |= ...`
                (found.filled if fills else found.read).add(each.name)
                read.add(each.name)
            elif each.does in stores:
                own.add(each.name)
        found.counted.update(read & own)
    return found


def _instructions(function: types.FunctionType) -> Iterator[Instruction]:
    """Yields what a function does, one by one."""
    for each in dis.get_instructions(function):
        # Since Python 3.13, two that are one after the other are often one: LOAD_FAST_LOAD_FAST.
        does = re.findall("[A-Z]+_FAST", each.opname) if isinstance(each.argval, tuple) else []
        parts = zip(does, each.argval, strict=True) if len(does) == 2 else [(each.opname, each.argval)]
        target = each.argval if each.opcode in (*dis.hasjrel, *dis.hasjabs) else None
        # Between two offsets there is room: an instruction has two bytes.
        yield from (Instruction(each.offset + i, *part, target) for i, part in enumerate(parts))


def _surely_set(listed: Sequence[Instruction], stores: Collection[str]) -> dict[int, frozenset[str]]:
    """Returns, for each instruction by its offset, the names that are set by then, whichever way led to it."""
    surely: dict[int, frozenset[str]] = {}
    after = {each.offset: following.offset for each, following in itertools.pairwise(listed)}
    by_offset = {each.offset: each for each in listed}
    ways = [(listed[0].offset, frozenset[str]())]
    while ways:
        offset, names = ways.pop()
        if offset in surely and surely[offset] <= names:
            continue  # nothing new
        surely[offset] = names = surely.get(offset, names) & names
        each = by_offset[offset]
        names |= {each.name} if each.does in stores else frozenset()
        if each.target is not None:
            ways.append((each.target, names))
        if offset in after and not each.does.startswith(LEAVING):
            ways.append((after[offset], names))
    # What handles an exception is reached from anywhere.
    return {each.offset: surely.get(each.offset, frozenset()) for each in listed}


def methods(of_class: type) -> Iterator[types.FunctionType]:
    """Yields the methods of a class that the program has written: nothing need name those of a hook."""
    written = [vars(each).values() for each in of_class.__mro__ if is_of_program(each)]
    yield from (each for values in written for each in values if isinstance(each, types.FunctionType))


def of_program(functions: Mapping[str, Iterable[object]]) -> dict[str, list[Given]]:
    """Returns those that the program has written, of each hook that has any."""
    found = {name: [*map(_unbound, given)] for name, given in functions.items()}
    own = {name: [(f, bound) for f, bound in given if f and is_of_program(f)] for name, given in found.items()}
    return {name: of_hook for name, of_hook in own.items() if of_hook}


def _unbound(given: object) -> tuple[types.FunctionType | None, Mapping[str, object]]:
    """Returns the function behind a method, or one that has arguments already, and these; None if there is none."""
    if isinstance(given, functools.partial):
        function, bound = _unbound(given.func)
        names = function.__code__.co_varnames[isinstance(given.func, types.MethodType) :] if function else ()
        return function, {**bound, **dict(zip(names, given.args, strict=False)), **given.keywords}
    given = given.__func__ if isinstance(given, types.MethodType) else given
    return (given, {}) if isinstance(given, types.FunctionType) else (None, {})


def values_outside(given: Given) -> Iterator[tuple[str, object]]:
    """Yields what is in globals, outer variables and arguments that have a value already."""
    function, bound = given
    yield from outside(function)
    code, defaults = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
    yield from [*(function.__kwdefaults__ or {}).items(), *bound.items()]
