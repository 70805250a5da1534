"""Which methods of a hook are called, and with what; and what is said of one that nothing would call."""

import difflib
import dis
import inspect
import types
from collections.abc import Callable, Mapping, Sequence

from loop.errors.instead import never_runs, refuses_arguments
from loop.errors.kinds import shown
from loop.events import Event

METHODS = [f"on_{event}" for event in Event] + ["on_steps", "on_report"]
MOMENT = ("moment",)
GIVEN = {"on_setup": ("loop", "moment"), "on_steps": ("first_step", "values")}  # all others are given the moment
# What Keras, Lightning, Composer, fastai, MMEngine, Orbit and others call by another name.
NAMES = {
    "on_setup": "on_init_end init",
    "on_run_begin": "on_train_begin on_fit_begin on_fit_start on_train_start on_start fit_start on_started "
    "before_fit before_run before_train",
    "on_run_end": "on_train_end on_fit_end on_end on_exception on_interrupt on_keyboard_interrupt fit_end on_completed "
    "on_exception_raised on_terminate teardown after_fit after_run after_train",
    "on_epoch_begin": "on_train_epoch_start on_train_epoch_begin on_epoch_start epoch_start on_epoch_started "
    "before_epoch before_train_epoch",
    "on_epoch_end": "on_train_epoch_end epoch_end on_epoch_completed after_epoch after_train_epoch",
    "on_step_end": "on_train_batch_end on_batch_end on_train_step_end on_iteration on_iteration_end on_iter_end "
    "on_substep_end on_optimizer_step batch_end on_iteration_completed on_step after_batch after_iter after_train_iter",
    "on_eval_begin": "on_test_begin on_test_start on_validation_begin on_validation_start on_validation_epoch_start "
    "on_val_begin on_val_start on_eval_start on_evaluate_begin eval_start on_test_epoch_start before_validate "
    "before_val before_val_epoch",
    "on_eval_end": "on_test_end on_validation_end on_validation_epoch_end on_val_end on_evaluate on_evaluate_end "
    "on_eval_epoch_end eval_end on_test_epoch_end after_validate after_val after_val_epoch",
    "on_settled": "on_save batch_checkpoint epoch_checkpoint",
    "on_steps": "on_log",
    "ahead and before_step": "on_train_batch_begin on_train_batch_start on_batch_begin on_batch_start on_step_begin "
    "on_train_step_begin on_train_step_start on_iteration_begin on_iteration_start on_iter_begin on_iter_start "
    "batch_start on_iteration_started before_batch before_iter before_train_iter",
    "get_state": "on_save_checkpoint",
    "set_state": "on_load_checkpoint",
}
INSTEAD = {theirs: f"Did you mean {ours}?" for ours, names in NAMES.items() for theirs in names.split()}
BARE = ("teardown", "before_", "after_")  # with what the names begin of those that others call with nothing
# Of these, and of events, what a method may be called that is the program's own.
WITHOUT_ON = {method.removeprefix("on_"): f"Did you mean {method}?" for method in METHODS if method.endswith("end")}
WITHOUT_ON |= {name: said for name, said in INSTEAD.items() if name[:3] != "on_" and name != "init"}
# What has no event, by how its name begins.
NO_EVENT = {
    ("on_before_", "on_after_", "on_pre_", "before_", "after_"): (
        "What is done with a batch, or with gradients, is written in the train step itself."
    ),
    (
        "on_test_batch_",
        "on_validation_batch_",
        "on_val_batch_",
        "on_eval_batch_",
        "on_prediction_step",
        "eval_batch_",
    ): (
        "Nobody is told of the batches of an evaluation: its step returns their values, and on_eval_end has the means."
    ),
    ("on_predict", "on_sanity_check_", "predict_"): "A loop does nothing of the kind.",
    ("setup",): "Did you mean on_setup?",
}


def is_own_event(event: object) -> bool:
    """Returns whether an event may be called so: a part of a name that is not that of another method."""
    return isinstance(event, str) and event.isidentifier() and f"on_{event}" not in METHODS


def instead_of_event(event: object) -> str:
    """Returns which event is what others call by another name, in a sentence; nothing if there is none."""
    method = INSTEAD.get(f"on_{event.lower()}", "") if isinstance(event, str) else ""
    name = method.removeprefix("Did you mean on_").removesuffix("?")
    known = name in tuple(Event)
    return f" Did you mean Event.{name.upper()}?" if known else ""


def check_own_event(event: object) -> None:
    """Raises `ValueError` if an event of one's own cannot be called so."""
    if not is_own_event(event):
        raise ValueError(
            "An event of your own needs a name that on_... can be put before, and that the loop does not use, as in "
            f"'generator_updated'. Received: {shown(event)}."
        )


