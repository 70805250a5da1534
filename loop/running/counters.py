"""The numbers that hooks of the program count in attributes, which no checkpoint holds."""

import dis
import types
from collections.abc import Iterable

from loop.exact.reach import is_of_program
from loop.hook import Hook, has_state

PLAIN = (bool, int, float, str, type(None))
COUNTED = (
    "Hook %r counts in Python what no checkpoint holds: %s. A run that goes on from a checkpoint begins with what "
    "__init__ sets. Return it from get_state(self), and take it back in set_state(self, state); or make it a "
    "tf.Variable."
)


class Counters:
    """What hooks of the program have in attributes that their methods read and then set, as in `self.wait += 1`.

    What is set and not read before, such as the time at which an epoch begins, is of no use to who goes on; and a list
    in which something is only collected is not what a run goes by. Hooks with `get_state` look after themselves.

    Args:
        hooks: The hooks.
    """

    def __init__(self, hooks: Iterable[Hook]) -> None:
        own = [hook for hook in hooks if is_of_program(type(hook)) and not has_state(hook)]
        self._then = {hook: _values(hook, sorted(_counted(type(hook)))) for hook in own}

    def changed(self) -> dict[str, list[str]]:
        """Returns the attributes of hooks of which one is not as it was, by the name of the hook; each hook once."""
        found: dict[str, list[str]] = {}
        for hook, then in [*self._then.items()]:
            if _values(hook, then) != then:
                found[hook.name] = [*then]  # all of them: the others may change in a later epoch
                del self._then[hook]
        return found


def _values(hook: Hook, names: Iterable[str]) -> dict[str, str]:
    own = vars(hook)
    return {name: repr(own[name]) for name in names if type(own.get(name, ())) in PLAIN}


def _counted(of_class: type) -> set[str]:
    """Returns the names of attributes that a method reads and then sets."""
    written = [vars(each).values() for each in of_class.__mro__ if is_of_program(each)]
    found = set[str]()
    for method in (each for values in written for each in values if isinstance(each, types.FunctionType)):
        read = set[str]()
        for instruction in dis.get_instructions(method):  # in the order in which it is written
            if instruction.opname == "LOAD_ATTR":
                read.add(instruction.argval)
            elif instruction.opname == "STORE_ATTR" and instruction.argval in read:
                found.add(instruction.argval)
    return found
