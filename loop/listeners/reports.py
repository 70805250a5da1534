"""Values that hooks report: from the round in which they are on, they are values like any other."""

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown
from loop.events import Event
from loop.hook import Hook, Reported
from loop.logs import LOGGER
from loop.tensors import read
from loop.tf_internals import scalar

IN = (Event.STEP_END, Event.EVAL_END, Event.EPOCH_END)


class Owner(NamedTuple):
    """Who reports a value, and where the latest is kept."""

    hook: Hook
    kept: Reported
    at: int


class Reports:
    """What the hooks of a loop report in the course of a round.

    Attributes:
        round: The values reported in this round, by name.
        fresh: Those of which nobody has been told yet.
    """

    def __init__(self) -> None:
        self.round: dict[str, float] = {}
        self.fresh: dict[str, float] = {}
        self._owners: dict[str, Owner] = {}
        self._event: Event | None = None  # in which values are taken just now
        self._never: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that hooks announce."""
        return tuple(self._owners)

    def announce(self, hook: Hook) -> None:
        """Notes what a hook announces, and makes the variables that hold what it reports.

        Raises:
            TypeError: If these are no names.
            ValueError: If another hook announces one of them.
        """
        names = hook.reports
        listed = isinstance(names, Iterable) and not isinstance(names, str)
        if not listed or not all(isinstance(name, str) and name for name in names):
            raise TypeError(
                f"Hook {hook.name!r} needs reports = ('probe',), names in a tuple. Received: {shown(names)}."
            )
        # Or one name would stand for two values.
        for name in {*names} & {*self._owners}:
            other = self._owners[name].hook.name
            raise ValueError(f"Hooks {other!r} and {hook.name!r} both report {name!r}. Give one of them another name.")
        if names:
            # Kept from the loop before, if the hook was in one: its state is the hook's own.
            hook.last_reported = kept = hook.last_reported or Reported(names)
            self._owners |= {name: Owner(hook, kept, index) for index, name in enumerate(names)}

    def forget(self, hook: Hook) -> None:
        """Forgets what a hook announces."""
        self._owners = {name: owner for name, owner in self._owners.items() if owner.hook is not hook}

    def begin(self, logged: Iterable[str]) -> None:
        """Begins a run.

        Args:
            logged: The names of what is logged besides.

        Raises:
            ValueError: If one of them is announced.
        """
        for name in {*logged} & {*self._owners}:
            raise ValueError(
                f"Two values would be logged as {name!r}: hook {self._owners[name].hook.name!r} reports one. Give that "
                "another name."
            )
        self.round, self.fresh, self._event, self._never = {}, {}, None, {*self._owners}

    def open(self, event: Event) -> None:
        """Begins to take values for an event, as `moment.report` gives them."""
        self._event = event

    def close(self) -> Mapping[str, float]:
        """Takes no more of them, and returns those of which nobody has been told."""
        fresh, self.fresh, self._event = self.fresh, {}, None
        return fresh

    def take(self, event: Event, step: int, /, *unnamed: object, **values: object) -> None:
        """Takes values; what `moment.report` does.

        Raises:
            RuntimeError: If it is not the time.
            TypeError: If a value is no number, or has no name.
            ValueError: If no hook announces a name.
        """
        if unnamed:
            raise TypeError(
                "moment.report(...) takes values by name, as in moment.report(probe=0.5), or of a dict, "
                f"moment.report(**values). Received: {', '.join(map(shown, unnamed))}."
            )
        # Of a moment that was kept, too: in which round it would count, nobody could say.
        if event is not self._event or event not in IN:
            known = ", ".join(f"on_{each}" for each in IN)
            raise RuntimeError(f"moment.report(...) is for {known}, while they run. Received: one of {event}.")
        for name, value in values.items():
            if name not in self._owners:
                close = difflib.get_close_matches(name, self._owners, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ValueError(
                    f"No hook announces {name!r}, and so nobody could wait for it. Write reports = ({name!r},) in the "
                    f"class of the hook. Announced: {', '.join(map(repr, self._owners)) or 'nothing'}.{hint}"
                )
            found = number(f"moment.report({name}=...)", value)
            _, kept, at = self._owners[name]
            # A part of the hook's state: what was reported is there after a kill.
            kept.values[at].assign(scalar(found, tf.float64))
            kept.steps[at].assign(scalar(step, tf.int64))
            self.round[name] = self.fresh[name] = found

    def settle(self, *, over: bool) -> None:
        """Ends a round; where an epoch is over, names what was announced and has never come."""
        self.round = {}
        if over and self._never:
            never = [name for name in self.names if name in self._never and self.last(name) is None]
            self._never = set()
            # After a whole epoch, because many values come at its end only.
            for name in never:
                LOGGER.warning(
                    "Hook %r announces %r and has not reported it in an epoch. If it never will, whoever waits for it "
                    "waits in vain: write moment.report(%s=...), or take it out of reports.",
                    self._owners[name].hook.name, name, name,
                )  # fmt: skip

    def last(self, name: str, *, since: int = -1) -> float | None:
        """Returns what was reported last under a name, if it was later than at a step, and else nothing."""
        _, kept, at = self._owners[name]
        return float(read(kept.values)[at]) if int(read(kept.steps)[at]) > since else None

    def latest(self, *, since: int = -1) -> dict[str, float]:
        """Returns all that was reported last, if it was later than at a step."""
        found = {name: self.last(name, since=since) for name in self.names}
        return {name: value for name, value in found.items() if value is not None}


def number(owner: str, value: object) -> float:
    """Returns a Python float of a number of any kind: Python's, NumPy's, or a tensor of shape `[]`."""
    if isinstance(value, keras.Variable):
        value = value.value
    # By TensorFlow, because NumPy takes bfloat16 for no number; float64 holds integers up to 2^53.
    if isinstance(value, tf.Tensor | tf.Variable) and (value.dtype.is_floating or value.dtype.is_integer):
        value = tf.cast(value, tf.float64).numpy()
    found = value if isinstance(value, int | float) else np.asarray(value)
    if isinstance(found, np.ndarray) and (found.shape != () or found.dtype.kind not in "biuf"):
        raise TypeError(f"{owner} needs a number. Received: {shown(value)}. Reduce it to one, as in float(value).")
    try:
        return float(found)
    except OverflowError:  # of Python's integers, which have no bound
        raise ValueError(f"{owner} needs a number below 1.8e308. Received: {shown(value)}.") from None
