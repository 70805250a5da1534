"""Of which kind a value has to be, by the annotation of its argument, and what it is called in a message."""

import operator
import os
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Final, NamedTuple

import numpy as np

SIMPLE: Final = (type(None), bool, float, complex, bytes, np.generic, PurePath)
OF_TF_KERAS: Final = "of tf_keras, not of keras: unset TF_USE_LEGACY_KERAS"


class _Short(reprlib.Repr):
    """Shows numbers and texts, and what is in a small list, but of all else the type alone: arrays and models are long.

    It is asked for each value that has no method of its own here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 2, 50, 3, 3, 3, 3

    def repr_instance(self, x: object, level: int) -> str:
        if isinstance(x, SIMPLE):
            return repr(x)
        if isinstance(x, type):
            return f"the class {x.__name__}"
        return f"{type(x).__name__} {OF_TF_KERAS}" if is_of_tf_keras(x) else type(x).__name__


_short = _Short()


def shown(value: object) -> str:
    """Returns a value as it is told in a message, in at most 120 characters; it takes no time, whatever it is."""
    # By `reprlib`, which cuts while it goes through: `repr` of a large list would take seconds.
    text = _short.repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def is_of_tf_keras(value: object) -> bool:
    """Returns whether this is of Keras 2, which has classes of the same names, and need not be installed."""
    return any(base.__module__.split(".")[0] == "tf_keras" for base in type(value).__mro__)


def is_whole(value: object) -> bool:
    """Returns whether this is a whole number, of Python, NumPy or TensorFlow; a bool is none."""
    try:
        # `operator.index` takes what is an integer in any library, and no float.
        return not isinstance(value, bool | np.bool_) and operator.index(typing.cast(int, value)) is not None
    except (TypeError, ValueError):
        return False


def _is_flag(value: object) -> bool:
    return isinstance(value, bool | np.bool_ | int) and value in (0, 1)


def _is_number(value: object) -> bool:
    if isinstance(value, bool | np.bool_ | str | bytes):
        return False
    try:
        return np.ndim(typing.cast(float, value)) == 0 and isinstance(float(typing.cast(float, value)), float)
    except (TypeError, ValueError):
        return False


class Kind(NamedTuple):
    """What is wanted, in words; may be told of the value that was given instead, and whether a value is that."""

    wanted: Callable[[object], str]
    fits: Callable[[object], bool]


KINDS: dict[object, Kind] = {
    type(None): Kind(lambda value: "None", lambda value: value is None),
    bool: Kind(lambda value: "True or False", _is_flag),
    int: Kind(lambda value: "a whole number", is_whole),
    float: Kind(lambda value: "a number", _is_number),
    str: Kind(lambda value: "a str", lambda value: isinstance(value, str)),
    os.PathLike: Kind(lambda value: "a path", lambda value: isinstance(value, os.PathLike | bytes)),
}
"""By the class in an annotation. `Trigger` adds itself: this file is below all others."""


def wanted(annotation: object, value: object) -> str:
    """Returns which kind of value an argument wants; nothing if this one is of it, or nobody knows."""
    # `X | None`, and `Optional[X]`, which is another class.
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    members = typing.get_args(annotation) if union else (annotation,)
    kinds = [KINDS.get(typing.get_origin(member) or member) for member in members]
    # An annotation of which one part is not known, such as Sequence, refuses nothing.
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds) or any(kind.fits(value) for kind in known):
        return ""
    return " or ".join(kind.wanted(value) for kind in known)


def other_choice(annotation: object, value: object) -> str:
    """Returns what an argument has to be, if that is a `Literal` and this value is none of it; or else nothing."""
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    if not choices or any(isinstance(value, type(each) | np.generic) and value == each for each in choices):
        return ""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}" if others else last


def check_kinds(
    owner: str, annotations: Mapping[str, object], given: Mapping[str, object], instead: Mapping[str, str]
) -> None:
    """Raises `TypeError` if an argument is of another kind than its annotation says, as far as `KINDS` knows that one.

    And `ValueError` if it is none of those that a `Literal` has.

    Args:
        owner: Whose arguments they are.
        annotations: By the name of the argument.
        given: By the name of the argument.
        instead: What to do, by the name of the argument, in words that go on after a semicolon.
    """
    for name, value in given.items():
        if choice := other_choice(annotations.get(name), value):
            raise ValueError(f"{owner}({name}=...) must be {choice}. Received: {shown(value)}.")
        if want := wanted(annotations.get(name), value):
            of = f" ({type(value).__name__})" if value is not None and isinstance(value, (*SIMPLE, str, int)) else ""
            do = f"; write {value.__name__}(...)" if isinstance(value, type) else ""
            do = do or (f"; {instead[name]}" if name in instead else "")
            raise TypeError(f"{owner}({name}=...) needs {want}. Received: {shown(value)}{of}{do}.")
