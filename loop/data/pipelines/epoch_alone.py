"""Whether a function of the epoch goes by nothing that another process would not have when it calls it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import tensorflow as tf

from loop.data.objects.looks import Was, look, now_as
from loop.data.objects.reached import variables_reached
from loop.data.objects.slots import Path, slots
from loop.data.pipelines.written import Written
from loop.digest import short
from loop.errors.remedies import BY_VARIABLE
from loop.findings import Finding

WHAT = (
    "come from a function that makes another dataset of the same epoch than it did before: it goes by what a hook, or "
    "the training, has changed"
)
OTHER = (
    "data: for epoch {}, the function makes another dataset than when the checkpoint was made. If it was not changed, "
    "it goes by what no checkpoint puts back before it is called: let that be a tf.Variable in state, set in "
    "on_epoch_end"
)


class EpochAlone:
    """Calls a function once more for epochs of which it has made the dataset, and sees whether it makes the same.

    When an epoch is over, as a run that is killed within it calls the function with what there is by then. And when a
    later one begins: variables are then as they were, since those of the state are put back before it is called, and
    nothing else is. It looks at the 1st, 2nd, 4th, 8th epoch, because a call may take long, and only if the function
    holds variables, or anything that has changed meanwhile.

    Args:
        function: The function, as the user wrote it.
        make: Returns what was written of the dataset of an epoch.
    """

    def __init__(self, function: object, make: Callable[[int], Written]) -> None:
        self._function, self._make = function, make
        self._first: tuple[int, int] | None = None  # an epoch, and the hash of its dataset
        self._then: list[tuple[tf.Variable, tf.Tensor]] = []  # at that time; buffers are shared, so it is no copy
        self._held, self._held_now = dict[Path, Was](), dict[Path, Was]()  # by the function, in the first one; and now
        self._now, self._begun, self._differs, self._stopped = (0, 0), 0, False, False

    def variables(self) -> list[tf.Variable]:
        """Returns the variables that the function may go by."""
        return variables_reached([self._function])

    def note(self, epoch: int, written: Written) -> None:
        """Notes what the first epoch has, once: before a state is restored."""
        if self._first is None:
            self._first, self._then = (epoch, _hash(written)), [(v, v.read_value()) for v in self.variables()]
            self._held = {**look(self._function)}

    def begins(self, epoch: int, written: Written) -> None:
        """Takes in which dataset an epoch has."""
        self._now, self._begun = (epoch, _hash(written)), self._begun + 1
        if not self._looks:
            return
        self._held_now = {**look(self._function)}
        if self._first is not None and self._may_differ(self._held):
            with self.as_then():
                self._look(self._first)

    def ended(self) -> None:
        """Looks at the epoch that is over, before hooks hear of that."""
        if self._begun and self._looks and self._may_differ(self._held_now):
            self._look(self._now)

    def findings(self, owner: str) -> list[Finding]:
        """Returns what has come of it."""
        return [Finding(f"{owner} {WHAT}", "", BY_VARIABLE)] if self._differs else []

    def stop_looking(self) -> None:
        """Says that rows of an earlier process are in the place of those that the function has now."""
        self._stopped = True

    @property
    def _looks(self) -> bool:
        return not self._stopped and self._begun & (self._begun - 1) == 0

    def _may_differ(self, held: Mapping[Path, Was]) -> bool:
        then = {path: was.copy for path, was in held.items()}
        return bool(self.variables()) or now_as(held, slots(self._function)) != then

    def _look(self, then: tuple[int, int]) -> None:
        epoch, stages = then
        with suppress(Exception):  # there is no such epoch any more, as where it reads what is gone
            if not self._differs and (now := _hash(self._make(epoch))) != stages:
                # Called once more, one that draws has others again: it goes by chance, and not by what has changed.
                self._differs = _hash(self._make(epoch)) == now

    @contextmanager
    def as_then(self) -> Iterator[None]:
        """Gives variables the values of that time for a while."""
        held = [(variable, variable.read_value()) for variable, _ in self._then]
        try:
            for variable, value in self._then:
                variable.assign(value)
            yield
        finally:
            for variable, value in held:
                variable.assign(value)


def _hash(written: Written) -> int:
    return int(short(written.described), 16)