def check_methods(cls: type, events: Sequence[str]) -> None:
    """Raises `TypeError`, or `ValueError`, if a method of a class would never be called, never run, or not be callable.

    Args:
        cls: The class; what it inherits was looked at before.
        events: What it says are events of its own.
    """
    if isinstance(events, str):
        raise TypeError(f"{cls.__name__}.events needs a tuple of names, as in ({events!r},).")
    for event in events:
        check_own_event(event)
    methods = [*METHODS, *(f"on_{event}" for event in events)]
    # As hooks elsewhere are; one with other methods may be called by the program itself.
    if "__call__" in vars(cls) and not {*methods, "before_step", "after_step"} & {*vars(cls)}:
        raise TypeError(
            f"{cls.__name__}.__call__ would never be called. Write def on_step_end(self, moment), with every = "
            "Every(steps=100) in the class, or on_epoch_end."
        )
    for method, value in vars(cls).items():
        if method in methods and callable(getattr(cls, method)):
            if why := never_runs(getattr(cls, method)):
                raise TypeError(f"{cls.__name__}.{method} would never run: {why}")
            # Of what is bound in another way, it shows when it is called.
            if inspect.isfunction(value):
                check_called(f"{cls.__name__}.{method}", value, ("self", *GIVEN.get(method, MOMENT)))
        # A misspelt `on_epoch_ends` is seen when the class is defined, and not when nothing has happened for a day.
        elif (of_event := method.startswith("on_") and callable(value)) or _is_of_others(value):
            own = f" For an event of your own, write events = ({method.removeprefix('on_')!r},) in the class, too."
            raise TypeError(
                f"{cls.__name__}.{method} would never be called: there is no such event. {_instead(method, methods)}"
                f"{own if of_event else ''}"
            )


def check_attributes(cls: type, own: Mapping[str, object], events: Sequence[str]) -> None:
    """Raises `TypeError` if an object has as an attribute what events call as a method, and its class does not read it.

    Args:
        cls: The class.
        own: The attributes.
        events: What it says are events of its own.
    """
    for name in {*METHODS, *(f"on_{event}" for event in events)} & {*own}:
        if callable(own[name]) and not any(_reads(each, name) for each in _functions(cls).values()):
            raise TypeError(
                f"{cls.__name__}.{name} would never be called: it is set on the object, and events call methods of the "
                f"class. Write def {name}(self, {', '.join(GIVEN.get(name, MOMENT))}) in it, or, of a function, "
                f"loop.on({name.removeprefix('on_')!r})(function)."
            )


def uncalled(cls: type, is_called: Callable[[str], bool]) -> dict[str, str]:
    """Returns what to write for methods that are called as an event is, without its `on_`, and that nobody calls.

    Args:
        cls: The class, of which another method may call them.
        is_called: Returns whether the program calls a method of that name elsewhere.
    """
    own = _functions(cls)
    called = {name for function in own.values() for name in function.__code__.co_names}
    like = own.keys() & WITHOUT_ON.keys() - called
    # What is called with nothing may be of use to whoever has the hook; but not if others call it so.
    nobodys = (each for each in sorted(like) if len(_parameters(own[each])) > 1 or each.startswith(BARE))
    return {name: WITHOUT_ON[name] for name in nobodys if not is_called(name)}


def check_called(owner: str, function: Callable[..., object], given: Sequence[str]) -> None:
    """Raises `TypeError` if a function cannot be called with what it will be given: now, and not after an epoch.

    Args:
        owner: What to call it.
        function: The function.
        given: The names of what it is given, in order.
    """
    parameters = _parameters(function)
    # As of a callback of Keras: what may be left out would be, and logs be None where a value is looked for.
    if refuses_arguments(function, len(given)) or "logs" in [*parameters][len(given) :]:
        name = getattr(function, "__name__", "")
        of_moment = ", which has moment.epoch, moment.step and moment.logs" if "moment" in given else ""
        raise TypeError(
            f"{owner} is called with {' and '.join(each for each in given if each != 'self')}{of_moment}. Received: "
            f"({', '.join(map(str, parameters.values()))}). "
            f"Write {f'def {name}' if name.isidentifier() else ''}({', '.join(given)})."
        )


def _functions(cls: type) -> dict[str, types.FunctionType]:
    """Returns the methods of a class that are functions, also those that it inherits, by name."""
    own = {name: each for of in cls.__mro__[::-1] for name, each in vars(of).items()}
    return {name: each for name, each in own.items() if inspect.isfunction(each)}


def _reads(function: types.FunctionType, name: str) -> bool:
    """Returns whether a function reads an attribute of that name, and does not only set it."""
    return any(each.opname in ("LOAD_ATTR", "LOAD_METHOD") and each.argval == name for each in dis.Bytecode(function))


def _parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function, follow_wrapped=False).parameters
    except (TypeError, ValueError):
        return {}


def _is_of_others(value: object) -> bool:
    """Returns whether a method is one that Lightning or Composer calls, by what these give to all of theirs."""
    given = [*_parameters(value)][1:3] if inspect.isfunction(value) else []
    return given in (["trainer", "pl_module"], ["state", "logger"])


def _instead(method: str, methods: Sequence[str]) -> str:
    """Returns what to write in the place of a method that nothing calls."""
    close = [f"Did you mean {each}?" for each in difflib.get_close_matches(method, methods, n=1)]
    known = (
        [INSTEAD[method]] if method in INSTEAD else [say for begin, say in NO_EVENT.items() if method.startswith(begin)]
    )
    return [*known, *close, f"Events call: {', '.join(methods)}."][0]
