"""Hooks that are in the run of another loop, or come from one, and still know what they have seen there."""

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from loop.logs import LOGGER

if TYPE_CHECKING:
    from loop.hook import Hook
    from loop.loop import Loop

HAD: "weakref.WeakKeyDictionary[Hook, weakref.ref[Had]]" = weakref.WeakKeyDictionary()
# The loops that run with hooks, and with callbacks in them, by the ids of these. What was interrupted may be left.
RUNNING: "dict[int, weakref.ref[Loop]]" = {}
BEGINNING = threading.Lock()  # two threads may begin at once


@contextlib.contextmanager
def alone(loop: "Loop", of_one_run: Callable[["Hook"], list[tuple[str, object]]]) -> Iterator[None]:
    """Has what is in the hooks of a loop for its run alone, within it.

    Args:
        loop: The loop.
        of_one_run: Returns what of a hook cannot be in two runs at once, and what each is called.

    Raises:
        RuntimeError: If another loop that is running has one of them.
    """

    def in_hooks(of: "Loop") -> dict[int, tuple[str, object]]:
        return {id(thing): (name, thing) for hook in of.hooks for name, thing in of_one_run(hook)}

    me, things = weakref.ref(loop), in_hooks(loop)
    with BEGINNING:
        for key in things.keys() & RUNNING.keys():
            (name, thing), other = things[key], RUNNING[key]()
            # One that it has taken out in the course of the run is free.
            if other is not None and other is not loop and other.running and key in in_hooks(other):
                raise RuntimeError(
                    f"{name} is in a run of another loop that is under way, and can be in one at a time. Give this "
                    f"Loop a new {type(thing).__name__}(...), or run it when the other has ended."
                )
        RUNNING.update(dict.fromkeys(things, me))
    try:
        yield
    finally:
        for key in things:
            if RUNNING.get(key) is me:  # and not another loop that has been given it meanwhile
                RUNNING.pop(key, None)


class Had:
    """One for each loop: who has begun a run there."""

    def __init__(self) -> None:
        self._noted: weakref.WeakSet[Hook] = weakref.WeakSet()

    def note(self, hook: "Hook", *, keeps: bool, begins: bool) -> None:
        """Notes that a hook begins a run.

        Args:
            hook: The hook.
            keeps: Whether it has a state.
            begins: Whether it is the first step that comes next, so nothing was restored.
        """
        before = HAD.get(hook)
        if keeps and before is not None and before() is not self and (begins or hook in self._noted):
            LOGGER.warning(
                "Hook %r was in a run of another loop, and goes on with what it has seen there. If this run is one of "
                "its own, as of another fold or trial, give its Loop a new %s(...).",
                *(hook.name, type(hook).__name__),
            )
        HAD[hook] = weakref.ref(self)
        self._noted.add(hook)
