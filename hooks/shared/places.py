"""Where hooks write, so that no two write to one place."""

import logging
import weakref
from typing import NamedTuple

from loop import Hook, Loop

log = logging.getLogger("exactloop")
WROTE: "dict[str, list[weakref.ref[Loop]]]" = {}  # the loops of this process that wrote to a path, the latest last
USED: "weakref.WeakKeyDictionary[Hook, weakref.ref[Loop]]" = weakref.WeakKeyDictionary()  # the hooks that did, for whom


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
    """Raises `ValueError` if another hook of a loop writes to a place of this one, or this one to one place twice.

    Or another loop, that is running.
    """
    mine = _places(hook)
    for other in loop.hooks:
        theirs = _places(other) if other is not hook else [place for i, place in enumerate(mine) if place in mine[:i]]
        for place in theirs:
            if place in mine:
                both = f"Hooks {other.name!r} and {hook.name!r}" if other is not hook else f"Two in {hook.name!r}"
                raise ValueError(f"{both} would both write to {place.path!r}. Give each a {place.of} of its own.")
    for place in mine:
        latest = _latest(place)
        if latest is not None and latest is not loop and latest.running:
            raise ValueError(
                f"Hook {hook.name!r} would write to {place.path!r}, and so does a loop that is running. Give each a "
                f"{place.of} of its own."
            )


def note(hook: Hook, loop: Loop, *, begins: bool) -> None:
    """Notes that a hook begins to write, and says if what another loop has written is lost by that, or the other way.

    Not of a new hook of a new loop, as of a cell that is run again: a training that begins anew begins its files anew.

    Args:
        hook: The hook.
        loop: Its loop.
        begins: Whether it is the first step that comes next, so nothing was restored.
    """
    me = weakref.ref(loop)
    for place in _places(hook):
        others = WROTE.get(place.path, [])
        if others and others[-1] != me and ((begins and USED.get(hook, me) != me) or me in others):
            log.warning(
                "%s: another loop of this process has written to %r%s. Give the hooks of each loop a %s of their own, "
                "as by the number of the fold or trial in its name.",
                *(hook.name, place.path, ", and this one begins there" if begins else " since", place.of),
            )
        WROTE[place.path] = [*(each for each in others if each() is not None and each != me), me]
    USED[hook] = me


def _latest(place: Target) -> Loop | None:
    loops = WROTE.get(place.path, [])
    return loops[-1]() if loops else None


def _places(hook: Hook) -> list[Target]:
    return [place for value in vars(hook).values() for place in (value if isinstance(value, Targets) else [value])
            if isinstance(place, Target)]  # fmt: skip
