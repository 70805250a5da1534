"""What hooks of the program count and gather in Python, which no checkpoint holds."""

import collections
import functools
import io
import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TypeAlias

import keras
import numpy as np

from loop.exact.reach import FUNCTIONS, Reach, attributes, is_of_program, is_within
from loop.hook import Hook, has_state
from loop.running.unsaved.used import ATTRIBUTES, OUTSIDE, Given, Used, methods, of_program, used_by, values_outside
from loop.state.plain import Encoded

# Returns what is counted, and what is gathered, the latter as texts, by name.
View: TypeAlias = Callable[[], tuple[dict[str, object], dict[str, str]]]

PLAIN = (bool, int, float, str, type(None))
FILLED = (list, dict, set, collections.deque)
GATHERING = (*FILLED, np.ndarray)
DRAWING = (random.Random, np.random.Generator, np.random.RandomState)
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
GATHERED = (
    "Hook %r gathers in Python what no checkpoint holds: %s. This run goes on from a checkpoint, and what came before "
    "it is not in there. RunResult.history has the values of all epochs; or set it on a callback, or on a hook of your "
    "own that returns it from get_state(self), and takes it back in set_state(self, state)."
)
# What is saved, looked at by itself, or read by data; and by which methods a source of data is known.
OTHERS = (Hook, keras.callbacks.Callback, keras.utils.PyDataset)
SOURCE = {"__iter__", "__next__", "__getitem__", "get_state", "state_dict"}
LARGEST, LONGEST = 2**20, 10_000  # bytes of an array, items of a list
AGES = 1e9  # seconds: what a clock shows is no measure of the run
LOOKS = itertools.count()


class Counters:
    """What hooks of the program have in attributes that their methods read and then set, as in `self.wait += 1`.

    And lists, dicts, sets and arrays that they fill, and read as well: as in `self.losses.append(...)` and, at the end
    of an epoch, `np.mean(self.losses)`; and random generators and iterators, which go on by being used. What is set
    and not read before, such as the time at which an epoch begins, is of no use to who goes on; and a list in which
    something is only collected is not what a run goes by.

    Args:
        views: What there is to look at of each hook, by its name.
    """

    def __init__(self, views: Mapping[str, Sequence[View]]) -> None:
        self._then = {hook: [(view, *view()) for view in mine] for hook, mine in views.items() if mine}

    def changed(self) -> dict[str, list[str]]:
        """Returns the names of which one is not what it was, by the name of the hook; each hook once."""
        found: dict[str, list[str]] = {}
        for hook, mine in [*self._then.items()]:
            names = set[str]()
            for view, counted, gathered in mine:
                counts, gathers = view()
                others = [name for name, content in gathers.items() if content != gathered.get(name)]
                # Not what had no value yet, and has one now: it may be made once, when it is first wanted.
                first = {
                    name for name, value in counted.items() if value is None and not _is_measured(counts.get(name))
                }
                counted |= {name: counts[name] for name in first & counts.keys()}
                # By what is shown of them: nan is not equal to itself.
                if others or repr([counts.get(name) for name in counted]) != repr([*counted.values()]):
                    # Of what is counted all of them: the others may change in a later epoch.
                    names |= {*counted, *others}
            if names:
                found[hook] = sorted(names)
                del self._then[hook]
        return found


def of_hooks(hooks: Iterable[Hook], reaches: Mapping[str, Reach]) -> dict[str, list[View]]:
    """Returns what there is of hooks with methods of the program: their attributes, and those of objects that they use.

    Hooks with `get_state` look after themselves.

    Args:
        hooks: The hooks.
        reaches: What each reaches, by its name.
    """
    return {
        hook.name: [functools.partial(_in_attributes, hook, _of_hook(hook)), *_of_objects(reaches.get(hook.name))]
        for hook in without_state(hooks)
    }


def of_functions(
    begin: Mapping[str, Iterable[object]], reaches: Mapping[str, Reach], *, but: Collection[str]
) -> dict[str, list[View]]:
    """Returns what there is in globals and outer variables of functions.

    Args:
        begin: The functions of each hook, by its name.
        reaches: What each reaches.
        but: The hooks of which objects are looked at already.
    """
    own = of_program(begin)
    outside: dict[str, list[View]] = {
        hook: [functools.partial(_outside, own[hook])] if hook in own else [] for hook in begin
    }
    return {hook: [*views, *(() if hook in but else _of_objects(reaches.get(hook)))] for hook, views in outside.items()}


