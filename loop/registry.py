"""The hooks of a loop: in order, by name, and called for what they listen to."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import keras
import numpy as np

from loop.errors.instead import instead_of_hook, never_runs
from loop.errors.kinds import shown, wanted
from loop.errors.readonly import ReadOnly
from loop.errors.tracebacks import add_note, in_user_lines
from loop.events import Event, Moment
from loop.failures import RAISE, Tolerance, check_on_error
from loop.hook import Hook, check_own_event, is_own_event
from loop.reports import Reports, number
from loop.tf_internals import is_initialized
from loop.triggers import NEVER, Halt, Trigger
from loop.workers.cluster import here

if TYPE_CHECKING:
    from loop.loop import Loop

Callback: TypeAlias = keras.callbacks.Callback
Function = TypeVar("Function", bound=Callable[..., object])


def _several(hooks: Iterable[Hook | Callback] | None) -> Iterable[Hook | list[Callback]]:
    """Returns the hooks, callbacks in a row together. Raises `TypeError` if it is one and no list of them."""
    if hooks is None:
        return ()
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable) or isinstance(hooks, str | Mapping):
        instead = "" if isinstance(hooks, Hook | Mapping) else f" {instead_of_hook(hooks)}"
        raise TypeError(f"hooks=... needs a list of hooks, as in hooks=[hook]. Received: {shown(hooks)}.{instead}")
    grouped = itertools.groupby(hooks, lambda each: isinstance(each, keras.callbacks.Callback))
    return [each for is_callback, group in grouped for each in ([list(group)] if is_callback else group)]


def _wrapped(callbacks: list[Callback], taken: Collection[str]) -> Hook:
    """Returns a hook that runs Keras' callbacks. It is the one that users can make themselves."""
    from hooks import KerasCallbacks

    names = ("keras_callbacks", *(f"keras_callbacks_{i}" for i in range(2, len(taken) + 3)))
    return KerasCallbacks(callbacks, name=next(name for name in names if name not in taken))


class FunctionHook(Hook):
    """One function that is called for one event; what `loop.on` makes of the function it decorates."""

    def __init__(
        self, function: Callable[..., object], event: Event | str, every: Trigger, reports: Sequence[str] = ()
    ) -> None:
        name = getattr(function, "__name__", "")
        super().__init__(name=name if name.isidentifier() else f"on_{event}")
        self.function, self.event, self.every = function, event, every
        self.reports = reports if isinstance(reports, str) else [*reports]  # not a tuple, which would be tracked

    def handlers(self) -> dict[str, Callable[..., object]]:
        return {self.event: self.function}


