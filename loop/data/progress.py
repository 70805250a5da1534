"""What a source changes of itself between passes, as Keras' `on_epoch_end` does: found by trying it, and kept."""

import collections
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import keras
import numpy as np

from loop.data.keyed import key_streams
from loop.errors.instead import refuses_arguments
from loop.exact.reach import is_of_program
from loop.state.plain import Encoded, Plain
from loop.state.randomness import untouched

Path: TypeAlias = tuple[str, ...]
LARGEST = 2**26  # bytes of one array or list that are copied to see whether it changes; of larger ones, a sample
DEEPEST = 4  # objects of the program within one another
BEGIN, END = -2, -1  # in the place of an item's number, in the key of what is drawn


@runtime_checkable
class HasState(Protocol):
    """Something whose state is told and taken over as a value."""

    def get_state(self) -> Plain: ...

    def set_state(self, state: Plain, /) -> object: ...


@runtime_checkable
class HasStateDict(Protocol):
    """The same, as it is called elsewhere."""

    def state_dict(self) -> Plain: ...

    def load_state_dict(self, state: Plain, /) -> object: ...


def methods_of_state(thing: object) -> tuple[Callable[[], Plain], Callable[[Plain], object]] | None:
    """Returns what tells the state of something, and what takes one over; None if it has no such methods."""
    if isinstance(thing, HasState):
        return thing.get_state, thing.set_state
    return (thing.state_dict, thing.load_state_dict) if isinstance(thing, HasStateDict) else None


@runtime_checkable
class _Begins(Protocol):
    def on_epoch_begin(self) -> object: ...


@runtime_checkable
class _Ends(Protocol):
    def on_epoch_end(self) -> object: ...


class Progress:
    """Calls what a source wants to be called between passes, and keeps what that changes.

    What it draws from the streams of Python and NumPy is a function of (seed, pass). The state is what the source says
    by `get_state` or `state_dict`; else the attributes, also of objects of the program in it, that a trial has changed.

    Args:
        source: The source.
        seed: Returns the seed.
    """

    def __init__(self, source: object, seed: Callable[[], int]) -> None:
        self._source, self._seed = source, seed
        self._methods = methods_of_state(source)
        keras_own = isinstance(source, keras.utils.PyDataset)
        base = keras.utils.PyDataset
        begins = isinstance(source, _Begins) and not (keras_own and type(source).on_epoch_begin is base.on_epoch_begin)
        ends = isinstance(source, _Ends) and not (keras_own and type(source).on_epoch_end is base.on_epoch_end)
        self._begin = _without_arguments(source.on_epoch_begin) if begins and isinstance(source, _Begins) else None
        self._end = _without_arguments(source.on_epoch_end) if ends and isinstance(source, _Ends) else None
        self.changes = bool(self._begin or self._end)
        self._paths: list[Path] | None = None  # None: it was not tried yet
        self.lost: list[str] = []  # what a trial changed and nothing keeps

    def begin(self, epoch: int) -> None:
        """Says that a pass begins."""
        self._call(self._begin, epoch, BEGIN)

    def end(self, epoch: int) -> None:
        """Says that a pass is over."""
        self._call(self._end, epoch, END)

    def _call(self, method: Callable[[], object] | None, epoch: int, which: int) -> None:
        if method is not None:
            self.try_out()
            with untouched():
                key_streams(self._seed(), epoch, which)
                method()

    def try_out(self) -> None:
        """Finds out what is changed, once, by a trial that is undone."""
        if not self.changes or self._paths is not None:
            return
        self._paths = []
        if self._methods is not None:
            get, put = self._methods
            held = Encoded(get(), type(self._source).__name__)
            self._go_through()
            put(held.decoded())
            return
        before = {path: (value, _copied(value)) for path, value in _walk(self._source)}
        self._go_through()
        after = {path: _copied(value) for path, value in _walk(self._source)}
        paths = {**before, **after}
        changed = [path for path in paths if path not in before or path not in after or before[path][1] != after[path]]
        kept = {p for p in changed if all(isinstance(c, Encoded | None) for c in (self._of(before, p), after.get(p)))}
        self._paths, self.lost = sorted(kept), [".".join(path) for path in changed if path not in kept]
        for path in self._paths:
            if path in before:
                was, copy = before[path]
                _put(self._source, path, was)
                if isinstance(copy, Encoded):
                    self._put_one(path, copy.decoded())
            else:
                _remove(self._source, path)

    @staticmethod
    def _of(before: dict[Path, tuple[object, object]], path: Path) -> object:
        return before[path][1] if path in before else None

    def _go_through(self) -> None:
        with untouched():
            for method in (self._begin, self._end):
                key_streams(0)
                if method is not None:
                    method()

    def get(self) -> Plain:
        """Returns the state, to be saved."""
        self.try_out()
        if self._methods is not None:
            return self._methods[0]() if self.changes else None
        values = dict(_walk(self._source))
        return {".".join(path): _plain(values[path]) for path in self._paths or () if path in values}

    def put(self, state: Plain) -> None:
        """Takes a state over."""
        self.try_out()
        if self._methods is not None:
            if self.changes:
                self._methods[1](state)
            return
        for path in self._paths or ():
            name = ".".join(path)
            if name in state:
                self._put_one(path, state[name])
            else:
                _remove(self._source, path)

    def _put_one(self, path: Path, new: Plain) -> None:
        now = dict(_walk(self._source)).get(path)
        if isinstance(now, np.random.Generator):
            now.bit_generator.state = new
        elif isinstance(now, np.random.RandomState):
            now.set_state(new)
        elif isinstance(now, random.Random):
            now.setstate(new)
        elif isinstance(now, np.ndarray) and isinstance(new, np.ndarray) and _alike(now, new):
            now[...] = new  # others may have the same array
        elif isinstance(now, list) and isinstance(new, list):
            now[:] = new
        elif isinstance(now, dict) and isinstance(new, dict):
            now.clear()
            now.update(new)
        else:
            _put(self._source, path, new)


