"""Where the directories of hooks are."""

import os
import re

BELOW = "EXACTLOOP_BELOW"  # the variable of the environment that puts everything below one directory


def path_of(directory: str | os.PathLike[str]) -> str:
    """Returns what a directory is called, whatever becomes of the working directory; an address as it is.

    While a script is proved, with the variable `BELOW` in its environment, it is a directory below that one instead, so
    that a proof leaves alone what the script made before.

    Raises:
        ValueError: If it was an address, and then a `Path`; or if there is something in braces to be filled in.
    """
    where, below = real_path(directory), os.environ.get(BELOW)
    # The whole path below it, so two hooks with two directories keep two there, too.
    return where if below is None else os.path.join(below, where.replace("://", "/").lstrip("/"))


def path_to_read(directory: str | os.PathLike[str]) -> str:
    """Returns the same for what is only read: the real directory, if nobody has written to the one in its place."""
    where = path_of(directory)
    # A script that restores somebody else's checkpoint finds it in a proof as well.
    return where if os.path.isdir(where) else real_path(directory)


def real_path(directory: str | os.PathLike[str]) -> str:
    """Returns what a directory is called when nothing is proved."""
    if not isinstance(directory, str | bytes | os.PathLike):
        raise TypeError(f"A directory is a str or a path. Received: {type(directory).__name__}.")
    path = os.fsdecode(directory)  # names of any bytes: what is no UTF-8 survives by surrogates
    if not path:
        raise ValueError("A directory needs a name. Received: an empty one. The present one is '.'.")
    if re.match(r"[a-z][a-z0-9+.-]+:/[^/]", path):
        raise ValueError(
            f"An address has to be a str: a pathlib.Path loses one of its slashes. Received: {directory!r}."
        )
    if field := re.search(r"\{\w*(:[^{}]*)?\}", path):  # as in the names of Keras' ModelCheckpoint
        raise ValueError(
            f"What a hook writes has one name, and nothing is put in the place of {field[0]}. Received: {directory!r}. "
            "Give a directory, or a file, for the whole run: steps and epochs are told apart within."
        )
    return path if is_remote(path) else os.path.abspath(path)


def is_remote(directory: str) -> bool:
    """Returns whether this is an address such as `gs://...`, for `tf.io.gfile`."""
    return "://" in directory
