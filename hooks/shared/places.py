"""Where hooks write, so that no two of a loop write to one place."""

from typing import NamedTuple

from loop import Hook, Loop


class Place(NamedTuple):
    """An attribute of a hook: what it writes to, and nobody else may.

    Attributes:
        path: The file or directory, absolute.
        of: What it is called in a message.
    """

    path: str
    of: str


def check_alone(hook: Hook, loop: Loop) -> None:
    """Raises `ValueError` if another hook of a loop writes to a place of this one."""
    for other in loop.hooks:
        for place in _places(hook) & _places(other) if other is not hook else ():
            raise ValueError(
                f"Hooks {other.name!r} and {hook.name!r} would both write to {place.path!r}. Give each a {place.of} of "
                "its own."
            )


def _places(hook: Hook) -> set[Place]:
    return {value for value in vars(hook).values() if isinstance(value, Place)}
