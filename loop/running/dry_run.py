"""A dry run: everything happens once, and nothing is left of it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator

from loop.hook import Hook
from loop.registry import HookRegistry
from loop.state.training_state import TrainingState


@contextlib.contextmanager
def leaving_nothing(
    state: Callable[[], TrainingState], hooks: HookRegistry, mark: Callable[[], Callable[[], None]]
) -> Iterator[None]:
    """Puts back, at the end, all that a run changes: the state, the place in the data, the hooks, and their attributes.

    Args:
        state: Returns the training state, which a run gathers anew.
        hooks: The hooks; what they write goes to a directory that is removed.
        mark: See `Resumable.mark`.
    """
    # `state()` each time: the run in between gathers another one, of the same variables.
    same_hooks = hooks.calls.mark()
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
            state().position.restored()  # or what a hook has condemned now would not be saved in the run after it
            for hook, attributes in kept:
                # Not by `setattr`, with which a hook refuses a variable in the place of another.
                hook.__dict__.clear()
                hook.__dict__.update(attributes)
            same_hooks()  # a hook may have added others, or taken itself out, as it will in the run


def _attributes(hook: Hook) -> dict[str, object]:
    """Returns the attributes of a hook; of lists, dicts and sets, copies, which are what it would change."""
    copied: dict[int, object] = {}  # by the id of what was copied: what two attributes share they share again
    return {name: _copied(value, copied) for name, value in vars(hook).items()}


def _copied(value: object, copied: dict[int, object]) -> object:
    """Returns a copy of a list, dict or set, and of those in it; all else, such as variables, as it is."""
    if id(value) in copied:
        return copied[id(value)]
    # Exactly these kinds: what TensorFlow has made of a list of variables is found by what it tracks.
    if type(value) is list:
        made = copied[id(value)] = list[object]()
        made += [_copied(each, copied) for each in value]
        return made
    if type(value) is dict:
        held = copied[id(value)] = dict[object, object]()
        held |= {key: _copied(each, copied) for key, each in value.items()}
        return held
    return set(value) if type(value) is set else value
