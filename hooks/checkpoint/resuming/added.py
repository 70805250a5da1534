"""Hooks that a program adds between two runs, the first of which was done in a life before."""

import contextlib
import weakref

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.resuming.fit import REMEDY, refuse
from hooks.checkpoint.resuming.resume import compare
from loop import Hook, Loop, TrainingState


class Added:
    """Knows which hooks have come since a checkpoint was restored.

    A program may run a loop for two epochs, add a hook, and run it for five. Started again when it was killed in the
    fourth, it restores all of it in the first run, in which that hook is not there yet.

    Attributes:
        there: The names of the hooks that have come since, if the state is still that of a later run.
    """

    def __init__(self) -> None:
        self._stem: str | None = None  # of what was restored
        self._known: weakref.WeakSet[Hook] = weakref.WeakSet()
        self.there: list[str] = []

    def look(self, loop: Loop) -> None:
        """Looks at the hooks of a run that begins."""
        ahead = self._stem is not None and loop.state.position.ahead
        # By the hook, and not by its name: one may have been put in the place of another.
        self.there = [hook.name for hook in loop.hooks if hook not in self._known] if ahead else []
        self._known = weakref.WeakSet(loop.hooks)

    def restored(self, stem: str) -> str:
        """Takes in that a checkpoint was restored, and returns it."""
        self._stem = stem
        return stem

    def restore(self, store: Store, state: TrainingState) -> str | None:
        """Restores what hooks had that have come since, and returns the checkpoint; None if there is nothing."""
        if self._stem is None or not self.there:
            return None
        with contextlib.closing(store.pin(self._stem)) as pin, state.unless_raised():
            structure = state.differences(pin.manifest.description, hashes=False).structure
            refuse(store, pin.manifest, structure, REMEDY)
            state.restore_hooks(pin.prefix, self.there)
            theirs = tuple(f"hooks/{name}/" for name in self.there)
            compare(pin, {path: variable for path, variable in state.variables.items() if path.startswith(theirs)})
        return self._stem
