"""What a program adds between two runs, the first of which was done in a life before: hooks and random streams."""

import contextlib
import weakref

import tensorflow as tf

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.resuming.fit import REMEDY, refuse, values
from hooks.checkpoint.resuming.resume import compare
from loop import Hook, Loop, TrainingState


class Added:
    """Knows what has come since a checkpoint was restored.

    A program may run a loop for two epochs, add a hook, and run it for five. Started again when it was killed in the
    fourth, it restores all of it in the first run, in which that hook is not there yet. So it is with the global
    generator of TensorFlow, or of Keras.

    Attributes:
        hooks: The names of the hooks that have come since, if the state is still that of a later run.
        streams: The paths of the states of random streams that have; the same.
    """

    def __init__(self) -> None:
        self._stem: str | None = None  # of what was restored
        # By what they are, and not by their names: one may have been put in the place of another.
        self._known: weakref.WeakSet[Hook] = weakref.WeakSet()
        self._streams: dict[str, tf.Variable] = {}
        self.hooks, self.streams = list[str](), list[str]()

    def __bool__(self) -> bool:
        return bool(self.hooks or self.streams)

    def look(self, loop: Loop) -> None:
        """Looks at what a run begins with."""
        ahead = self._stem is not None and loop.state.position.ahead
        streams = {path: each for path, each in loop.state.variables.items() if path.startswith("random/")}
        self.hooks = [hook.name for hook in loop.hooks if hook not in self._known] if ahead else []
        self.streams = [path for path, each in streams.items() if self._streams.get(path) is not each] if ahead else []
        self._known, self._streams = weakref.WeakSet(loop.hooks), streams

    def restored(self, stem: str) -> str:
        """Takes in that a checkpoint was restored, and returns it."""
        self._stem = stem
        return stem

    def restore(self, store: Store, state: TrainingState) -> str | None:
        """Restores what has come since, as far as it was there then, and returns the checkpoint; None if nothing has.

        Raises:
            CorruptCheckpoint: If the checkpoint is not there any more.
            ValueError: If a hook has other variables than it had.
        """
        if self._stem is None or not self:
            return None
        with contextlib.closing(store.pin(self._stem)) as pin, state.unless_raised():
            refuse(store, pin.manifest, state.differences(pin.manifest.description, hashes=False).structure, REMEDY)
            kept = {"hooks": state.root.hooks, "hook_states": state.root.hook_states}
            theirs = {of: {name: each[name] for name in self.hooks if name in each} for of, each in kept.items()}
            tf.train.Checkpoint(**theirs).restore(pin.prefix).expect_partial()  # one that is new had nothing
            for path, value in values(pin, self.streams).items():
                state.variables[path].assign(value)
            paths = (*self.streams, *(f"hooks/{name}/" for name in self.hooks))
            compare(pin, {path: each for path, each in state.variables.items() if path.startswith(paths)})
        return self._stem
