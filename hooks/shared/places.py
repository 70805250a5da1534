"""Where hooks write, so that no two of a loop write to one place."""

from typing import NamedTuple

from loop import Hook, Loop


class Target(NamedTuple):
    """An attribute of a hook: what it writes to, and nobody else may.

    Attributes:
        path: The file or directory, absolute.
        of: What it is called in a message.
    """

    path: str
    of: str


class Targets(list[Target]):
    """Several of them, in one attribute of a hook."""


def check_alone(hook: Hook, loop: Loop) -> None:
    """Raises `ValueError` if another hook of a loop writes to a place of this one, or this one to one place twice."""
    mine = _places(hook)
    for other in loop.hooks:
        theirs = _places(other) if other is not hook else [place for i, place in enumerate(mine) if place in mine[:i]]
        for place in theirs:
            if place in mine:
                both = f"Hooks {other.name!r} and {hook.name!r}" if other is not hook else f"Two in {hook.name!r}"
                raise ValueError(f"{both} would both write to {place.path!r}. Give each a {place.of} of its own.")


def _places(hook: Hook) -> list[Target]:
    return [place for value in vars(hook).values() for place in (value if isinstance(value, Targets) else [value])
            if isinstance(place, Target)]  # fmt: skip
