"""The base class of all hooks."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import tensorflow as tf

from loop.errors.calls import explained
from loop.errors.later import later
from loop.errors.members import OF_HOOK, explaining_members
from loop.errors.names import check_name
from loop.errors.tracebacks import in_user_lines
from loop.events import Event, Moment
from loop.listeners.copied import deep_copy, shallow_copy
from loop.listeners.held import holds_state, variables_in
from loop.listeners.hook_methods import check_methods
from loop.listeners.made_with import note
from loop.numbered import step_number
from loop.triggers import At, Trigger

if TYPE_CHECKING:
    from loop.loop import Loop
    from loop.running.finished import Saved

PLAIN = (bool, int, float, str, type(None), np.ndarray)  # exactly: what TensorFlow never tracks


class Reported(tf.Module):
    """What a hook has reported last: a part of its state.

    Attributes:
        values: float64 `[names]`.
        steps: At which step each was reported, -1 if it never was: int64 `[names]`.

    Args:
        names: What the hook announces.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(name="reported")
        nothing = [float("nan")] * len(names)
        self.values = tf.Variable(nothing, dtype=tf.float64, trainable=False, name="values")
        self.steps = tf.Variable([-1] * len(names), dtype=tf.int64, trainable=False, name="steps")


@explaining_members(OF_HOOK)
class Hook(tf.Module):
    """Something that wants to know, or to change, how a run goes. Override the methods you need.

    State: a `tf.Variable` that `__init__` sets on the hook, itself or in a list or dict, is saved with every checkpoint
    and restored before `on_run_begin`; so is a Keras metric or `SeedGenerator`. Anything else set on the hook is not,
    unless it defines `get_state` and `set_state`.

    Attributes:
        name: The class name in snake_case unless given. Two hooks of a loop cannot have one name.
        every: The steps after which `on_step_end` is called. It filters that method only.
        reports: The names of the values that this hook reports.
        events: Events of your own that this hook sends, by `loop.hooks.emit("generator_updated")`, or listens to, with
            a method of that name, `on_generator_updated(moment)`.
        last_reported: What it has reported last; None unless it announces something and is in a loop.
        saves: Whether `on_settled` saves the state; those that do come after all others.
        everywhere: Of several workers: whether it is called in each of them, as a hook has to be that changes state or
            reports values; or else in the first one alone, as is enough for what shows or writes something. False for
            the hooks of this package that do only that.
        apart: The names of its variables that may differ between workers; those of the first one are saved.
        made_with: Its arguments, as far as they are plain, of a class that is made with `instead`.
        on_error: What becomes of the run when a method of this hook raises an `Exception`: "raise" ends it; "warn" logs
            it, once in a run, and goes on, and the hook is called again when something else happens; "disable" logs it
            and calls only `on_run_end` in the rest of the run. What `on_setup` raises is always raised: nothing is
            trained yet, and that is where hooks refuse what they were given. "raise" unless the class says otherwise,
            as `Progress` and others that only show or log do, or `on_error=` is given to `__init__`; a hook that saves,
            or has variables, cannot have another one. Those that have their own `on_error=` say what it means.

    Values: what a hook announces in `reports`, it may report in the course of a round, with `moment.report(probe=0.5)`.
    From then on in the round it is a value like those of the steps: in `moment.logs` of the hooks that come later, in
    `on_report` of all, in manifests and in `RunResult.logs`.

    A class may be made with `instead={...}`: what to do, by names of arguments that it does not have. It is said when
    one of these is given to it. The arguments of such a class are also checked by their annotations.

    Raises:
        TypeError: When a class defines an `on_...` method that no event calls, or one that is `async` or has a `yield`,
            or that cannot be called with what it is given; or `state_dict` in the place of `get_state`, or one of
            `get_state` and `set_state`, or one of `ahead` and `before_step`.
    """

    every: Trigger = At()  # not NEVER itself, so that who gives that can be told from who gives nothing

    reports: Sequence[str] = ()
    events: Sequence[str] = ()
    last_reported: Reported | None = None
    saves: bool = False
    everywhere: bool = True
    apart: Sequence[str] = ()
    made_with: Mapping[str, object] = {}
    on_error: Literal["raise", "warn", "disable"] = "raise"

    def __init__(self, name: str | None = None, *, on_error: Literal["raise", "warn", "disable"] | None = None) -> None:
        check_name(type(self).__name__, type(self).__name__ if name is None else name)
        super().__init__(name=name)
        # Else that of the class: a class that only shows something says "disable" for all its instances.
        if on_error is not None:
            self.on_error = on_error

    @in_user_lines
    def __init_subclass__(cls, instead: Mapping[str, str] | None = None) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            # Only a class's own `__init__`: what it inherits was wrapped with the class that defines it.
            explained(instead or {}, kinds=instead is not None, note=None if instead is None else note)(cls)
        # Half of a pair would show only when a run is resumed, after days.
        if (cls.get_state is Hook.get_state) != (cls.set_state is Hook.set_state):
            raise TypeError(f"{cls.__name__} defines one of get_state and set_state. A state needs both.")
        if cls.get_state is Hook.get_state and (named := {"state_dict", "load_state_dict"} & {*vars(cls)}):
            raise TypeError(
                f"{cls.__name__}.{min(named)} would never be called, and what it keeps would be gone after a resume. "
                "Name the two get_state(self) and set_state(self, state)."
            )
        if (cls.before_step is Hook.before_step) != (cls.ahead is Hook.ahead):
            raise TypeError(f"{cls.__name__} defines one of ahead and before_step, which is given what ahead returns.")
        check_methods(cls, cls.events)

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, tf.Variable) and isinstance(vars(self).get(name), tf.Variable):
            raise TypeError(
                f"{type(self).__name__}.{name} is a variable, which is saved and restored: another one in its place "
                f"would not be. Write self.{name}.assign(...)."
            )
        # TensorFlow tracks every list and dict, and then cannot save what was changed in ways it does not follow. It
        # would look for what it tracks, also where a number takes the place of another: three times as long.
        plain = isinstance(value, list | dict) and not holds_state(value)
        plain = plain or (type(value) in PLAIN and type(vars(self).get(name, self)) in PLAIN)
        object.__setattr__(self, name, value) if plain else super().__setattr__(name, value)

    def __copy__(self) -> Self:
        return shallow_copy(self, self.variables)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deep_copy(self, self.variables, memo)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The variables of TensorFlow that are set on it, also in modules, lists and dicts, each once."""
        # Not by `tf.Module`, which sorts the keys of each dict, and fails where these are of several kinds.
        return tuple(variables_in(vars(self)))

    @staticmethod
    def later() -> Any:
        """Declares, in the body of a class, an attribute that `on_setup` sets; read before that, it says so."""
        return later("A hook is set up when a loop with it runs; no loop has called its on_setup yet.")

    @staticmethod
    def step_number() -> tf.Tensor | None:
        """Returns the number of the train step, from 1, int64 `[]`, for what is called in a step while that is traced.

        In an evaluation step it is that of the next train step; elsewhere it is None.
        """
        return step_number()

    def handlers(self) -> dict[str, Callable[..., object]]:
        """Returns the methods that this hook overrides, or has for events of its own, by the event that calls them."""
        # By the class: an attribute of an instance would be seen here and not when the class was checked.
        mine = {event: getattr(type(self), f"on_{event}", None) for event in (*Event, *self.events)}
        return {e: getattr(self, f"on_{e}") for e, m in mine.items() if m is not getattr(Hook, f"on_{e}", None)}

    def functions_called(self) -> Sequence[Callable[..., object]]:
        """Returns the functions of the program that this hook calls, for one that calls some: the loop looks into them.

        Its own methods are looked into anyway.
        """
        return ()

    def around_run(self, loop: "Loop") -> contextlib.AbstractContextManager[object]:
        """Returns what is entered before anything else in `run()`, such as tracing, and left after all else.

        It is left with the exception that ends the run, if there is one.
        """
        return contextlib.nullcontext()

    def saved_place(self) -> "Saved | None":
        """Returns what `on_setup` would restore if it were called now; None if that is nothing, or nobody knows.

        For hooks that save. By this a loop that has nothing left to run knows it before it is traced.
        """
        return None

    def reason_to_end(self) -> str:
        """Returns why the run is over, as far as the variables of this hook say so, and else nothing.

        A hook that says something here has to ask for the end in `on_run_begin` as well. By this a loop whose run a
        hook has ended knows that it will end again at once, before it is traced.
        """
        return ""

    def get_state(self) -> Any:
        """Returns what is kept in Python, to be saved with every checkpoint: JSON values, bytes, and NumPy arrays and
        numbers; lists, tuples and dicts of them. What is returned is copied.

        Called at each save and evaluation, and wherever else it may have to be put back. To be defined together with
        `set_state`.
        """

    def set_state(self, state: Any) -> None:
        """Takes over what `get_state` returned: before `on_run_begin`, or when an evaluation was cut short."""

    def before_dry_run(self, directory: str) -> None:
        """Called before a dry run, for a hook that writes files: has to see that they go below `directory`, which is
        removed. When the dry run ends, the attributes of the hook are put back."""

    def is_inside(self) -> bool:
        """Returns whether a part of this hook is traced into the compiled loop, as `before_step` and `after_step` are.

        Asked when a run begins. A loop that was traced with other such hooks is traced again.
        """
        return type(self).before_step is not Hook.before_step or type(self).after_step is not Hook.after_step

    def ahead(self, step: int, count: int) -> Sequence[float] | np.ndarray:
        """Returns a number for each of the `count` steps that may be run after `step` in one call, for `before_step`.

        Called before each call of the compiled loop, which may return earlier; the steps are of one epoch.
        """
        return [0.0] * count

    def before_step(self, number: tf.Tensor) -> None:
        """Traced into the compiled loop, before the step: does something with its number of `ahead`, float32 `[]`.

        What it needs of the loop has to be there from `around_run` on. What it changes has to be in the state.
        """

    def after_step(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Traced into the compiled loop, after the step: returns whether the loop is to halt there, bool `[]`.

        Then `on_steps` is called as always, and `on_step_end` if `every` says so.

        Args:
            values: What the step has returned: `[]` by name.
        """
        return tf.constant(False)

    def skips(self) -> Collection[int]:
        """Returns the steps, from 1, whose batches are read and not trained on: such a step changes nothing.

        It is counted all the same, so that each batch has the step that it would have; it has no values and no
        `on_step_end`. Evaluations and ends of epochs come when they are due. Asked before each call of the compiled
        loop, so it has to be a function of the hook's state.
        """
        return ()

    def on_setup(self, loop: "Loop", moment: Moment) -> None:
        """Called once per `run()`, before anything else. A saved state is restored here.

        The loop may be kept: it can be asked all that `loop/running/facts.py` has, and told to `stop` or `roll_back`.
        """

    def on_run_begin(self, moment: Moment) -> None:
        """Called when the state is complete. A hook whose restored state says "over" asks for the end here."""

    def on_epoch_begin(self, moment: Moment) -> None:
        """Called before the first step of an epoch, and not when a run is resumed in mid-epoch."""

    def on_step_end(self, moment: Moment) -> None:
        """Called after each step that `every` asks for. `moment.logs` has the values of exactly this step."""

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        """Called with the values of *all* steps, some at a time; it never makes the compiled loop halt.

        Args:
            first_step: The number of the first of these k steps, from 1.
            values: Name to `[k]`, one value a step, for reading only: float64 of integers of 32 bits and more, which it
                holds up to 2^53, and of float64; float32 of all else. How many steps come at a time means nothing.
                Running results of metrics are not in it, and where steps return nothing else it is not called.
        """

    def on_report(self, moment: Moment) -> None:
        """Called when hooks have reported something, after all have heard of the event in which they did.

        That is `moment.event`; `moment.logs` has what was reported in it, and nothing else.
        """

    def on_eval_begin(self, moment: Moment) -> None:
        """Called before an evaluation. If that is abandoned for a stop, it is called again when it is redone."""

    def on_eval_end(self, moment: Moment) -> None:
        """Called after each evaluation. `moment.logs` has its results, such as `val_loss`."""

    def on_epoch_end(self, moment: Moment) -> None:
        """Called after the last step of an epoch and its evaluation; `moment.epoch` already counts the epoch."""

    def on_settled(self, moment: Moment) -> None:
        """Called when every hook is done with this step: the only place to save the state."""

    def on_run_end(self, moment: Moment) -> None:
        """Called in reverse order of hooks, always, with `moment.error` if an exception ends the run."""


def has_state(hook: Hook) -> bool:
    """Returns whether a hook keeps something in Python that it hands out to be saved."""
    return type(hook).get_state is not Hook.get_state
