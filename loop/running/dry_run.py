"""A dry run: everything happens once, and nothing is left of it."""

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator

from loop.hook import Hook
from loop.registry import HookRegistry
from loop.state.training_state import TrainingState


@contextlib.contextmanager
def leaving_nothing(
    state: Callable[[], TrainingState], hooks: HookRegistry, mark: Callable[[], Callable[[], None]]
) -> Iterator[None]:
    """Puts back, at the end, all that a run changes: the state, the place in the data, and the attributes of hooks.

    Args:
        state: Returns the training state, which a run gathers anew.
        hooks: The hooks; what they write goes to a directory that is removed.
        mark: See `Resumable.mark`.
    """
    held, go_back, kept = state().capture(), mark(), [(hook, _attributes(hook)) for hook in hooks]
    with tempfile.TemporaryDirectory(prefix="exactloop-dry-run-") as directory:
        try:
            for hook in hooks:
                hook.before_dry_run(directory)
            yield
        finally:
            state().revert()  # what a hook shows when a run ends
            go_back()
            state().rollback(held)
            state().position.torn = False
            for hook, attributes in kept:
                hook.__dict__.clear()
                hook.__dict__.update(attributes)


def _attributes(hook: Hook) -> dict[str, object]:
    """Returns the attributes of a hook; of lists, dicts and sets, copies, which are what it would change."""
    return {name: copy.copy(value) if type(value) in (list, dict, set) else value for name, value in vars(hook).items()}
