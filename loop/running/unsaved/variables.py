"""What hooks hold or name and no checkpoint has: variables that are no part of the state, and values of Python."""

import collections
import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import keras
import tensorflow as tf

from loop.data.objects.reached import variables_of
from loop.digest import digest, unchanged
from loop.exact.graph import is_random, line, operations
from loop.exact.reach import Reach, attributes, is_of_program, outside
from loop.handles import key
from loop.hook import Hook, has_state
from loop.registry import FunctionHook
from loop.running.unsaved.begun import OF_EPOCH, TAKEN, FoundAtBegin
from loop.running.unsaved.counters import (
    COUNTED,
    COUNTED_OUTSIDE,
    GATHERED,
    Counters,
    Gathered,
    of_functions,
    of_hooks,
    without_state,
)
from loop.running.unsaved.own_files import of_files_needed, of_own_files, writes_in_all
from loop.running.unsaved.used import methods
from loop.state.plain import Encoded
from loop.tf_internals import graphs_of, tensorflow_generator
from loop.workers.cluster import here

log = logging.getLogger("exactloop")
SHOWN = 3
NO_VALUES = (tf.variant, tf.resource)
LOST = (
    "Hook %r changes what no checkpoint holds: %s. A run that goes on from a checkpoint begins with what the program "
    "makes anew. What is to go on is given in state=..., or is a tf.Variable, or a list of them, that the hook's "
    "__init__ sets on it."
)

IN_ALL = (
    "Hook %r is called in each of the workers and, unless the name of the file says which one, all write to the same. "
    "Have it write below `if workers.rank == 0:`, where workers is what loop.connect() has returned; or set everywhere "
    "= False on the class of a hook, so that it is called in the first one alone."
)
DRAWN = (
    "Hook %r draws from a stream that cannot be saved: %s. A run that goes on from a checkpoint draws other numbers. "
    "Draw outside of tf.function, after keras.utils.set_random_seed(1); or from a tf.random.Generator or a "
    "keras.random.SeedGenerator that the hook's __init__, or the callback's, sets on it."
)


class Unsaved:
    """The variables that hooks of the program reach and no checkpoint holds, as they are now.

    What steps use is known from what was traced; of hooks, which are Python, it can only be seen later that
    something has changed. It may be of no use, as a metric is that is reset: so this warns.

    Args:
        hooks: The hooks. Those of this package keep nothing beside the state.
        covered: The keys of what a checkpoint holds, or is looked at elsewhere.
        state: What a checkpoint holds of what the loop was given, by path.
        resumed: Whether the run goes on from a checkpoint, or from where an earlier one has ended.
    """

    def __init__(
        self,
        hooks: Iterable[Hook],
        covered: Collection[int],
        state: Mapping[str, tf.Variable] = MappingProxyType({}),
        *,
        resumed: bool = False,
    ) -> None:
        hooks = self._hooks = [*hooks]
        self._in_all = {hook.name for hook in hooks if hook.everywhere} if here().are_several else set[str]()
        self._roots, self._called = roots(hooks), functions_of(hooks)
        outside = {hook.name: self._called[hook.name] for hook in hooks if not has_state(hook)}
        self._covered = covered
        reaches = self._reaches()
        own = of_hooks(hooks, reaches)
        self._gathered = Gathered(hooks, outside) if resumed else Gathered([], {})
        # What is said of each hook, and what knows of which it is to be said.
        self._counters: list[tuple[str, Counters | Gathered]] = [
            (COUNTED, Counters(own)),
            (COUNTED_OUTSIDE, Counters(of_functions(outside, reaches, but=own))),
            (GATHERED, self._gathered),
        ]
        self._begun = FoundAtBegin([*without_state(hooks), *(h for h in hooks if isinstance(h, FunctionHook))], state)
        # By id, with what says whether it is as it was.
        self._then: dict[int, tuple[tf.Variable, Callable[[], bool]]] = {}
        self._looks, self._told = collections.Counter[bool](), set[str]()
        for _, variable in self._reached(reaches):
            self._note(variable)

    def values(self) -> dict[str, str]:
        """Returns digests of what is there now, by what to call it."""
        found: dict[str, str] = {}
        for hook, variable in self._reached(self._reaches()):
            name = f"{variable.name} of hook {hook!r}"
            alike = sum(each.startswith(name) for each in found)
            found[f"{name} ({alike + 1})" if alike else name] = digest(variable.read_value())
        return found

    @property
    def looked(self) -> bool:
        """Whether anybody has looked."""
        return bool(self._looks)

    def warn(self, *, in_epoch: bool = False) -> None:
        """Logs, once of each hook, what is not as it was when it was first seen.

        To be called where a run may be taken up: when an epoch has begun, as what is set anew there is of no use to who
        goes on between two; and where something is saved in mid-epoch, as what is set anew at the end is lost then. It
        takes some milliseconds, as much as a short epoch: so it looks at the 1st, 2nd, 4th, 8th of either kind.
        """
        is_first = not self.looked
        self._looks[in_epoch] += 1
        if self._looks[in_epoch] & (self._looks[in_epoch] - 1):
            return
        for told, counters in self._counters:
            # What is only collected may be of this epoch alone.
            for hook, names in ({} if in_epoch and told == GATHERED else counters.changed()).items():
                log.warning(told, hook, ", ".join(names))
        for told, found in [(TAKEN, self._begun.taken()), *([(OF_EPOCH, self._begun.of_epoch())] if in_epoch else [])]:
            for hook, names in found.items():
                log.warning(told, hook, ", ".join(names))
        reaches = self._reaches()
        if is_first:
            for each in itertools.chain(*map(of_files_needed, self._hooks)):
                log.warning("%s", each)
            for hook, reach in reaches.items():
                said = [*of_own_files(hook, reach)]
                for each in said:
                    log.warning("%s", each)
                if hook in self._in_all and writes_in_all(reach, to_own_files=bool(said)):
                    log.warning(IN_ALL, hook)
        for hook, reach in reaches.items():
            if hook not in self._told and (drawn := _drawn_in(reach, self._covered)):
                self._told.add(hook)
                log.warning(DRAWN, hook, ", ".join(drawn))
        changed: dict[str, list[str]] = {}
        for hook, variable in self._reached(reaches):
            # What a hook has made in the course of the run counts from here on.
            if not self._note(variable)():
                changed.setdefault(hook, []).append(f"{variable.name}  shape {variable.shape}, {variable.dtype.name}")
        for hook, names in changed.items():
            del self._roots[hook]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.warning(LOST, hook, ", ".join(names[:SHOWN]) + more)

    def warn_at_end(self) -> None:
        """Logs what was gathered since the run went on, if no epoch has begun since in which that would be said."""
        for hook, names in self._gathered.changed().items():
            log.warning(GATHERED, hook, ", ".join(names))

    def _note(self, variable: tf.Variable) -> Callable[[], bool]:
        if id(variable) not in self._then:
            self._then[id(variable)] = variable, unchanged(variable)
        return self._then[id(variable)][1]

    def _reaches(self) -> dict[str, Reach]:
        """Returns what each hook reaches now, which takes 25 ms of one that holds a ResNet50."""
        found = dict[str, Reach]()
        for hook, begin in self._called.items():
            with contextlib.suppress(RuntimeError, KeyError):  # another thread writes to what is read here
                found[hook] = Reach(begin)
        return found

    def _reached(self, reaches: Mapping[str, Reach]) -> Iterator[tuple[str, tf.Variable]]:
        for name in [each for each in self._roots if each in reaches]:
            with contextlib.suppress(RuntimeError, KeyError):  # as above
                of_hook = _variables(reaches[name])
                yield from ((name, variable) for variable in of_hook if key(variable) not in self._covered)


