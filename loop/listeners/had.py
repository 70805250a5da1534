"""Hooks that are in the run of another loop, or come from one, and still know what they have seen there."""

import contextlib
import threading
import weakref
from collections.abc import Iterator, Mapping
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
def alone(loop: "Loop", things: Mapping[int, tuple[str, object]]) -> Iterator[None]:
    """Has things for the run of one loop, within it.

    Args:
        loop: The loop.
        things: What each is called, and the thing, by its id.

    Raises:
        RuntimeError: If another loop that is running has one of them.
    """
    with BEGINNING:
        for key in things.keys() & RUNNING.keys():
            (name, thing), other = things[key], RUNNING[key]()
            if other is not None and other is not loop and other.running:
                raise RuntimeError(
                    f"{name} is in a run of another loop that is under way, and can be in one at a time. Give this "
                    f"Loop a new {type(thing).__name__}(...), or run it when the other has ended."
                )
        RUNNING.update(dict.fromkeys(things, weakref.ref(loop)))
    try:
        yield
    finally:
        for key in things:
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
