"""The hooks of a loop: in order, by name, and called for what they listen to."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import keras
import tensorflow as tf

from loop.errors.instead import instead_of_hook
from loop.errors.kinds import shown
from loop.errors.members import OF_HOOKS, explaining_members
from loop.errors.names import is_word
from loop.errors.tracebacks import in_user_lines
from loop.events import Event
from loop.handles import keys
from loop.hook import Hook
from loop.listeners.calls import Calls
from loop.listeners.held import hold_of_keras
from loop.listeners.hook_checks import check_hook, check_late
from loop.listeners.hook_methods import GIVEN, MOMENT, check_called, check_own_event, instead_of_event, is_own_event
from loop.listeners.reports import Reports, number
from loop.logs import LOGGER
from loop.triggers import NEVER, Trigger

TAKEN_OUT = (
    "Hook %r was taken out in the course of a run, which no checkpoint knows: the program that goes on from one has it "
    "again. Let it do nothing from here on instead, by what a tf.Variable says that its __init__ sets on it."
)
Callback: TypeAlias = keras.callbacks.Callback
Function = TypeVar("Function", bound=Callable[..., object])


def _several(hooks: Iterable[Hook | Callback] | None) -> Iterable[Hook | list[Callback]]:
    """Returns the hooks, callbacks in a row together. Raises `TypeError` if it is one and no list of them."""
    if hooks is None:
        return ()
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable) or isinstance(hooks, str | Mapping):
        instead = "" if isinstance(hooks, Hook | Mapping) else f" {instead_of_hook(hooks)}"
        raise TypeError(f"hooks=... needs a list of hooks, as in hooks=[hook]. Received: {shown(hooks)}.{instead}")
    # In one hook, which calls them as `fit` calls a list of them.
    grouped = itertools.groupby(hooks, lambda each: isinstance(each, keras.callbacks.Callback))
    return [each for is_callback, group in grouped for each in ([list(group)] if is_callback else group)]


def _wrapped(callbacks: list[Callback], taken: Collection[str]) -> Hook:
    """Returns a hook that runs Keras' callbacks. It is the one that users can make themselves."""
    # Here, because `hooks` imports `loop`; and only where a callback is given.
    from hooks import KerasCallbacks

    # One more than there are hooks, so that one of them is free.
    names = ("keras_callbacks", *(f"keras_callbacks_{i}" for i in range(2, len(taken) + 3)))
    return KerasCallbacks(callbacks, name=next(name for name in names if name not in taken))


class FunctionHook(Hook):
    """One function that is called for one event; what `loop.on` makes of the function it decorates."""

    def __init__(
        self, function: Callable[..., object], event: Event | str, every: Trigger, reports: Sequence[str], name: str
    ) -> None:
        super().__init__(name=name)
        self.function, self.event, self.every = function, event, every
        self.reports = reports if isinstance(reports, str) else [*reports]  # not a tuple, which would be tracked

    def handlers(self) -> dict[str, Callable[..., object]]:
        return {self.event: self.function}


def _name_of(function: Callable[..., object], event: Event | str, taken: Mapping[str, Hook]) -> str:
    """Returns what to call a function: by its own name, unless it has none, or hears of another event already."""
    own = getattr(function, "__name__", "")
    if is_word(own):
        there = taken.get(own)
        again = isinstance(there, FunctionHook) and there.function is function and there.event != event
        return f"{own}_{event}" if again else own
    # A lambda has none, and TensorFlow takes those of ASCII alone, where Python takes others, too.
    first = f"on_{event}" if is_word(f"on_{event}") else "on_event"
    return next(name for name in (first, *(f"{first}_{i}" for i in range(2, len(taken) + 3))) if name not in taken)