def _drawn_in(reach: Reach, covered: Collection[int]) -> list[str]:
    """Returns what functions draw from the kernels of a `tf.function`, or from a generator that came too late."""
    with contextlib.suppress(RuntimeError, KeyError):  # another thread writes to what is read here
        generator = tensorflow_generator()
        traced = (graph for function in reach.compiled for graph in graphs_of(function))
        found = {f"{op.type}, at {line(op)}" for graph in traced for op in operations(graph) if is_random(op)}
        if "get_global_generator" in reach.read and generator is not None and key(generator.state) not in covered:
            found.add("tf.random.get_global_generator(), which was made in the course of the run")
        return sorted(found)
    return []


def _variables(reach: Reach) -> list[tf.Variable]:
    things = [*reach.objects, *reach.held()]
    if "reset_state" in reach.read:  # and so nothing is kept in metrics for long
        things = [thing for thing in things if not isinstance(thing, keras.Metric)]
    variables = {id(v): v for thing in things for v in variables_of(thing)}  # by id: `==` compares values
    savers = [each.checkpoint if isinstance(each, tf.train.CheckpointManager) else each for each in things]
    counts = [each.save_counter for each in savers if isinstance(each, tf.train.Checkpoint)]
    variables |= {id(each): each for each in counts}  # by which they number their files
    return [variable for variable in variables.values() if variable.dtype not in NO_VALUES]


def values_in_python(hooks: Iterable[Hook]) -> dict[str, str]:
    """Returns digests of the plain values that hooks of the program hold or name, by what to call them.

    That is the name of a global or an outer variable, or the name of a class and an attribute.
    """
    found: dict[str, str] = {}
    for name, value in _named(Reach(itertools.chain(*roots(hooks).values()))):
        with contextlib.suppress(TypeError):  # of objects, nobody knows what is in them
            found.setdefault(name, Encoded(value, name).digest())
    return found


def _named(reach: Reach) -> Iterator[tuple[str, object]]:
    for function in filter(is_of_program, reach.functions):
        yield from outside(function)
    for thing in reach.objects:
        if is_of_program(of_class := type(thing)) and not isinstance(thing, type):
            yield from ((f"{of_class.__name__}.{name}", value) for name, value in attributes(thing).items())


def functions_of(hooks: Iterable[Hook]) -> dict[str, list[object]]:
    """Returns what hooks call of the program, and where else what they hold or name begins, by their names."""
    hooks = [*hooks]
    own = roots(hooks)
    return {hook.name: [*hook.functions_called(), *own.get(hook.name, ()), hook.every] for hook in hooks}


def roots(hooks: Iterable[Hook]) -> dict[str, list[object]]:
    """Returns, by the names of the hooks that are the program's own, where what they hold or name begins."""
    own = {hook.name: [hook, *methods(type(hook))] for hook in hooks if is_of_program(type(hook))}
    return own | {hook.name: [hook.function] for hook in hooks if isinstance(hook, FunctionHook)}
