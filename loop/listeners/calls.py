"""Who listens to what, and how they are called."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from loop.errors.readonly import ReadOnly
from loop.errors.tracebacks import add_note
from loop.events import Event, Moment
from loop.hook import Hook, has_state
from loop.listeners.failures import RAISE, Tolerance
from loop.listeners.had import Had, alone
from loop.listeners.hook_checks import of_one_run
from loop.listeners.hook_methods import uncalled
from loop.listeners.reports import Reports
from loop.listeners.returned import Returned, check_context
from loop.triggers import Halt
from loop.workers.cluster import here

if TYPE_CHECKING:
    from loop.loop import Loop

OPTIONAL = ("on_steps", "on_report", "skips")  # methods that cost something, or mean something, if a hook has them

# What TensorFlow and Python say of a tensor that was kept in a trace.
TRACED = ("SymbolicTensor", "symbolic tf.Tensor", "out of scope")
NO_VALUE = (
    "What a step keeps in Python has no value: it is traced once. Return it from the step, as in return "
    "{'loss': loss}, and read moment.logs['loss']."
)


class Calls:
    """Calls hooks for what they listen to, in order; `RUN_END` goes through them backwards.

    An event without a listener costs nothing. A hook may be taken out while others are told of an event: it hears
    nothing more.

    Attributes:
        hooks: Those there are, by name, in order.
        handlers: Who is called, by event and name.
        reports: What the hooks report.
        seconds: The time spent in each hook since `begin`, by its name.
        begun: The names of those who were told of the run that is under way.
        under_way: What hooks are being told just now.
        saves_here: Whether one that saves was told of the latest step, which it saves then, in mid-epoch, too.
    """

    def __init__(self) -> None:
        self.hooks: dict[str, Hook] = {}
        self.handlers: dict[str, dict[str, Callable[..., object]]] = {event: {} for event in Event}
        self.reports = Reports()
        self.seconds: dict[str, float] = {}
        self.begun: list[str] = []
        self.under_way: Moment | None = None
        self.saves_here = False
        self._tolerance, self._had, self._returned, self._process = Tolerance(), Had(), Returned(), 0
        self._within = 0.0  # seconds that hooks took which the one that is called has called, by an event of its own
        self._having: dict[str, dict[str, Hook]] = {method: {} for method in OPTIONAL}

    def add(self, hook: Hook) -> None:
        """Calls a hook from now on, after the others."""
        # First, because it may refuse the hook: then nothing was added.
        self.reports.announce(hook)
        self.hooks[hook.name] = hook
        # Asked once: a handler that is set on the hook later is not called.
        for event, handler in hook.handlers().items():
            self.handlers[event][hook.name] = handler
        for method, having in self._having.items():
            # By the class, so that a method of the base class, which does nothing, is never called.
            if getattr(type(hook), method) is not getattr(Hook, method):
                having[hook.name] = hook

    def remove(self, name: str) -> Hook:
        """Calls a hook no more, and returns it."""
        for handlers in self.handlers.values():
            handlers.pop(name, None)
        for having in self._having.values():
            having.pop(name, None)
        self.reports.forget(self.hooks[name])
        return self.hooks.pop(name)

    def mark(self) -> Callable[[], None]:
        """Returns what brings back the hooks that there are now, in their order."""
        hooks = [*self.hooks.values()]

        def go_back() -> None:
            for name in (*self.hooks,):
                self.remove(name)
            for hook in hooks:
                self.add(hook)

        return go_back

    def skipping(self) -> list[Hook]:
        """Returns the hooks that leave out batches."""
        return [*self._having["skips"].values()]

    def waiting(self) -> list[Hook]:
        """Returns the hooks that wait for steps."""
        return [self.hooks[name] for name in self.handlers[Event.STEP_END] if not self._tolerance.is_off(name)]

    @contextlib.contextmanager
    def around(self, loop: "Loop") -> Iterator[None]:
        """Goes through `around_run` of the hooks there are."""
        self._process = os.getpid()
        with contextlib.ExitStack() as entered:
            entered.enter_context(alone(loop, of_one_run))
            # A copy: a hook may add another one meanwhile.
            for hook in tuple(self.hooks.values()):
                if not self._is_elsewhere(hook.name):
                    entered.enter_context(check_context(hook.name, hook.around_run(loop)))
            try:
                yield
            finally:
                self.begun = []  # however the run has ended, and whether RUN_END could be sent

    @property
    def left(self) -> bool:
        """Whether this is a child that a hook has forked: nothing of the run is its own, and what it raises comes out.

        It has no threads of ours, for which it would wait, no lock, and no part in the files that are open.
        """
        return os.getpid() != self._process

    def begin(self, loop: "Loop", moment: Moment, is_called: Callable[[str], bool]) -> None:
        """Calls the listeners of `SETUP`, and notes who has been called, for `finish`; `is_called` as in `uncalled`."""
        # A hook that was switched off by an error is called again in the next run.
        self.begun, self.seconds, self._tolerance = [], {}, Tolerance()
        if self.reports.names:
            self.reports.begin([*loop.train_names, *(n for names in loop.evaluation_names.values() for n in names)])
        for name in tuple(self.hooks):
            if name in self.handlers[Event.SETUP]:  # not if one before it has removed it
                self._call(name, "on_setup", self.handlers[Event.SETUP][name], loop, moment)
            # Behind the call: a hook whose `on_setup` raised has not begun, and hears no RUN_END.
            self.begun.append(name)
        heard = [handler for handlers in self.handlers.values() for handler in handlers.values()]
        for hook in tuple(self.hooks.values()):
            for method, instead in uncalled(type(hook), is_called).items():
                if getattr(hook, method) not in heard:  # as of loop.on("epoch_end")(hook.epoch_end)
                    self._returned.tell_uncalled(hook.name, method, instead)
            self._had.note(hook, keeps=bool(hook.variables) or has_state(hook), begins=loop.step == 0)

    def send(self, event: Event, moment: Callable[[], Moment], *, halt: Halt | None = None) -> None:
        """Calls the listeners of `event` in order.

        Args:
            event: The event; not `SETUP` or `RUN_END`, see `begin` and `finish`.
            moment: Makes what they are told; called only if somebody listens.
            halt: For `STEP_END`: calls only those whose `every` is due here.
        """
        told = None
        self.saves_here = self.saves_here and halt is None
        self.reports.open(event)
        for name, handler in tuple(self.handlers[event].items()):
            hook = self.hooks.get(name)  # none, if one before it has removed it
            # The compiled loop halts for all who wait: each is asked whether it was for this one.
            if hook and (halt is None or hook.every.due(halt)):
                self.saves_here |= halt is not None and hook.saves
                told = told or moment()
                self._call(name, f"on_{event}", handler, told)
                told = None if self.reports.fresh else told  # whoever comes next is told of that, too
        # What is reported later is an error, because nobody would be told.
        if (fresh := self.reports.close()) and self._having["on_report"]:
            told = dataclasses.replace(moment(), logs=ReadOnly(fresh))
            for name, hook in tuple(self._having["on_report"].items()):
                self._call(name, "on_report", hook.on_report, told)

    def send_steps(self, first_step: int, values: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Calls every `on_steps`, if there are values. They are made only if somebody listens."""
        if self._having["on_steps"] and (of_steps := values()):
            for name, hook in tuple(self._having["on_steps"].items()):
                self._call(name, "on_steps", hook.on_steps, first_step, of_steps)

    def send_own(self, event: str, logs: Mapping[str, float]) -> None:
        """Calls the listeners of an event of one's own, with the moment of the event under way."""
        if self.under_way is not None:
            # With the step, and the `stop`, of the event in which it is sent.
            moment = dataclasses.replace(self.under_way, event=event, logs=ReadOnly(logs))
            for name, handler in tuple(self.handlers[event].items()):
                self._call(name, f"on_{event}", handler, moment)

    def save(self, moment: Callable[[], Moment]) -> list[Exception]:
        """Sends `SETTLED` to every hook that saves, whatever the others do; returns what they raised.

        What is no `Exception` is raised at once: whoever interrupts a save does not want the next one.
        """
        raised: list[Exception] = []
        told = None
        for name, handler in tuple(self.handlers[Event.SETTLED].items()):
            if name in self.hooks and self.hooks[name].saves:
                told = told or moment()
                try:
                    self._call(name, "on_settled", handler, told)
                # The next one saves, too: of two directories, one full disk must not leave both without the last step.
                except Exception as error:
                    if self.left:
                        raise
                    raised.append(error)
        return raised

    def settle(
        self, moment: Callable[[], Moment], capture: Callable[[], Callable[[], None]]
    ) -> list[Exception | SystemExit]:
        """Sends `SETTLED` to every hook that does not save, whatever the others do; returns what they raised.

        A hook that raises may have changed half of what it wanted to. So the state is held for each that may end the
        run, which takes some 2 us a variable, and what it changed is put back; the others are called all the same.

        Args:
            moment: Makes what they are told; called only if somebody listens.
            capture: Holds the present state, and returns what puts it back.
        """
        raised: list[Exception | SystemExit] = []
        told = None
        for name, handler in tuple(self.handlers[Event.SETTLED].items()):
            hook = self.hooks.get(name)  # none, if one before it has removed it
            if hook is None or hook.saves:
                continue
            told = told or moment()
            back = capture() if hook.on_error == RAISE else None
            try:
                self._call(name, "on_settled", handler, told)
            # Not a KeyboardInterrupt, of somebody who does not want to wait for the others.
            except (Exception, SystemExit) as error:
                # Of a hook that does not end runs, it is a signal: the state may be half-changed.
                if back is None or self.left:
                    raise
                back()
                raised.append(error)
        return raised

    def finish(self, moment: Moment) -> list[BaseException]:
        """Sends `RUN_END` backwards to every hook that began, whatever the others do; returns what they raised."""
        raised: list[BaseException] = []
        # Backwards, as contexts are left: what a hook built on another one is taken down before that.
        for name in reversed([name for name in self.begun if name in self.hooks]):
            try:
                if name in self.handlers[Event.RUN_END]:
                    self._call(name, "on_run_end", self.handlers[Event.RUN_END][name], moment)
            except BaseException as error:
                raised.append(error)
        self.begun = []
        return raised

    def _is_elsewhere(self, name: str) -> bool:
        """Returns whether a hook is called in the first worker alone, and this is another one."""
        return not here().is_chief and name in self.hooks and not self.hooks[name].everywhere

    def _call(self, name: str, method: str, handler: Callable[..., object], *args: object) -> None:
        # RUN_END even to a hook that is off: it may hold files open.
        if (self._tolerance.is_off(name) and method != "on_run_end") or (
            name in self.hooks and self._is_elsewhere(name)
        ):
            return
        began, before, within = time.perf_counter(), self.under_way, self._within
        self._within = 0.0
        # `on_steps` has no moment: then it is that of the event around it, if there is one.
        self.under_way = next((each for each in args if isinstance(each, Moment)), before)
        try:
            if (given := handler(*args)) is not None:
                self._returned.tell(name, method, handler, given)
        except BaseException as error:
            # A hook that has taken itself out has no `on_error` any more: what it raises comes out.
            if name in self.hooks and not self.left and self._tolerance.takes(self.hooks[name], method, error):
                return
            if _is_of_trace(error):
                add_note(error, NO_VALUE)
            add_note(error, f"Raised by hook {name!r} in {method}.")
            raise
        finally:
            took = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + took - self._within  # or it would count twice
            self.under_way, self._within = before, within + took


def _is_of_trace(error: BaseException) -> bool:
    with contextlib.suppress(Exception):  # an exception of a program may have no text
        return any(word in str(error) for word in TRACED)
    return False
