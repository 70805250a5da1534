"""What hooks of the program count and gather in Python, which no checkpoint holds."""

import collections
import dis
import io
import itertools
import random
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sized

import numpy as np

from loop.exact.reach import is_of_program, outside
from loop.hook import Hook, has_state
from loop.state.plain import Encoded

PLAIN = (bool, int, float, str, type(None))
GATHERING = (list, dict, set, collections.deque, np.ndarray)
DRAWING = (random.Random, np.random.Generator, np.random.RandomState)
TAKING = {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "clear"}  # methods of these
COUNTED = (
    "Hook %r counts in Python what no checkpoint holds: %s. A run that goes on from a checkpoint begins with what "
    "__init__ sets. Return it from get_state(self), and take it back in set_state(self, state); or make it a "
    "tf.Variable."
)
COUNTED_OUTSIDE = (
    "Hook %r counts in Python what no checkpoint holds: %s. A run that goes on from a checkpoint begins with what the "
    "program sets. Set it on a callback, or on a hook of your own that returns it from get_state(self), and takes it "
    "back in set_state(self, state); or make it a tf.Variable, in state=..."
)
LARGEST, LONGEST = 2**20, 10_000  # bytes of an array, items of a list
LOOKS = itertools.count()


class Counters:
    """What hooks of the program have in attributes that their methods read and then set, as in `self.wait += 1`.

    And lists, dicts, sets and arrays that they fill, and read as well: as in `self.losses.append(...)` and, at the end
    of an epoch, `np.mean(self.losses)`; and random generators and iterators, which go on by being used. What is set
    and not read before, such as the time at which an epoch begins, is of no use to who goes on; and a list in which
    something is only collected is not what a run goes by. Hooks with `get_state` look after themselves.

    Args:
        hooks: The hooks.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        own = [hook for hook in hooks if is_of_program(type(hook)) and not has_state(hook)]
        self._then = {hook: (_counted(hook), _gathered(hook)) for hook in own}

    def changed(self) -> dict[str, list[str]]:
        """Returns the attributes of hooks of which one is not as it was, by the name of the hook; each hook once."""
        found: dict[str, list[str]] = {}
        for hook, (counted, gathered) in [*self._then.items()]:
            counts = {name: said for name, said in _counted(hook).items() if name in counted} != counted
            others = [name for name, content in _gathered(hook).items() if content != gathered.get(name)]
            if counts or others:
                # Of what is counted all of them: the others may change in a later epoch.
                found[hook.name] = sorted({*counted, *others})
                del self._then[hook]
        return found


class CountedOutside:
    """The same in globals and outer variables that functions of hooks read and set, or fill and read.

    Args:
        functions: Those of each hook, by its name.
    """

    def __init__(self, functions: Mapping[str, Iterable[object]]) -> None:
        found = {name: [*map(_plain_function, given)] for name, given in functions.items()}
        own = {name: [each for each in given if each and is_of_program(each)] for name, given in found.items()}
        self._functions = {name: of_hook for name, of_hook in own.items() if of_hook}
        self._then = {name: _outside(of_hook) for name, of_hook in self._functions.items()}

    def changed(self) -> dict[str, list[str]]:
        """Returns the names of which one is not what it was, by the name of the hook; each hook once."""
        found: dict[str, list[str]] = {}
        for hook, then in [*self._then.items()]:
            counted, gathered = _outside(self._functions[hook])
            changed = {name for name, said in gathered.items() if then[1].get(name, said) != said}
            if changed or counted != then[0]:
                found[hook] = sorted({*counted, *changed})  # of what is counted all of them, as above
                del self._then[hook]
        return found


def _plain_function(given: object) -> types.FunctionType | None:
    given = given.__func__ if isinstance(given, types.MethodType) else given
    return given if isinstance(given, types.FunctionType) else None


def _outside(functions: Iterable[types.FunctionType]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what is in globals and outer variables that functions count, and in those that they fill, by name."""
    counts, gathers = dict[str, str](), dict[str, str]()
    for function in functions:
        counted, read = set[str](), set[str]()
        _note_used(function, ("LOAD_GLOBAL", "LOAD_DEREF"), ("STORE_GLOBAL", "STORE_DEREF"), counted, read)
        values = dict(outside(function))
        counts |= {n: repr(values[n]) for n in counted & values.keys() if isinstance(values[n], (*PLAIN, np.generic))}
        gathers |= {name: _content(values[name]) for name in read & values.keys() if _is_gathering(values[name])}
    return counts, gathers


def _counted(hook: Hook) -> dict[str, str]:
    own, (names, _) = vars(hook), _used(type(hook))
    return {name: repr(own[name]) for name in names if isinstance(own.get(name, ()), (*PLAIN, np.generic))}


def _gathered(hook: Hook) -> dict[str, str]:
    own, (_, names) = vars(hook), _used(type(hook))
    return {name: _content(own[name]) for name in names if _is_gathering(own.get(name))}


def _is_gathering(value: object) -> bool:
    # By the class itself: what holds variables is of a class of TensorFlow's, and in the state, or told of elsewhere.
    if type(value) in GATHERING:
        return not isinstance(value, np.ndarray) or value.nbytes <= LARGEST  # or it is data, and takes long to look at
    is_iterator = isinstance(value, Iterator) and not isinstance(value, io.IOBase) and not is_of_program(type(value))
    return isinstance(value, DRAWING) or is_iterator


def _content(value: object) -> str:
    """Returns what tells a list, or the like, from what it is when something else is in it."""
    if isinstance(value, random.Random):
        return repr(value.getstate())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return Encoded(value.get_state(legacy=False), "").digest()
    if isinstance(value, Iterator):
        return str(next(LOOKS))  # nobody sees whether it has moved: somebody has it to move it
    if not isinstance(value, np.ndarray) and isinstance(value, Sized) and len(value) > LONGEST:
        return str(len(value))  # it takes long to look at
    try:
        return Encoded(value, "").digest()
    except TypeError:  # of objects, nobody knows what is in them
        return str(len(value)) if isinstance(value, Sized) else ""


def _used(of_class: type) -> tuple[set[str], set[str]]:
    """Returns the names of attributes that a method reads and then sets, and of those that it does not only fill."""
    written = [vars(each).values() for each in of_class.__mro__ if is_of_program(each)]
    counted, read = set[str](), set[str]()
    for method in (each for values in written for each in values if isinstance(each, types.FunctionType)):
        _note_used(method, ("LOAD_ATTR",), ("STORE_ATTR",), counted, read)
    return counted, read


def _note_used(
    function: types.FunctionType, loads: Collection[str], stores: Collection[str], counted: set[str], read: set[str]
) -> None:
    """Adds the names that a function reads and then sets by some instructions, and those that it does not only fill."""
    before, own = set[str](), set[str]()  # what the function has read, and set, up to here
    # In the order in which it is written; each with its neighbours.
    found = [*dis.get_instructions(function)]
    for earlier, instruction, following in zip([None, *found], found, found[1:], strict=False):
        name = instruction.argval
        if instruction.opname in loads:
            before.add(name)
            fills = following.argval in TAKING or (earlier and earlier.opname == "COPY")  # as in `self.w |= ...`
            if not fills and name not in own:
                read.add(name)
        elif instruction.opname in stores:
            own.add(name)
            if name in before:
                counted.add(name)
