"""What hooks of the program set as a run begins, or an epoch, and go by later: whoever goes on has it not, or other."""

import dis
import itertools
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from loop.digest import unchanged
from loop.events import Event
from loop.exact.reach import codes
from loop.hook import Hook
from loop.registry import FunctionHook
from loop.running.unsaved.used import Given, methods, of_program, values_outside
from loop.tensors import read

TAKEN = (
    "Hook %r keeps what it finds as a run begins, and changes later: %s. A run that goes on from a checkpoint finds "
    "there what was saved. Make it a tf.Variable in __init__ of a hook, which is saved, and assign it in on_run_begin "
    "unless moment.resumed."
)
OF_EPOCH = (
    "Hook %r sets in on_epoch_begin what nothing else sets: %s. A run that goes on in mid-epoch does not call that "
    "again, and other methods would find nothing there. Set it in __init__ as well."
)
# Not SETUP: there, hooks that stand before Checkpoint find what the program makes, in each process.
RUNS, EPOCHS = (Event.RUN_BEGIN,), (Event.EPOCH_BEGIN,)
SETTING = {"STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF"}


class FoundAtBegin:
    """What hooks have taken from the state as this run begins, and what they have not set by then.

    That a number or an array is taken from there is known by its bits.

    Args:
        hooks: Hooks of the program that keep nothing by themselves.
        variables: The state, by what to call each.
    """

    def __init__(self, hooks: Iterable[Hook], variables: Mapping[str, tf.Variable]) -> None:
        hooks = [*hooks]
        self._unset = [(hook, _set_by(hook, EPOCHS) - {*dir(hook)}) for hook in hooks]
        # The hook, the name, the value, of which variable it is, and whether that still has it.
        self._taken: list[tuple[Hook, str, object, str, Callable[[], bool]]] = []
        for hook in hooks:
            values = _values(hook)
            for name in sorted(_set_by(hook, RUNS) & values.keys()):
                found = (_alike(each, variables) for each in _numbers(values[name]) if _is_known(each))
                if path := next((each for each in found if each), ""):
                    self._taken.append((hook, name, values[name], path, unchanged(variables[path])))

    def taken(self) -> dict[str, list[str]]:
        """Returns what is as it was taken, where the state is not, by the name of the hook; each once."""
        told = [each for each in self._taken if _values(each[0]).get(each[1]) is each[2] and not each[4]()]
        self._taken = [each for each in self._taken if each not in told]
        return _by_hook((hook, f"{name}, which was {path}") for hook, name, _, path, _ in told)

    def of_epoch(self) -> dict[str, list[str]]:
        """Returns what was set since, by the name of the hook; each once."""
        told = [(hook, name) for hook, names in self._unset for name in sorted(names & vars(hook).keys())]
        self._unset = [(hook, names - vars(hook).keys()) for hook, names in self._unset]
        return _by_hook(told)


def _by_hook(found: Iterable[tuple[Hook, str]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for hook, name in found:
        names.setdefault(hook.name, []).append(name)
    return names


def _given(hook: FunctionHook) -> list[Given]:
    return of_program({hook.name: [hook.function]}).get(hook.name, [])


def _values(hook: Hook) -> Mapping[str, object]:
    """Returns what a hook has by names: its attributes, or what is outside of its function."""
    if isinstance(hook, FunctionHook):
        return dict(itertools.chain(*map(values_outside, _given(hook))))
    return vars(hook)


def _set_by(hook: Hook, events: Collection[str]) -> set[str]:
    """Returns the names that are set where some events are heard; of attributes, those that are read elsewhere."""
    if isinstance(hook, FunctionHook):
        return {name for function, _ in _given(hook) if hook.event in events for name in _set_in(function)}
    own = {function.__name__: function for function in reversed([*methods(type(hook))])}
    own.pop("__init__", None)
    heard, names = set[str](), {f"on_{event}" for event in events}
    while called := names & own.keys():  # and what these call
        within = [own.pop(name) for name in called]
        heard |= {name for function in within for name in _set_in(function)}
        names = {name for function in within for name in _named_in(function)}
    return heard & {name for function in own.values() for name in _named_in(function)}


def _named_in(function: types.FunctionType) -> Iterator[str]:
    return itertools.chain(*(code.co_names for code in codes(function.__code__)))


def _set_in(function: types.FunctionType) -> set[str]:
    instructions = itertools.chain(*map(dis.get_instructions, codes(function.__code__)))
    return {each.argval for each in instructions if each.opname in SETTING}


def _numbers(value: object) -> Iterator[np.ndarray]:
    """Yields the numbers and arrays in a value."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    for each in items:
        given = tf.get_static_value(each) if isinstance(each, tf.Tensor) else each
        if isinstance(given, float | np.floating | np.ndarray):
            yield np.asarray(given)


def _is_known(array: np.ndarray) -> bool:
    """Returns whether an array tells where it comes from: 0, or a thousand of them, may come from anywhere."""
    if array.dtype.kind != "f":
        return False
    return not float(array).is_integer() if array.ndim == 0 else array.size > 1 and array.min() != array.max()


def _alike(array: np.ndarray, variables: Mapping[str, tf.Variable]) -> str:
    """Returns what to call the variable of which an array has the value; nothing if it has that of none."""
    known = {path: each for path, each in variables.items() if each.dtype.is_floating and each.shape == array.shape}
    found = (path for path, each in known.items() if np.array_equal(read(each).numpy().astype(array.dtype), array))
    return next(found, "")
