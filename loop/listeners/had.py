"""Hooks that are in the run of another loop, or come from one, and still know what they have seen there."""

import contextlib
import threading
import weakref
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from loop.logs import LOGGER

if TYPE_CHECKING:
    from loop.hook import Hook

HAD: "weakref.WeakKeyDictionary[Hook, weakref.ref[Had]]" = weakref.WeakKeyDictionary()
RUNNING: "weakref.WeakSet[Hook]" = weakref.WeakSet()
BEGINNING = threading.Lock()  # two threads may begin at once


@contextlib.contextmanager
def alone(hooks: Collection["Hook"]) -> Iterator[None]:
    """Has hooks for one run, within it.

    Raises:
        RuntimeError: If one of them is in a run that is under way.
    """
    with BEGINNING:
        for hook in hooks:
            if hook in RUNNING:
                raise RuntimeError(
                    f"Hook {hook.name!r} is in a run of another loop that is under way, and can be in one at a time. "
                    f"Give this Loop a new {type(hook).__name__}(...), or run it when the other has ended."
                )
        RUNNING.update(hooks)
    try:
        yield
    finally:
        RUNNING.difference_update(hooks)


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
