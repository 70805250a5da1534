"""With what a hook is made, as far as it is plain, so that workers can compare it."""

import contextlib
import json
from collections.abc import Mapping

from loop.triggers import Trigger


def note(given: Mapping[str, object]) -> None:
    """Keeps, on a hook, the arguments of its `__init__`: JSON values, and triggers as they are written."""
    hook, *_ = given.values()
    said = {name: repr(each) if type(each).__module__ == Trigger.__module__ else each for name, each in given.items()}
    # Past `__setattr__`: `Hook.__init__` was not called yet. With those of a subclass, which calls this class's.
    before = vars(hook).get("made_with", {})
    object.__setattr__(hook, "made_with", {**before, **{name: each for name, each in said.items() if _is_plain(each)}})


def _is_plain(value: object) -> bool:
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return json.dumps(value) != ""
    return False
