"""What something has to be to be a hook of a loop."""

import inspect
import logging
from collections.abc import Callable, Mapping

import keras
import tensorflow as tf

from loop.errors.instead import instead_of_hook, never_runs
from loop.errors.kinds import shown, wanted
from loop.errors.theirs import of_user
from loop.events import Event
from loop.hook import Hook, has_state
from loop.listeners.failures import check_on_error
from loop.listeners.hook_methods import check_attributes
from loop.tf_internals import is_initialized
from loop.triggers import Trigger

log = logging.getLogger("exactloop")
HELD = (tf.Variable, keras.Variable, keras.Metric)
UNREAD = (
    "Hook %r has every=%r, which is for on_step_end, and it has none: its other methods are called each time. Write "
    "on_step_end, or look at moment.epoch or moment.step in these, as in: if moment.epoch %% 5 == 0."
)
BY_TIME = (
    "Hook %r has a state, or reports values, and every=%r, which comes at other steps in each run: two that are not "
    "interrupted differ, too. Write Every(steps=100), say."
)


def check_late(hook: Hook) -> None:
    """Raises `RuntimeError` if a hook cannot be added while a run is under way, whose state is gathered and traced."""
    if hook.variables or has_state(hook) or hook.reports or hook.is_inside():
        raise RuntimeError(
            f"Hook {hook.name!r} has a state, reports values, or has a part in the compiled loop, and the run that is "
            "under way would have none of it. Add it before run(), or in `around_run` of another hook."
        )


def of_one_run(hook: Hook) -> list[tuple[str, object]]:
    """Returns what cannot be in two runs at once, and what to call it: what is set up for a run, or keeps what it sees.

    That is a hook, or callbacks of Keras that it has.
    """
    mine, begins = type(hook), ("around_run", "on_setup", "on_run_begin")
    is_set_up = any(getattr(mine, name) is not getattr(Hook, name) for name in begins)
    there = [(f"Hook {hook.name!r}", hook)] if is_set_up or hook.variables or has_state(hook) else []
    return there + [(f"A callback of hook {hook.name!r}", each) for each in callbacks_of(hook)]


def callbacks_of(hook: Hook) -> list[keras.callbacks.Callback]:
    """Returns the callbacks of Keras that a hook has in lists."""
    held = (each for value in vars(hook).copy().values() if isinstance(value, list) for each in value)
    return [each for each in held if isinstance(each, keras.callbacks.Callback)]


def check_hook(hook: object, taken: Mapping[str, Hook]) -> Hook:
    """Returns something, which is a hook that can be added to others.

    Args:
        hook: What was given.
        taken: The others, by name.

    Raises:
        TypeError: If it is not a `Hook`, was made without `Hook.__init__`, or has a method that would never run.
        ValueError: If its name is taken, it has an `on_step_end` that would never be called, or an `on_error` or
            `everywhere` that it cannot have.
    """
    if not isinstance(hook, Hook):
        kind = "the class itself, not an instance of it" if isinstance(hook, type) else f"a {type(hook).__name__}"
        raise TypeError(f"A hook must be an instance of loop.Hook. Received: {kind}. {instead_of_hook(hook)}")
    if type(hook).__hash__ is None:
        raise TypeError(
            f"{type(hook).__name__} defines __eq__, as dataclasses do, and a hook is known by which one it is. Write "
            "@dataclasses.dataclass(eq=False), or leave __eq__ out."
        )
    # Before its name is asked for, which raises something else then.
    if not is_initialized(hook):
        raise TypeError(f"{type(hook).__name__}.__init__ must call super().__init__() before anything else.")
    if taken.get(hook.name) is hook:
        raise ValueError(f"Hook {hook.name!r} is there already. Give it once.")
    if hook.name in taken:
        raise ValueError(
            f"There is already a hook named {hook.name!r} ({type(taken[hook.name]).__name__}); a name is the "
            f"key of a hook's saved state. Give this {type(hook).__name__} another one: name=..., or rename "
            f"the function; or take the other out before: loop.hooks.remove({hook.name!r})."
        )
    check_on_error(hook)
    check_attributes(type(hook), vars(hook), hook.events)
    handlers = hook.handlers()
    for event, handler in handlers.items():
        if why := never_runs(handler):
            raise TypeError(f"What hook {hook.name!r} has for {event} would never run: {why}")
    if wanted(Trigger, hook.every):
        raise TypeError(
            f"Hook {hook.name!r} needs a trigger, such as Every(steps=5). Received every={shown(hook.every)}."
        )
    # Never called, it would seem to work; and a default would make the loop halt at each step.
    if Event.STEP_END in handlers and hook.every is Hook.every:
        raise ValueError(
            f"Hook {hook.name!r} has on_step_end but does not say for which steps. "
            "Set `every`, as in every = Every(steps=100); for the values of all steps at low cost, define on_steps."
        )
    if Event.STEP_END not in handlers and hook.every is not Hook.every and _goes_unread(hook):
        log.warning(UNREAD, hook.name, hook.every)
    at_step = handlers.get(Event.STEP_END)
    # Those of this package know what they do, and what only saves may do it at any time.
    looked_at = not hook.saves and not type(hook).__module__.startswith("hooks.")
    if at_step and looked_at and hook.every.next_time(0.0) is not None and _makes_state(hook, at_step):
        log.warning(BY_TIME, hook.name, hook.every)
    if not hook.everywhere and (hook.reports or hook.is_inside()):
        raise ValueError(
            f"Hook {hook.name!r} reports values, or has a part in the compiled loop, so that all workers need it. "
            "Received: everywhere=False. Leave it out."
        )
    return hook


def _makes_state(hook: Hook, handler: Callable[..., object]) -> bool:
    """Returns whether what a hook does in an event may be state: it reports, or uses a variable that the hook has."""
    code = getattr(getattr(handler, "__func__", handler), "__code__", None)
    used = [vars(hook)[name] for name in (code.co_names if code else ()) if name in vars(hook)]
    return bool(hook.reports) or has_state(hook) or any(isinstance(each, HELD) for each in tf.nest.flatten(used))


def _goes_unread(hook: Hook) -> bool:
    """Returns whether nothing of the program's own, as far as can be seen, looks at the `every` of a hook."""
    methods = [each for of_class in type(hook).__mro__ for each in vars(of_class).values()]
    written = [each for each in methods if inspect.isfunction(each) and of_user([each.__code__.co_filename])[0]]
    reads = any("every" in each.__code__.co_names for each in written if each.__name__ != "__init__")
    return bool(written) and not reads