class HookRegistry:
    """Hooks in the order in which they are called; `RUN_END` goes through them backwards.

    An event without a listener costs nothing.

    Attributes:
        reports: What the hooks report.

    Args:
        hooks: The first hooks, as if given to `add` one by one.
    """

    @in_user_lines
    def __init__(self, hooks: Sequence[Hook | Callback] = ()) -> None:
        self._hooks: dict[str, Hook] = {}
        self._handlers: dict[str, dict[str, Callable[..., object]]] = {event: {} for event in Event}
        self._under_way: Moment | None = None  # what hooks are being told just now
        self._of_steps: dict[str, Hook] = {}  # those that define on_steps
        self._of_reports: dict[str, Hook] = {}  # those that define on_report
        self._skipping: dict[str, Hook] = {}  # those that define skips
        self.reports = Reports()
        self._begun: list[str] = []
        self._tolerance = Tolerance()
        self._seconds: dict[str, float] = {}
        for hook in _several(hooks):
            self.add(_wrapped(hook, self._hooks) if isinstance(hook, list) else hook)

    def __iter__(self) -> Iterator[Hook]:
        return iter(tuple(self._hooks.values()))

    def __len__(self) -> int:
        return len(self._hooks)

    def __getitem__(self, name: str) -> Hook:
        if not isinstance(name, str) or name not in self._hooks:
            raise KeyError(f"No hook is named {shown(name)}. There are: {', '.join(self._hooks) or 'none'}.")
        return self._hooks[name]

    def inside(self) -> list[Hook]:
        """Returns the hooks of which a part is traced into the compiled loop."""
        return [hook for hook in self if hook.is_inside()]

    def next_skip(self, step: int) -> int | None:
        """Returns the first step later than `step` whose batch is not trained on, or None."""
        return min((at for hook in self._skipping.values() for at in hook.skips() if at > step), default=None)

    def apart(self) -> tuple[str, ...]:
        """Returns what the paths begin with of variables that may differ between workers; the chief's are saved."""
        theirs = [f"hooks/{hook.name}/{each}" for hook in self for each in hook.apart]
        return (*theirs, *(f"hooks/{hook.name}/" for hook in self if not hook.everywhere), "clock/seconds")

    @property
    def seconds(self) -> dict[str, float]:
        """The time spent in each hook since `begin`, by its name."""
        return dict(self._seconds)

    @in_user_lines
    def add(self, hook: Hook | Callback) -> Hook:
        """Adds a hook behind the others and returns it. A callback of Keras becomes a `KerasCallbacks`.

        Raises:
            TypeError: If it is not a `Hook`, was made without `Hook.__init__`, or has a method that would never run.
            ValueError: If its name is taken, it has an `on_step_end` that would never be called, or an `on_error` that
                it cannot have.
        """
        if isinstance(hook, keras.callbacks.Callback):
            hook = _wrapped([hook], self._hooks)
        if not isinstance(hook, Hook):
            kind = "the class itself, not an instance of it" if isinstance(hook, type) else f"a {type(hook).__name__}"
            raise TypeError(f"A hook must be an instance of loop.Hook. Received: {kind}. {instead_of_hook(hook)}")
        if not is_initialized(hook):
            raise TypeError(f"{type(hook).__name__}.__init__ must call super().__init__() before anything else.")
        if self._hooks.get(hook.name) is hook:
            raise ValueError(f"Hook {hook.name!r} is there already. Give it once.")
        if hook.name in self._hooks:
            raise ValueError(
                f"There is already a hook named {hook.name!r} ({type(self._hooks[hook.name]).__name__}); a name is the "
                f"key of a hook's saved state. Give this {type(hook).__name__} another one: name=..., or rename "
                "the function."
            )
        check_on_error(hook)
        handlers = hook.handlers()
        for event, handler in handlers.items():
            if why := never_runs(handler):
                raise TypeError(f"What hook {hook.name!r} has for {event} would never run: {why}")
        if wanted(Trigger, hook.every):
            raise TypeError(
                f"Hook {hook.name!r} needs a trigger, such as Every(steps=5). Received every={shown(hook.every)}."
            )
        if Event.STEP_END in handlers and hook.every is Hook.every:
            raise ValueError(
                f"Hook {hook.name!r} has on_step_end but does not say for which steps. "
                "Set `every`, as in every = Every(steps=100); for the values of all steps at low cost, define on_steps."
            )
        if not hook.everywhere and (hook.reports or hook.is_inside()):
            raise ValueError(
                f"Hook {hook.name!r} reports values, or has a part in the compiled loop, so that all workers need it. "
                "Received: everywhere=False. Leave it out."
            )
        self.reports.announce(hook)
        for event in hook.events:
            self.declare(event)
        self._hooks[hook.name] = hook
        for event, handler in handlers.items():
            self._handlers[event][hook.name] = handler
        if type(hook).on_steps is not Hook.on_steps:
            self._of_steps[hook.name] = hook
        if type(hook).on_report is not Hook.on_report:
            self._of_reports[hook.name] = hook
        if type(hook).skips is not Hook.skips:
            self._skipping[hook.name] = hook
        return hook

    @in_user_lines
    def remove(self, name: str) -> Hook:
        """Takes out the hook of that name and returns it; it hears nothing more, not even `RUN_END`.

        Raises:
            KeyError: If there is none; the message lists those there are.
            RuntimeError: If it saves the state, and a run is under way: what it is saving would be lost.
        """
        if self[name].saves and name in self._begun:
            raise RuntimeError(
                f"Hook {name!r} saves the state of the run that is under way. Remove it when that has ended."
            )
        for handlers in self._handlers.values():
            handlers.pop(name, None)
        self._of_steps.pop(name, None)
        self._of_reports.pop(name, None)
        self._skipping.pop(name, None)
        self.reports.forget(self._hooks[name])
        return self._hooks.pop(name)

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
        if event not in self._handlers:
            known = ", ".join([*(f"Event.{each.name}" for each in Event), *map(repr, [*self._handlers][len(Event) :])])
            own = f" One of your own is declared first: loop.hooks.declare({event!r})." if is_own_event(event) else ""
            raise ValueError(f"on(event) needs one of {known}. Received: {shown(event)}.{own}")
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
            self.add(FunctionHook(function, event, every, reports))
            return function

        return register

    @in_user_lines
    def declare(self, event: str) -> None:
        """Declares an event of one's own; those in `Hook.events` are declared when the hook is added.

        Raises:
            ValueError: If it cannot be told from those that the loop sends, or part of the name of a method.
        """
        check_own_event(event)
        self._handlers.setdefault(event, {})

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
        if event in tuple(Event) or event not in self._handlers:
            own = [name for name in self._handlers if name not in tuple(Event)]
            raise ValueError(
                f"emit(event) sends an event that is declared, as by loop.hooks.declare('generator_updated'). "
                f"Received: {shown(event)}. Declared: {', '.join(map(repr, own)) or 'none'}."
            )
        if self._under_way is None:
            raise RuntimeError(f"emit({event!r}) is for hooks, while they are called. Received: none is.")
        logs = ReadOnly({name: number(f"emit({event!r}, {name}=...)", value) for name, value in values.items()})
        moment = dataclasses.replace(self._under_way, event=event, logs=logs)
        for name, handler in tuple(self._handlers[event].items()):
            self._call(name, f"on_{event}", handler, moment)

    @contextlib.contextmanager
    def around(self, loop: "Loop") -> Iterator[None]:
        """Goes through `around_run` of the hooks there are."""
        with contextlib.ExitStack() as entered:
            for hook in self:
                if not self._is_elsewhere(hook.name):
                    entered.enter_context(hook.around_run(loop))
            yield

    def begin(self, loop: "Loop", moment: Moment) -> None:
        """Calls the listeners of `SETUP`, and notes who has been called, for `finish`."""
        self._begun, self._seconds, self._tolerance = [], {}, Tolerance()
        if self.reports.names:
            self.reports.begin([*loop.train_names, *(n for names in loop.evaluation_names.values() for n in names)])
        for name in tuple(self._hooks):
            if name in self._handlers[Event.SETUP]:  # not if one before it has removed it
                self._call(name, "on_setup", self._handlers[Event.SETUP][name], loop, moment)
            self._begun.append(name)

    def send(
        self, event: Event, moment: Callable[[], Moment], *, halt: Halt | None = None, saves: bool | None = None
    ) -> None:
        """Calls the listeners of `event` in order.

        Args:
            event: The event; not `SETUP` or `RUN_END`, see `begin` and `finish`.
            moment: Makes what they are told; called only if somebody listens.
            halt: For `STEP_END`: calls only those whose `every` is due here.
            saves: Calls only hooks that save, or only those that do not; None: all.
        """
        told = None
        self.reports.open(event)
        for name, handler in tuple(self._handlers[event].items()):
            hook = self._hooks.get(name)  # none, if one before it has removed it
            if hook and (halt is None or hook.every.due(halt)) and saves in (None, hook.saves):
                told = told or moment()
                self._call(name, f"on_{event}", handler, told)
                told = None if self.reports.fresh else told  # whoever comes next is told of that, too
        if (fresh := self.reports.close()) and self._of_reports:
            told = dataclasses.replace(moment(), logs=ReadOnly(fresh))
            for name, hook in tuple(self._of_reports.items()):
                self._call(name, "on_report", hook.on_report, told)

    def send_steps(self, first_step: int, values: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Calls every `on_steps`, if there are values. They are made only if somebody listens."""
        if self._of_steps and (of_steps := values()):
            for name, hook in tuple(self._of_steps.items()):
                self._call(name, "on_steps", hook.on_steps, first_step, of_steps)

    def save(self, moment: Callable[[], Moment]) -> list[Exception]:
        """Sends `SETTLED` to every hook that saves, whatever the others do; returns what they raised.

        What is no `Exception` is raised at once: whoever interrupts a save does not want the next one.
        """
        raised: list[Exception] = []
        told = None
        for name, handler in tuple(self._handlers[Event.SETTLED].items()):
            if name in self._hooks and self._hooks[name].saves:
                told = told or moment()
                try:
                    self._call(name, "on_settled", handler, told)
                except Exception as error:
                    raised.append(error)
        return raised

    def settle(
        self, moment: Callable[[], Moment], hold: Callable[[], Callable[[], None]]
    ) -> list[Exception | SystemExit]:
        """Sends `SETTLED` to every hook that does not save, whatever the others do; returns what they raised.

        A hook that raises may have changed half of what it wanted to. So the state is held for each that may end the
        run, which takes some 5 us a variable, and what it changed is put back; the others are called all the same.

        Args:
            moment: Makes what they are told; called only if somebody listens.
            hold: Holds the present state, and returns what puts it back.
        """
        raised: list[Exception | SystemExit] = []
        told = None
        for name, handler in tuple(self._handlers[Event.SETTLED].items()):
            hook = self._hooks.get(name)  # none, if one before it has removed it
            if hook is None or hook.saves:
                continue
            told = told or moment()
            back = hold() if hook.on_error == RAISE else None
            try:
                self._call(name, "on_settled", handler, told)
            except (Exception, SystemExit) as error:
                if back is None:  # a hook that does not end runs, and so a signal: the state may be half-changed
                    raise
                back()
                raised.append(error)
        return raised

    def finish(self, moment: Moment) -> list[BaseException]:
        """Sends `RUN_END` backwards to every hook that began, whatever the others do; returns what they raised."""
        raised: list[BaseException] = []
        for name in reversed([name for name in self._begun if name in self._hooks]):
            try:
                if name in self._handlers[Event.RUN_END]:
                    self._call(name, "on_run_end", self._handlers[Event.RUN_END][name], moment)
            except BaseException as error:
                raised.append(error)
        self._begun = []
        return raised

    def next_stop(self, step: int) -> int | None:
        """Returns the earliest step later than `step` for which a hook waits, or None."""
        wanted = [hook.every.next_after(step) for hook in self._waiting()]
        return min((at for at in wanted if at is not None), default=None)

    def next_time(self, seconds: float) -> float | None:
        """Returns the earliest training time later than `seconds` for which a hook waits, or None."""
        wanted = [hook.every.next_time(seconds) for hook in self._waiting()]
        return min((at for at in wanted if at is not None), default=None)

    def _waiting(self) -> list[Hook]:
        return [self._hooks[name] for name in self._handlers[Event.STEP_END] if not self._tolerance.is_off(name)]

    def _is_elsewhere(self, name: str) -> bool:
        """Returns whether a hook is called in the first worker alone, and this is another one."""
        return not here().is_chief and name in self._hooks and not self._hooks[name].everywhere

    def _call(self, name: str, method: str, handler: Callable[..., object], *args: object) -> None:
        if (self._tolerance.is_off(name) and method != "on_run_end") or (
            name in self._hooks and self._is_elsewhere(name)
        ):
            return
        began, before = time.perf_counter(), self._under_way
        self._under_way = next((each for each in args if isinstance(each, Moment)), before)
        try:
            handler(*args)
        except BaseException as error:
            if name in self._hooks and self._tolerance.takes(self._hooks[name], method, error):
                return
            add_note(error, f"Raised by hook {name!r} in {method}.")
            raise
        finally:
            self._under_way = before
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began
