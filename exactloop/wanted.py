"""What a command is given: a checkpoint, or a directory with some; and what to write in the place of anything else."""

import itertools
import os

from exactloop.watching.found import found
from hooks.checkpoint.disk.lock import NAME as LOCK
from hooks.checkpoint.disk.stems import committed_by, kept_for
from hooks.shared.paths import is_remote

MOST = 6  # directories that are named


def checkpoint(command: str, path: str) -> str:
    """Returns the path of a checkpoint, or of a directory with some.

    Args:
        command: What is to be written before it.
        path: What was given.

    Raises:
        FileNotFoundError: If it is none of them, as far as can be seen.
    """
    if not path or is_remote(path):
        return path
    if os.path.isfile(path):
        directory, name = os.path.split(path)
        stem = kept_for(name)
        write = os.path.join(directory, stem) if stem else directory or "."
        of = f"a file of {stem}" if stem else "a file"
        raise FileNotFoundError(f"It needs a checkpoint, or a directory. Received {of}. Write {command} {write}")
    if not os.path.isdir(path):
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise FileNotFoundError(f"There is no checkpoint, and no directory, {path!r}.")
        return path  # which may be a checkpoint: what reads it says which there are
    if not _has_some(path):
        raise FileNotFoundError(_none_in(path, command))
    return path


def directories(command: str, path: str) -> list[str]:
    """Returns the directories with checkpoints: the one that was given, or those below it.

    Args:
        command: See `checkpoint`.
        path: The same.

    Raises:
        FileNotFoundError: If there are none in a directory, nor below it.
    """
    if not path or is_remote(path) or not os.path.isdir(path) or _has_some(path):
        return [path]  # what reads it says what is wrong with it
    saves = [each for each in found(path).saves if _has_some(each)]
    if not saves:
        raise FileNotFoundError(_none_in(path, command))
    return saves


def _has_some(directory: str) -> bool:
    # Twice: a listing may miss what a trainer renames meanwhile.
    names = itertools.chain.from_iterable(os.listdir(directory) for _ in range(2))
    return any(committed_by(name) or (kept_for(name) and name.endswith(".index")) for name in names)


def _none_in(directory: str, command: str) -> str:
    saves = [each for each in found(directory).saves if _has_some(each)]
    if saves:
        more = f", and {len(saves) - MOST} more" if len(saves) > MOST else ""
        there = f"Below it, there are in: {', '.join(saves[:MOST])}{more}. Write {command} {saves[0]}"
        return f"There is no checkpoint in {directory!r} itself. {there}"
    begun = " A run has begun there, and has saved nothing yet." if LOCK in os.listdir(directory) else ""
    return f"There is no checkpoint in {directory!r}, nor below it.{begun}"