def _alike(now: np.ndarray, new: np.ndarray) -> bool:
    return (now.shape, now.dtype) == (new.shape, new.dtype) and now.flags.writeable


def generators_in(thing: object) -> dict[Path, object]:
    """Returns the states of the random generators that an object holds, itself or in objects of the program."""
    kinds = np.random.Generator | np.random.RandomState | random.Random
    return {path: _copied(value) for path, value in _walk(thing) if isinstance(value, kinds)}


def _without_arguments(method: Callable[[], object]) -> Callable[[], object] | None:
    """Returns a method that can be called so; what takes an argument is called by somebody else."""
    return None if refuses_arguments(method, 0) else method


def _walk(thing: object, above: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yields the attributes of an object, and of those of the program in them, by path."""
    if len(above) < DEEPEST:
        for name, value in list(getattr(thing, "__dict__", {}).items()):
            yield (*above, name), value
            if is_of_program(type(value)) and not isinstance(value, type):
                yield from _walk(value, (*above, name))


def _plain(value: object) -> Plain:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    return value.getstate() if isinstance(value, random.Random) else value


def _copied(value: object) -> object:
    """Returns what tells whether a value has changed: a copy, if it is plain; a sample, if it is too large for that."""
    if isinstance(value, np.ndarray) and value.nbytes > LARGEST:
        return id(value), value[:: max(1, len(value) // 1000)].tobytes()[:LARGEST]
    if isinstance(value, set | collections.deque) or (isinstance(value, list | dict) and len(value) > LARGEST // 64):
        return id(value), len(value), repr(list(itertools.islice(value, 1000)))
    try:
        return Encoded(_plain(value), "an attribute")
    except (TypeError, ValueError, RecursionError):
        return None if is_of_program(type(value)) else id(value)


def _put(thing: object, path: Path, value: object) -> None:
    for name in path[:-1]:
        thing = getattr(thing, name)
    setattr(thing, path[-1], value)


def _remove(thing: object, path: Path) -> None:
    for name in path[:-1]:
        thing = getattr(thing, name)
    vars(thing).pop(path[-1], None)
