"""What hooks of the program count and gather in attributes, which no checkpoint holds."""

import collections
import dis
import io
import types
from collections.abc import Iterable

import numpy as np

from loop.exact.reach import is_of_program
from loop.hook import Hook, has_state
from loop.state.plain import Encoded

PLAIN = (bool, int, float, str, type(None))
GATHERING = (list, dict, set, collections.deque, np.ndarray)
TAKING = {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "clear"}  # methods of these
COUNTED = (
    "Hook %r counts in Python what no checkpoint holds: %s. A run that goes on from a checkpoint begins with what "
    "__init__ sets. Return it from get_state(self), and take it back in set_state(self, state); or make it a "
    "tf.Variable."
)
WRITES = (
    "Hook %r writes to %s, which no resume cuts back: what it has written of steps that are done again will be there "
    "twice. For values, there is hooks.MetricsLog. Or flush each row, let get_state(self) return "
    "os.path.getsize(path), and set_state(self, state) call os.truncate(path, state)."
)


class Counters:
    """What hooks of the program have in attributes that their methods read and then set, as in `self.wait += 1`.

    And lists, dicts, sets and arrays that they fill, and read as well: as in `self.losses.append(...)` and, at the end
    of an epoch, `np.mean(self.losses)`. What is set and not read before, such as the time at which an epoch begins, is
    of no use to who goes on; and a list in which something is only collected is not what a run goes by. Hooks with
    `get_state` look after themselves.

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


def written(hooks: Iterable[Hook]) -> dict[str, str]:
    """Returns the names of the files that hooks of the program hold open to write to, and do not look after."""
    own = [hook for hook in hooks if is_of_program(type(hook)) and not has_state(hook)]
    found = {hook.name: [each for each in vars(hook).values() if isinstance(each, io.IOBase)] for hook in own}
    open_now = {name: [each for each in files if not each.closed and each.writable()] for name, files in found.items()}
    return {name: ", ".join(map(_called, files)) for name, files in open_now.items() if files}


def _called(file: io.IOBase) -> str:
    return repr(getattr(file, "name", "a file"))


def _counted(hook: Hook) -> dict[str, str]:
    own, (names, _) = vars(hook), _used(type(hook))
    return {name: repr(own[name]) for name in names if isinstance(own.get(name, ()), (*PLAIN, np.generic))}


def _gathered(hook: Hook) -> dict[str, str]:
    own, (_, names) = vars(hook), _used(type(hook))
    # By the class itself: what holds variables is of a class of TensorFlow's, and in the state, or told of elsewhere.
    return {name: _content(own[name]) for name in names if type(own.get(name)) in GATHERING}


def _content(value: list | dict | set | collections.deque | np.ndarray) -> str:
    """Returns what tells a list, or the like, from what it is when something else is in it."""
    try:
        return Encoded(value, "").digest()
    except TypeError:  # of objects, nobody knows what is in them
        return str(len(value))


def _used(of_class: type) -> tuple[set[str], set[str]]:
    """Returns the names of attributes that a method reads and then sets, and of those that it does not only fill."""
    written = [vars(each).values() for each in of_class.__mro__ if is_of_program(each)]
    counted, read = set[str](), set[str]()
    for method in (each for values in written for each in values if isinstance(each, types.FunctionType)):
        before, own = set[str](), set[str]()  # what the method has read, and set, up to here
        # In the order in which it is written; each with its neighbours.
        found = [*dis.get_instructions(method)]
        for earlier, instruction, following in zip([None, *found], found, found[1:], strict=False):
            name = instruction.argval
            if instruction.opname == "LOAD_ATTR":
                before.add(name)
                fills = following.argval in TAKING or (earlier and earlier.opname == "COPY")  # as in `self.w |= ...`
                if not fills and name not in own:
                    read.add(name)
            elif instruction.opname == "STORE_ATTR":
                own.add(name)
                if name in before:
                    counted.add(name)
    return counted, read