@explaining_members(OF_HOOKS)
class HookRegistry:
    """Hooks in the order in which they are called; `RUN_END` goes through them backwards.

    Attributes:
        calls: What calls them.
        kept: The keys of variables that are in no state, and that a hook saves with its own.

    Args:
        hooks: The first hooks, as if given to `add` one by one.
    """

    @in_user_lines
    def __init__(self, hooks: Sequence[Hook | Callback] = ()) -> None:
        self.calls, self.kept = Calls(), set[int]()
        for hook in _several(hooks):
            self.add(_wrapped(hook, self.calls.hooks) if isinstance(hook, list) else hook)

    def __iter__(self) -> Iterator[Hook]:
        # Of a copy, because hooks may be added or removed meanwhile.
        return iter(tuple(self.calls.hooks.values()))

    def __len__(self) -> int:
        return len(self.calls.hooks)

    def __getitem__(self, name: str) -> Hook:
        if not isinstance(name, str) or name not in self.calls.hooks:
            raise KeyError(f"No hook is named {shown(name)}. There are: {', '.join(self.calls.hooks) or 'none'}.")
        return self.calls.hooks[name]

    def keep(self, variables: Iterable[tf.Variable]) -> None:
        """Takes in that a hook saves these variables, and so may change them, though they are in no `state=`."""
        self.kept |= keys(variables)

    def inside(self) -> list[Hook]:
        """Returns the hooks of which a part is traced into the compiled loop."""
        return [hook for hook in self if hook.is_inside()]

    def next_skip(self, step: int) -> int | None:
        """Returns the first step later than `step` whose batch is not trained on, or None."""
        return min((at for hook in self.calls.skipping() for at in hook.skips() if at > step), default=None)

    @property
    def reports(self) -> Reports:
        """What the hooks report."""
        return self.calls.reports

    def apart(self) -> tuple[str, ...]:
        """Returns what the paths begin with of variables that may differ between workers; the chief's are saved."""
        theirs = [f"hooks/{hook.name}/{each}" for hook in self for each in hook.apart]
        return (*theirs, *(f"hooks/{hook.name}/" for hook in self if not hook.everywhere), "clock/seconds")

    @property
    def seconds(self) -> dict[str, float]:
        """The time spent in each hook since `begin`, by its name."""
        return dict(self.calls.seconds)

    @in_user_lines
    def add(self, hook: Hook | Callback) -> Hook:
        """Adds a hook behind the others and returns it. A callback of Keras becomes a `KerasCallbacks`.

        Raises:
            TypeError: If it is not a `Hook`, was made without `Hook.__init__`, or has a method that would never run.
            ValueError: If its name is taken, it has an `on_step_end` that would never be called, or an `on_error` that
                it cannot have.
            RuntimeError: If it has a state, or a part in the compiled loop, and a run is under way, which has neither.
        """
        if isinstance(hook, keras.callbacks.Callback):
            hook = _wrapped([hook], self.calls.hooks)
        hook = check_hook(hook, self.calls.hooks)
        if self.calls.begun or self.calls.under_way:
            check_late(hook)
        for event in hook.events:
            self.declare(event)
        hold_of_keras(hook)
        self.calls.add(hook)
        return hook

    @in_user_lines
    def remove(self, name: str) -> Hook:
        """Takes out the hook of that name and returns it; it hears nothing more, not even `RUN_END`.

        Raises:
            KeyError: If there is none; the message lists those there are.
            RuntimeError: If it saves the state, and a run is under way: what it is saving would be lost.
        """
        if self[name].saves and name in self.calls.begun:
            raise RuntimeError(
                f"Hook {name!r} saves the state of the run that is under way. Remove it when that has ended."
            )
        if name in self.calls.begun and any(hook.saves for hook in self):
            LOGGER.warning(TAKEN_OUT, name)
        return self.calls.remove(name)

    @in_user_lines
    def on(
        self, event: Event | str, every: Trigger = NEVER, *, reports: Sequence[str] = ()
    ) -> Callable[[Function], Function]:
        """Decorates a function that is called with the `Moment` of each such event, and returns it unchanged.

        Args:
            event: The event, or one that is declared. A function for `SETUP` is called with the loop and the moment.
            every: For `STEP_END`, and only for it: the steps after which the function is called.
            reports: The names of values that the function reports.

        Raises:
            ValueError: If `every` is missing for `STEP_END`, or given for another event.
        """
        if not isinstance(event, str) or event not in self.calls.handlers:  # a list, say, has no hash
            known = ", ".join(
                [*(f"Event.{each.name}" for each in Event), *map(repr, [*self.calls.handlers][len(Event) :])]
            )
            own = f" One of your own is declared first: loop.hooks.declare({event!r})." if is_own_event(event) else ""
            raise ValueError(
                f"on(event) needs one of {known}. Received: {shown(event)}.{instead_of_event(event) or own}"
            )
        # A text such as "epoch_end" is the event, too.
        event = Event(event) if event in tuple(Event) else event
        if (event is Event.STEP_END) == (every is NEVER):
            need = (
                "needs every=..., as in every=Every(steps=100)" if every is NEVER else "comes unfiltered: omit every="
            )
            raise ValueError(f"on({event}) {need}. Received: every={shown(every)}.")

        @in_user_lines
        def register(function: Function) -> Function:
            if not callable(function):
                raise TypeError(f"on({event}) decorates a function. Received: {shown(function)}.")
            check_called(f"A function for {event!s}", function, GIVEN.get(f"on_{event}", MOMENT))
            self.add(FunctionHook(function, event, every, reports, _name_of(function, event, self.calls.hooks)))
            return function

        return register

    @in_user_lines
    def declare(self, event: str) -> None:
        """Declares an event of one's own; those in `Hook.events` are declared when the hook is added.

        Raises:
            ValueError: If it cannot be told from those that the loop sends, or part of the name of a method.
        """
        check_own_event(event)
        self.calls.handlers.setdefault(event, {})

    @in_user_lines
    def emit(self, event: str, **values: object) -> None:
        """Sends an event of one's own, at once: calls its listeners in order, with the moment of the event under way.

        To be called by a hook, while it is called. What a listener raises comes out here, unless it has an `on_error`.

        Args:
            event: The event, declared.
            values: Numbers, which will be the `logs` of the moment.

        Raises:
            ValueError: If it is not declared, or one that the loop sends.
            RuntimeError: If no hook is being called.
            TypeError: If a value is no number.
        """
        if not isinstance(event, str) or event in tuple(Event) or event not in self.calls.handlers:
            own = [name for name in self.calls.handlers if name not in tuple(Event)]
            raise ValueError(
                f"emit(event) sends an event that is declared, as by loop.hooks.declare('generator_updated'). "
                f"Received: {shown(event)}. Declared: {', '.join(map(repr, own)) or 'none'}."
            )
        if self.calls.under_way is None:
            raise RuntimeError(f"emit({event!r}) is for hooks, while they are called. Received: none is.")
        # Converted before anybody is called: a value that is no number reaches no listener.
        logs = {name: number(f"emit({event!r}, {name}=...)", value) for name, value in values.items()}
        self.calls.send_own(event, logs)

    def next_stop(self, step: int) -> int | None:
        """Returns the earliest step later than `step` for which a hook waits, or None."""
        wanted = {hook.name: hook.every.next_after(step) for hook in self.calls.waiting()}
        for name, at in wanted.items():
            if at is not None and at <= step:  # a trigger of the program's own: the loop would stand still
                raise ValueError(
                    f"The trigger of hook {name!r} returns the next step that it wants, a later one, or None. "
                    f"Received: next_after({step}) == {at!r}, of {self[name].every!r}."
                )
        return min((at for at in wanted.values() if at is not None), default=None)

    def next_time(self, seconds: float) -> float | None:
        """Returns the earliest training time later than `seconds` for which a hook waits, or None."""
        wanted = [hook.every.next_time(seconds) for hook in self.calls.waiting()]
        return min((at for at in wanted if at is not None), default=None)
