"""What is done so that files and directories are there after a power failure."""

import functools
import logging
import os

from hooks.checkpoint.disk.lock import close
from hooks.shared.flushing import flushed

log = logging.getLogger("exactloop")


def flush(descriptor: int, where: str) -> None:
    """Flushes a file, or a directory, which is the names in it. A file system that cannot do it is no error.

    Args:
        descriptor: Of the file or directory.
        where: The directory of checkpoints, for the log.
    """
    if not flushed(descriptor):
        _say_not_flushed(where)


# Once for each directory and process, and not at each of thousands of saves.
@functools.cache
def _say_not_flushed(where: str) -> None:
    log.warning("%r is on a file system that flushes nothing: a power failure may lose the latest checkpoints.", where)


def make_durably(directory: str) -> None:
    """Makes a directory, and those above it that are missing."""
    # From the top down, each name flushed before anything is put below it.
    if not os.path.isdir(directory):
        above = os.path.dirname(directory)
        make_durably(above)
        try:
            os.mkdir(directory)
        except FileExistsError:
            if not os.path.isdir(directory):  # else somebody else has made it just now
                raise
        descriptor = os.open(above, os.O_RDONLY)
        try:
            flush(descriptor, directory)
        finally:
            close(descriptor)
