"""Reading beside a trainer, which removes what has just been listed, and renames what a listing then misses."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.stems import kept_for
from hooks.checkpoint.record.manifest import CorruptCheckpoint

TRIES_OF_NONE = 20  # how often a listing without any checkpoint is made again
TRIES = 100  # how often a reader looks again when a trainer has removed what it was about to read
TOO_FAST = "Checkpoints in {!r} are removed faster than they can be read."
Result = TypeVar("Result")


def listed(store: Store) -> list[str]:
    """Returns the stems there are, the oldest first. A listing that has none is made again: it may have missed some."""
    for _ in range(TRIES_OF_NONE):
        if stems := store.stems():
            return stems
        time.sleep(0.005)  # a tenth of a second in all, before it is said that there is none
    return []


def beside(store: Store, read: Callable[[list[str]], Result]) -> Result:
    """Returns what `read` makes of the stems there are, given a new list if one of them was removed meanwhile.

    Raises:
        CorruptCheckpoint: If `read` raises it of one that is still there.
        FileNotFoundError: If it never gets to the end of one.
    """
    for _ in range(TRIES):
        try:
            return read(listed(store))
        except CorruptCheckpoint as error:
            # Damaged, or pruned since it was listed: only another listing tells.
            if kept_for(os.path.basename(error.file)) in store.stems():
                raise
    raise FileNotFoundError(TOO_FAST.format(store.files.where))
