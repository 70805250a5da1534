"""What an error of the system says about a file: that it is damaged, or only that it cannot be reached now."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

from hooks.checkpoint.record.manifest import CorruptCheckpoint

TRIES = 3  # of what may pass, as on a network's disk; each at once, since a save or a start waits for it
NO_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.ENOTDIR)
# Of these, trying again would say the same.
AT_ONCE = {errno.ELOOP: "is a link", **{number: f"cannot be opened: {os.strerror(number)}" for number in NO_FILE}}
# After three tries these are no passing trouble: the bytes are gone.
OF_THE_DISK = {errno.EIO, errno.EUCLEAN, errno.EBADMSG}
Result = TypeVar("Result")


def reading(path: str, read: Callable[[], Result]) -> Result:
    """Returns what `read` returns. What fails is tried again, unless that cannot help.

    Raises:
        CorruptCheckpoint: If the file is damaged, or is none.
        OSError: If it may be whole, and cannot be read now: for lack of descriptors, or because a server is away. To
            take an older checkpoint then would throw away a good one.
    """
    for left in reversed(range(TRIES)):
        try:
            return read()
        except OSError as error:
            if error.errno in AT_ONCE:
                raise CorruptCheckpoint(path, AT_ONCE[error.errno]) from error
            if left:
                continue
            if error.errno in OF_THE_DISK:
                raise CorruptCheckpoint(path, f"cannot be read: {error.strerror}") from error
            error.filename = path  # opened relative to a directory, it would name the last part only
            raise
    raise AssertionError("there is at least one try")


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Puts the whole path into errors, which know part of it, or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # else it has a text of its own
            error.filename = path
        raise


class Differing(RuntimeError):
    """Workers do not hold the same values, so that what the first one holds must not be saved."""
