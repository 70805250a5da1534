"""Something that yields batches and can say where it is, in whichever of the usual ways."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from loop.data.objects.progress import HasState, HasStateDict, methods_of_state
from loop.errors.instead import instead_of_data, refuses_arguments
from loop.errors.kinds import shown
from loop.state.plain import Encoded, Plain

Yields: TypeAlias = Iterator | Iterable | Callable[[int], Iterator]
STATE = (
    "Give it get_state(), which returns JSON values, bytes or NumPy arrays, and set_state(state); or state_dict() and "
    "load_state_dict(state)"
)


class Iterated:
    """One iterator for all passes, or one for each, of an object that is iterated anew or a function of the epoch.

    Attributes:
        name: What to call it.
        endless: Whether one iterator goes on through all passes.

    Args:
        source: It.

    Raises:
        TypeError: If it yields nothing, or has no state.
    """

    def __init__(self, source: Yields) -> None:
        self.name = type(source).__name__
        self._source, self.endless = source, isinstance(source, Iterator)
        self._iterator: Iterator | None = source if isinstance(source, Iterator) else None
        made = isinstance(source, Iterable) or (callable(source) and not isinstance(source, type))
        if not made or (not isinstance(source, Iterable) and refuses_arguments(source, 1)):
            own = "Write lambda epoch: ..." if callable(source) and not isinstance(source, type) else ""
            raise TypeError(
                "StatefulData needs an iterator of batches, something that is iterated, or a function from the epoch "
                f"to an iterator. Received: {shown(source)}. {own or instead_of_data(source)}"
            )
        if not isinstance(self._stateful(), HasState | HasStateDict):
            raise TypeError(
                f"{type(self._stateful()).__name__} cannot say where it is, so no run could be resumed. {STATE}."
            )

    def _stateful(self) -> object:
        """Returns what has the state: the iterator, or else what it is made of."""
        # Makes one that nobody reads, to see whether its own methods tell the state.
        iterator = self._made(0) if self._iterator is None else self._iterator
        return self._source if methods_of_state(iterator) is None else iterator

    def _made(self, epoch: int) -> Iterator:
        source = self._source
        made = iter(source) if isinstance(source, Iterable) else source(epoch)
        return made if isinstance(made, Iterator) else iter(made)

    @property
    def open(self) -> bool:
        """Whether there is an iterator."""
        return self._iterator is not None

    def renew(self, epoch: int) -> None:
        """Begins a pass, or goes on in the next one."""
        if not self.endless:
            self._iterator = self._made(epoch)

    def close(self) -> None:
        """Ends a pass."""
        if not self.endless:
            self._iterator = None

    def next(self) -> list:
        """Returns the next batch, alone in a list; or none, if there is no other."""
        try:
            return [] if self._iterator is None else [next(self._iterator)]
        except StopIteration:
            return []

    def get(self) -> Encoded:
        """Returns a copy of the state. Between passes, that is what an object says that is iterated; else nothing."""
        thing = self._iterator if methods_of_state(self._iterator) is not None else self._source
        methods = methods_of_state(thing)
        return Encoded(None if methods is None else methods[0](), self.name)

    def put(self, state: Plain, epoch: int, *, is_open: bool) -> None:
        """Takes a state over, within the pass over an epoch, or between two."""
        if not self.endless:
            self._iterator = self._made(epoch) if is_open else None
        on_iterator = methods_of_state(self._iterator)
        on_source = methods_of_state(self._source)
        if on_iterator is not None:
            on_iterator[1](state)
        elif on_source is not None and state is not None:
            on_source[1](state)  # as a loader is told, before it is iterated
            if not self.endless and is_open:  # what is iterated goes on where it was told to
                self._iterator = self._made(epoch)
