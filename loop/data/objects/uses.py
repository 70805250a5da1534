"""What functions of the program may change, as far as their code says: of what they never name, or only read, nothing.

What is found changed at the end of a pass may be the work of a hook that shares an object with a generator.
"""

import dis
import functools
import types
from collections.abc import Collection, Iterator

from loop.data.objects.kept_values import CONTAINERS, inside
from loop.exact.reach import ENTRIES, Reach, codes, globals_of, is_of_program, outside

ANYTHING = {"setattr", "delattr", "getattr", "vars", "globals", "locals", "exec", "eval", "attrgetter", "methodcaller"}
ANYTHING |= {"__dict__", "__setattr__", "__delattr__", "__getattribute__", "__setstate__", "__closure__"}
OF_READERS = {"get", "keys", "values", "items", "copy", "index", "count", "union", "difference", "intersection"}
READERS = {"len", "print", "str", "repr", "float", "int", "bool", "sum", "min", "max", "sorted", "list", "tuple", "any"}
READERS |= {"all", "dict", "set", "frozenset", "enumerate", "reversed", "isinstance", "type"}
READ_BY = {
    "GET_ITER",
    "GET_YIELD_FROM_ITER",
    "CONTAINS_OP",
    "FORMAT_VALUE",  # since Python 3.13 it is the next three
    "CONVERT_VALUE",
    "FORMAT_SIMPLE",
    "FORMAT_WITH_SPEC",
    "TO_BOOL",  # since 3.13, before a jump
    "COMPARE_OP",
    "IS_OP",
    "POP_TOP",
    "LIST_EXTEND",
}
CALLS = ("PRECALL", "CALL")  # the first is that of Python 3.11, which has both, one after the other
LOADS = {"LOAD_CONST", "LOAD_FAST", "LOAD_DEREF", "LOAD_GLOBAL"}
NAMED = {"LOAD_ATTR", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_NAME", "LOAD_METHOD"}
KEEP_BOOKS = {"tensorflow", "keras", "loop", "hooks", "typing", "abc"}  # of attributes, whenever one is set
LAZY = types.GeneratorType | map | filter  # what runs code that nothing names any more


class Uses:
    """The names in the code of functions, and of all of the program that these call.

    Args:
        roots: The functions, and objects that are called.
    """

    def __init__(self, roots: Collection[object]) -> None:
        self._named, self._stored, self._used = set[str](), set[str](), set[str]()
        known = list[types.FunctionType]()
        reach = Reach(roots)
        # What is found to be called names more, until nothing new is found.
        while more := [each for each in _left_out(reach) if each not in known]:
            known += more
            reach = Reach([*roots, *known])
        for function in {*reach.functions, *known}:
            for code in codes(function.__code__):
                self._take(code)
        # Of what is held and runs code that has no name here, nobody can say what it leaves alone.
        held = [value for thing in reach.objects for value in getattr(thing, "__dict__", {}).values()]
        for each in reach.functions:
            held += [value for _, value in outside(each)]
        self._all = bool(ANYTHING & self._named) or any(isinstance(value, LAZY) for value in held)

    def may_change(self, names: Collection[str], value: object, *, rebound: bool) -> bool:
        """Returns whether they may have changed what has names; True if that has none.

        Args:
            names: By which it is held.
            value: What it is now.
            rebound: Whether a name has another value, and has not got one, lost it, or one that was changed in place.
        """
        if self._all or not names:
            return True
        if rebound:
            return not self._stored.isdisjoint(names)
        # Who only reads a plain container cannot change it. Of an object, any attribute may be a method that does.
        simple = type(value) in (list, dict, set, bytearray) and not _holds_more(value)
        return not (self._used if simple else self._named).isdisjoint(names)

    def _take(self, code: types.CodeType) -> None:
        """Takes down what a function does with names."""
        # A text may be the name of an attribute that is set in a way that is not seen.
        texts = [each for each in code.co_consts if isinstance(each, str)]
        self._named |= {*code.co_names, *code.co_freevars, *code.co_cellvars, *texts}
        self._used |= {*texts}
        # What these say stands between what is loaded and what is done with it.
        steps = [each for each in dis.get_instructions(code) if each.opname not in ("COPY_FREE_VARS", "EXTENDED_ARG")]
        for i, step in enumerate(steps):
            does, _, to = step.opname.partition("_")
            if does in ("STORE", "DELETE") and to in ("ATTR", "GLOBAL", "DEREF"):
                self._stored.add(step.argval)
                self._used.add(step.argval)
            elif step.opname in NAMED and not _only_reads(steps, i):
                self._used.add(step.argval)
            elif step.opname == "IMPORT_NAME" and is_of_program(types.ModuleType(step.argval)):
                self._named |= ANYTHING  # what it has to call is found when it does


def _only_reads(steps: list[dis.Instruction], at: int) -> bool:
    """Returns whether what is loaded at a place of code is only looked into there."""
    follows = [*steps[at + 1 : at + 3], steps[-1], steps[-1]]  # filled up at the end of the code
    if follows[0].opname in READ_BY or follows[0].opname.startswith("POP_JUMP"):
        return True
    if follows[0].opname in LOADS and follows[1].opname in ("BINARY_SUBSCR", "COMPARE_OP", "IS_OP"):
        return True
    if follows[0].opname in ("LOAD_METHOD", "LOAD_ATTR"):
        return follows[0].argval in OF_READERS
    # Back over `a.b.c` to what was loaded before it: this may be all that `len(a.b.c)` is given.
    before = at - 1
    while before > 0 and steps[at].opname in ("LOAD_ATTR", "LOAD_METHOD") and steps[before].opname == "LOAD_ATTR":
        before -= 1
    before -= steps[at].opname in ("LOAD_ATTR", "LOAD_METHOD")
    caller = steps[before] if before >= 0 else steps[0]
    is_reader = caller.opname == "LOAD_GLOBAL" and caller.argval in READERS
    return is_reader and follows[0].opname in CALLS and follows[0].argval == 1


def _holds_more(value: object) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, CONTAINERS) else ()
    plain = None | bool | int | float | complex | str | bytes
    return sum(1 for _ in inside(value)) > 1 or not all(isinstance(item, plain) for item in items)


def _left_out(reach: Reach) -> Iterator[types.FunctionType]:
    """Yields what is called without being named, or is named in another way than as a function."""
    for thing in reach.objects:
        own = thing if isinstance(thing, type) else type(thing)
        if isinstance(thing, types.ModuleType):
            continue
        for each in own.__mro__:
            keeps_books = each.__module__.partition(".")[0] in KEEP_BOOKS
            for name, value in list(vars(each).items()):
                # Python calls `__len__` and its like without a name; `__init__`, where a class is called.
                is_called = (
                    name.startswith("__") and not keeps_books and (name != "__init__" or isinstance(thing, type))
                )
                if is_called or (name in reach.read and name not in ENTRIES):
                    yield from _functions_of(value)
    for function in reach.functions:
        if is_of_program(function):
            for value in globals_of(function).values():
                yield from _functions_of(getattr(value, "__wrapped__", None))


def _functions_of(value: object) -> Iterator[types.FunctionType]:
    held: list[object]
    if isinstance(value, property):
        held = [value.fget, value.fset, value.fdel]
    elif isinstance(value, functools.cached_property):
        held = [value.func]
    else:
        held = [value, getattr(value, "__func__", None), getattr(value, "__wrapped__", None)]
    yield from (each for each in held if isinstance(each, types.FunctionType))
