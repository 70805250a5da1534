"""What a source changes between passes, as Keras' `on_epoch_end` does: found by trying it, and kept."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import keras

from loop.data.objects.changed import Changed
from loop.data.objects.kept_values import copied
from loop.data.objects.keyed import key_streams
from loop.data.objects.slots import Path, generators_in
from loop.errors.instead import refuses_arguments
from loop.state.plain import Encoded, Plain
from loop.state.randomness import untouched

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


class BetweenPasses:
    """Calls what a source wants to be called between passes, and keeps what that changes.

    What it draws from the streams of Python and NumPy is a function of (seed, pass). The state is what the source says
    by `get_state` or `state_dict`; else what a trial has changed of all that it holds, as `slots` has it.

    Args:
        source: The source.
        seed: Returns the seed.
    """

    def __init__(self, source: object, seed: Callable[[], int]) -> None:
        self._source, self._seed = source, seed
        self._methods = methods_of_state(source)
        # Keras' own methods do nothing: only what a subclass has in their place is called.
        keras_own = isinstance(source, keras.utils.PyDataset)
        base = keras.utils.PyDataset
        begins = isinstance(source, _Begins) and not (keras_own and type(source).on_epoch_begin is base.on_epoch_begin)
        ends = isinstance(source, _Ends) and not (keras_own and type(source).on_epoch_end is base.on_epoch_end)
        self._begin = _without_arguments(source.on_epoch_begin) if begins and isinstance(source, _Begins) else None
        self._end = _without_arguments(source.on_epoch_end) if ends and isinstance(source, _Ends) else None
        self.changes = bool(self._begin or self._end)
        self._changed, self._tried = Changed(source), False

    @property
    def lost(self) -> list[str]:
        """What a trial, or a pass since then, changed and nothing keeps."""
        return self._changed.lost

    def begin(self, epoch: int) -> None:
        """Says that a pass begins."""
        self._call(self._begin, epoch, BEGIN)

    def end(self, epoch: int) -> None:
        """Says that a pass is over."""
        self._call(self._end, epoch, END)

    def _call(self, method: Callable[[], object] | None, epoch: int, which: int) -> None:
        if method is not None:
            self.try_out()
            # As for generators: copies of 64 MB at most, and checksums of the rest.
            before = self._changed.look() if self._methods is None else None
            with untouched():  # how often this is called must not show in the process's own streams
                key_streams(self._seed(), epoch, which)
                method()
            if before is not None:  # perhaps it has changed what it had not in the trial, as from the fifth pass on
                self._changed.since(before, late=False)

    def try_out(self) -> None:
        """Finds out what is changed, once, by a trial that is undone."""
        if not self.changes or self._tried:
            return
        with self._changed.undone() if self._methods is None else self._put_back(*self._methods):
            self._go_through()
        self._tried = True  # not if that was interrupted, as by Ctrl-C: it would not be known what is changed

    @contextlib.contextmanager
    def _put_back(self, get: Callable[[], Plain], put: Callable[[Plain], object]) -> Iterator[None]:
        held = Encoded(get(), type(self._source).__name__)
        try:
            yield
        finally:
            put(held.decoded())

    def _go_through(self) -> None:
        with untouched():
            for method in (self._begin, self._end):
                key_streams(0)  # any will do, as all is undone
                if method is not None:
                    method()

    def get(self) -> Plain:
        """Returns the state, to be saved."""
        # Before the trial, nobody knows what belongs to the state.
        self.try_out()
        if self._methods is not None:
            return self._methods[0]() if self.changes else None
        return self._changed.get()

    def put(self, state: Plain) -> None:
        """Takes a state over."""
        self.try_out()
        if self._methods is not None:
            if self.changes:
                self._methods[1](state)
            return
        self._changed.put(state)

    def mark(self) -> Callable[[], None]:
        """Returns what takes the state back to what it is now."""
        self.try_out()
        if self._methods is None:
            return self._changed.mark()
        held = Encoded(self.get(), type(self._source).__name__)
        return lambda: self.put(held.decoded())


def generators_of(thing: object) -> dict[Path, object]:
    """Returns the states of the random generators that a thing holds."""
    return {path: copied(generator) for path, generator in generators_in(thing)}


def _without_arguments(method: Callable[[], object]) -> Callable[[], object] | None:
    """Returns a method that can be called so; what takes an argument is called by somebody else."""
    return None if refuses_arguments(method, 0) else method
