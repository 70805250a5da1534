"""Which methods of a hook are called, and what is said of one in a class that nothing would call."""

import difflib
from collections.abc import Sequence

from loop.errors.instead import never_runs
from loop.errors.kinds import shown
from loop.events import Event

INSTEAD = {
    **dict.fromkeys(("on_train_batch_end", "on_batch_end", "on_train_step_end", "on_iteration"), "on_step_end"),
    **dict.fromkeys(("on_train_begin", "on_fit_start", "on_train_start"), "on_run_begin"),
    **dict.fromkeys(("on_train_end", "on_fit_end", "on_exception"), "on_run_end"),
    **dict.fromkeys(("on_train_epoch_start", "on_train_epoch_begin", "on_epoch_start"), "on_epoch_begin"),
    "on_train_epoch_end": "on_epoch_end",
    **dict.fromkeys(("on_test_begin", "on_validation_start", "on_validation_epoch_start"), "on_eval_begin"),
    **dict.fromkeys(("on_test_end", "on_validation_end", "on_validation_epoch_end", "on_evaluate"), "on_eval_end"),
    **dict.fromkeys(("on_save", "on_save_checkpoint"), "on_settled"),
    "on_log": "on_steps",
}
METHODS = [f"on_{event}" for event in Event] + ["on_steps", "on_report"]


def is_own_event(event: object) -> bool:
    """Returns whether an event may be called so: a part of a name that is not that of another method."""
    return isinstance(event, str) and event.isidentifier() and f"on_{event}" not in METHODS


def check_own_event(event: object) -> None:
    """Raises `ValueError` if an event of one's own cannot be called so."""
    if not is_own_event(event):
        raise ValueError(
            "An event of your own needs a name that on_... can be put before, and that the loop does not use, as in "
            f"'generator_updated'. Received: {shown(event)}."
        )


def check_methods(cls: type, events: Sequence[str]) -> None:
    """Raises `TypeError`, or `ValueError`, if an `on_...` method of a class would never be called, or never run.

    Args:
        cls: The class; what it inherits was looked at before.
        events: What it says are events of its own.
    """
    if isinstance(events, str):
        raise TypeError(f"{cls.__name__}.events needs a tuple of names, as in ({events!r},).")
    for event in events:
        check_own_event(event)
    methods = [*METHODS, *(f"on_{event}" for event in events)]
    for method, value in vars(cls).items():
        if method in methods and (why := never_runs(getattr(cls, method))):
            raise TypeError(f"{cls.__name__}.{method} would never run: {why}")
        # A misspelt `on_epoch_ends` is seen when the class is defined, and not when nothing has happened for a day.
        if method.startswith("on_") and callable(value) and method not in methods:
            close = [INSTEAD[method]] if method in INSTEAD else difflib.get_close_matches(method, methods, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Events call: {', '.join(methods)}."
            own = f"For an event of your own, write events = ({method.removeprefix('on_')!r},) in the class, too."
            raise TypeError(f"{cls.__name__}.{method} would never be called: there is no such event. {hint} {own}")
