"""Hooks that come from the run of another loop, and still know what they have seen there."""

import weakref

from loop.hook import Hook, has_state
from loop.logs import LOGGER

HAD: "weakref.WeakKeyDictionary[Hook, weakref.ref[Had]]" = weakref.WeakKeyDictionary()


class Had:
    """One for each loop: who has begun a run there."""

    def note(self, hook: Hook, *, begins: bool) -> None:
        """Notes that a hook begins a run.

        Args:
            hook: The hook.
            begins: Whether it is the first step that comes next, so nothing was restored.
        """
        before = HAD.get(hook)
        if begins and before is not None and before() is not self and (hook.variables or has_state(hook)):
            LOGGER.warning(
                "Hook %r was in a run of another loop, and goes on with what it has seen there. If this run is one of "
                "its own, as of another fold or trial, give its Loop a new %s(...).",
                *(hook.name, type(hook).__name__),
            )
        HAD[hook] = weakref.ref(self)