def _of_objects(reach: Reach | None) -> Iterator[View]:
    """Yields what there is of objects, classes, modules and functions that are held or named, and have attributes."""
    if reach is not None:
        called = [*filter(is_of_program, reach.functions), *(f for each in reach.objects for f in methods(type(each)))]
        used = used_by(
            dict.fromkeys(called), *ATTRIBUTES
        )  # by name, whoever has it: what nobody changes is what it was
        # What saves itself saves what is in it; of the roots, the hook itself is one, and keeps nothing.
        aside = {id(each) for each in reach.objects if _saves_itself(each) and reach.parents[id(each)]}
        for thing in [*reach.objects, *(each for each in reach.functions if vars(each) and is_of_program(each))]:
            if not _saves_itself(thing) and not is_within(thing, aside, reach.parents):
                name = thing.__name__ if isinstance(thing, FUNCTIONS) else type(thing).__name__
                yield functools.partial(_in_attributes, thing, used, f"{name}.")


def _saves_itself(thing: object) -> bool:
    return isinstance(thing, OTHERS) or any(SOURCE & vars(each).keys() for each in type(thing).__mro__)


class Gathered:
    """Lists and the like that hooks only fill, and that are empty where a run goes on: what came before is not in them.

    No run goes by them; but whoever looks at them when it has ended takes them for the whole.

    Args:
        hooks: The hooks.
        functions: The functions of each, by its name.
    """

    def __init__(self, hooks: Iterable[Hook], functions: Mapping[str, Iterable[object]]) -> None:
        used: list[tuple[str, Used, Mapping[str, object]]] = []
        used += [(hook.name, _of_hook(hook), vars(hook)) for hook in without_state(hooks)]
        for name, given in of_program(functions).items():
            held = dict(pair for each in given for pair in values_outside(each))
            used.append((name, used_by((function for function, _ in given), *OUTSIDE), held))
        self._empty: dict[str, dict[str, Sized]] = {}
        # What another hook reads may be of this epoch alone.
        read = {id(values[each]) for _, by_hook, values in used for each in by_hook.read & values.keys()}
        for name, by_hook, values in used:
            own = self._empty.setdefault(name, {})
            for each in (by_hook.filled - by_hook.read) & values.keys():
                if isinstance(value := values[each], FILLED) and not value and id(value) not in read:
                    own[each] = value

    def changed(self) -> dict[str, list[str]]:
        """Returns the names of which one is empty no more, by the name of the hook; each hook once."""
        found = {hook: sorted(each for each in own if len(own[each])) for hook, own in self._empty.items()}
        self._empty = {hook: own for hook, own in self._empty.items() if not found[hook]}
        return {hook: names for hook, names in found.items() if names}


def without_state(hooks: Iterable[Hook]) -> list[Hook]:
    """Returns the hooks of the program that keep nothing by themselves."""
    return [hook for hook in hooks if is_of_program(type(hook)) and not has_state(hook)]


def _is_measured(value: object) -> bool:
    """Returns whether a number may be one that was measured, such as the first loss: another one, to who goes on."""
    return isinstance(value, float | np.floating) and abs(float(value)) < AGES


def _outside(functions: Iterable[Given]) -> tuple[dict[str, object], dict[str, str]]:
    """Returns what functions count, and what they fill, of what is not made in them, by name."""
    counts, gathers = dict[str, object](), dict[str, str]()
    for given in functions:
        used, values = used_by([given[0]], *OUTSIDE), dict(values_outside(given))
        counted, read = used.counted & values.keys(), used.read & values.keys()
        counts |= {name: values[name] for name in counted if isinstance(values[name], (*PLAIN, np.generic))}
        gathers |= {name: _content(values[name]) for name in read if _is_gathering(values[name])}
    return counts, gathers


def _in_attributes(thing: object, used: Used, prefix: str = "") -> tuple[dict[str, object], dict[str, str]]:
    """Returns the same of what is in attributes."""
    # What a class begins with, an object has of its own when it is counted up.
    there = [attributes(thing), *map(vars, type(thing).__mro__)]
    names = used.counted | used.read
    own = {name: each[name] for each in reversed(there) for name in names & each.keys()}
    counted = [name for name in used.counted if isinstance(own.get(name, ()), (*PLAIN, np.generic))]
    gathered = [name for name in used.read if _is_gathering(own.get(name))]
    gathers = {f"{prefix}{name}": _content(own[name]) for name in gathered}
    return {f"{prefix}{name}": own[name] for name in counted}, gathers


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


def _of_hook(hook: Hook) -> Used:
    """Returns the attributes that the methods of a hook use."""
    return used_by(methods(type(hook)), *ATTRIBUTES)
