"""What a step can reach in Python while it is traced: functions, the names in them, and the objects behind these."""

import argparse
import builtins
import collections
import contextlib
import functools
import sys
import types
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping

import keras
import tensorflow as tf

from loop.errors.theirs import of_user, package_of
from loop.tf_internals import bound_functions, traces_of

OF_KERAS = (
    *(keras.Layer, keras.Optimizer, keras.Loss, keras.Metric, keras.regularizers.Regularizer),
    *(keras.constraints.Constraint, keras.optimizers.schedules.LearningRateSchedule),
)
FUNCTIONS = (types.FunctionType, types.MethodType, type, types.ModuleType)
NAMESPACES = (types.SimpleNamespace, argparse.Namespace)
DICTS = (dict, types.MappingProxyType)  # other mappings may read files for each item, as those of h5py
ITEMS = (list, tuple, *DICTS)
LONGEST, MOST = 1_000, 50_000  # items of a list or dict, of which larger ones are data; objects
ENTRIES = {"call", "__call__"}  # what a call of the object itself enters a class by
NOT_ENTERED = {"__init__", "get_config", "from_config"}  # by Keras, in a step; all else may be


class Reach:
    """Follows functions into what they hold and name, and objects of the program into their attributes.

    It goes through Keras' objects too, but not into the code of libraries.

    Attributes:
        objects: Keras' objects, and those of the program: instances, classes and modules.
        containers: Lists, tuples and dicts of the program.
        functions: The functions of the program, and those of libraries that hold something.
        compiled: Those that are a `tf.function` by themselves, and so keep what they once traced.
        parents: In which object each was found, by their ids.
        read: The names of globals and attributes in these functions.

    Args:
        roots: Where to begin.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self.objects: list[object] = []
        self.containers: list[list | tuple | Mapping] = []
        self.functions: list[types.FunctionType] = []
        self.compiled: list[tf.types.experimental.PolymorphicFunction] = []
        self.parents: dict[int, int] = {}
        self.read = set(ENTRIES)
        self._named: list[type | types.ModuleType] = []  # of which only what is named counts
        self._entered: list[type] = []  # by Keras, by whatever name
        self._unread: list[tuple[str, object, int]] = []  # lists and dicts in attributes
        self._kept = set[int]()  # ids of the containers
        self._seen: dict[int, object] = {}  # by ids; kept until the end, so that none is used twice
        self._queue = collections.deque((root, 0) for root in roots)
        while (self._queue or self._enter()) and len(self._seen) < MOST:
            self._visit(*self._queue.popleft())
        self._seen.clear()  # or what the program lets go of would stay

    def held(self) -> Iterator[object]:
        """Yields what objects, containers and functions of the program hold or name, whatever it is."""
        for thing in self.objects:
            if is_of_program(type(thing)):
                yield from [*attributes(thing).values()]  # other threads may add to it
        for items in self.containers:
            yield from [*(items.values() if isinstance(items, DICTS) else items)]
        for function in self.functions:
            yield from (cell.cell_contents for cell in cells_of(function).values())
            # Of a library's function what it was given counts, and not the library's globals.
            if is_of_program(function):
                yield from globals_of(function).values()

    def _enter(self) -> bool:
        """Goes on with what is named by now of classes, modules and objects. Returns whether there is more."""
        for named in self._named:
            for name in vars(named).keys() & (
                vars(named).keys() - NOT_ENTERED if named in self._entered else self.read
            ):
                if (function := function_of(vars(named)[name])) is not None:
                    self._add(function, 0)
        for name, held, parent in self._unread:
            if name in self.read:
                self._add(held, parent)
        if not self._queue:  # what only hooks write to, such as a history, is not looked at; what is in it may be
            for _, held, _ in self._unread:
                self._add(held, 0)
            self._unread.clear()
        return bool(self._queue)

    def _add(self, value: object, parent: int) -> None:
        # Numbers and texts lead nowhere.
        if value is not None and id(value) not in self._seen and not isinstance(value, str | int | float | bytes):
            self._seen[id(value)] = value
            self._queue.append((value, parent))

    def _visit(self, value: object, parent: int) -> None:
        self._seen[id(value)] = value
        self.parents[id(value)] = parent
        for found in self._within(value):
            self._add(found, id(value))

    def _within(self, value: object) -> Iterator[object]:
        if isinstance(value, types.FunctionType):
            yield from self._in_function(value)
        elif isinstance(value, types.MethodType):
            yield from (value.__self__, value.__func__)
        elif isinstance(value, functools.partial):
            yield from (value.func, value.args, value.keywords)
        elif isinstance(value, weakref.ref):  # by which a method that is a `tf.function` has its object
            yield value()
        elif isinstance(value, tf.types.experimental.PolymorphicFunction):
            self.compiled.append(value)
            yield from (value.python_function, *bound_functions(value))
        elif isinstance(value, ITEMS):
            if len(value) <= LONGEST:  # longer ones are data, which steps do not read item by item
                if self._is_of_program(self._seen.get(self.parents[id(value)])):
                    self.containers.append(value)
                    self._kept.add(id(value))
                yield from [*(value.values() if isinstance(value, DICTS) else value)]  # other threads may add to it
        elif isinstance(value, (type, *NAMESPACES)) or is_of_program(type(value)):
            of_class = value if isinstance(value, type) else type(value)
            if is_of_program(of_class) or isinstance(value, NAMESPACES):
                self.objects.append(value)
                of_program = [each for each in of_class.__mro__ if is_of_program(each)]
                self._named += [each for each in of_program if each not in self._named]
                if issubclass(of_class, OF_KERAS):
                    self._entered += [each for each in of_program if each not in self._entered]
                for name, held in [*attributes(value).items()]:
                    if isinstance(held, ITEMS):
                        self._unread.append((name, held, id(value)))
                    else:
                        yield held
        elif isinstance(value, OF_KERAS):
            self.objects.append(value)
            yield from [*attributes(value).values()]
        elif isinstance(value, types.ModuleType) and is_of_program(value):
            self.objects.append(value)
            self._named.append(value)

    def _is_of_program(self, owner: object) -> bool:
        """Returns whether it is the program that keeps something in what has been met: not Keras, nor this package."""
        if isinstance(owner, ITEMS):
            return id(owner) in self._kept
        known = (functools.partial, *NAMESPACES)
        return isinstance(owner, known) or is_of_program(owner if isinstance(owner, FUNCTIONS) else type(owner))

    def _in_function(self, function: types.FunctionType) -> Iterator[object]:
        self.functions.append(function)
        yield from (cell.cell_contents for cell in cells_of(function).values())
        yield from (function.__defaults__, function.__kwdefaults__)
        if is_of_program(function):
            # Globals and attributes: co_names has both, and does not tell which is which.
            self.read.update(*(code.co_names for code in codes(function.__code__)))
            yield from globals_of(function).values()


def is_within(thing: object, others: Collection[int], parents: Mapping[int, int]) -> bool:
    """Returns whether one of some others, given by their ids, was met on the way to a thing."""
    above = parents.get(id(thing), 0)
    while above and above not in others:  # 0 is that of the roots
        above = parents.get(above, 0)
    return above in others


def attributes(value: object) -> Mapping[str, object]:
    """Returns the attributes that an object has of its own, as they are whenever they are read."""
    of_class: type = type(value)
    own, slots = getattr(value, "__dict__", {}), _slots(of_class)
    return Slots(value, (*own, *slots)) if slots else own


class Slots(Mapping[str, object]):
    """Attributes of an object that has no dict of them, or not of all."""

    def __init__(self, thing: object, names: Collection[str]) -> None:
        self._thing, self._names = thing, names

    def __getitem__(self, name: str) -> object:
        try:
            return getattr(self._thing, name)
        except AttributeError:  # nothing was set
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in self)

    def __contains__(self, name: object) -> bool:
        return name in self._names and hasattr(self._thing, str(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@functools.cache
def _slots(of_class: type) -> tuple[str, ...]:
    of_program = [base for base in of_class.__mro__ if is_of_program(base)]
    kind = types.MemberDescriptorType
    return tuple(name for base in of_program for name, value in vars(base).items() if isinstance(value, kind))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yields the code of a function and of those that are defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def globals_of(function: types.FunctionType) -> dict[str, object]:
    """Returns the globals, as far as they are there, that a function reads, by name."""
    names = {name for code in codes(function.__code__) for name in code.co_names}
    return {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}


def cells_of(function: types.FunctionType) -> dict[str, types.CellType]:
    """Returns the variables of the functions around it, as far as they are there, that a function reads, by name."""
    pairs = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell for name, cell in pairs if cell != types.CellType()}  # what is not there yet is equal to that


def outside(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """Yields both."""
    yield from globals_of(function).items()
    yield from ((name, cell.cell_contents) for name, cell in cells_of(function).items())


def is_of_program(thing: object) -> bool:
    """Returns whether a class, function or module is the program's own, and not one of a library."""
    return _is_of_program(thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__)


@functools.cache
def _is_of_program(module: str | None) -> bool:
    if module is None or module == builtins.__name__ or module in sys.builtin_module_names:
        return False
    # Of a module that is not there by its name, that of its package.
    found = sys.modules.get(module) or sys.modules.get(module.partition(".")[0])
    file = getattr(found, "__file__", None)
    if module == "__main__" or file is None:  # a script, a notebook, what was made by exec
        return True
    return of_user([file])[0] and not package_of(file)


def function_of(attribute: object) -> object:
    """Returns the function behind an attribute of a class, if it is one."""
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute


@contextlib.contextmanager
def traced_anew(functions: Iterable[tf.types.experimental.PolymorphicFunction]) -> Iterator[None]:
    """Within it, what is a `tf.function` by itself is traced again instead of used as it was traced before."""
    kept = [(each, name, getattr(each, name)) for function in functions for each, name in traces_of(function)]
    try:
        for each, name, value in kept:
            setattr(each, name, type(value)())  # an empty one, of the same kind
        yield
    finally:
        for each, name, value in kept:
            setattr(each, name, value)
