"""Waits until what was written survives a power failure, where a file system can do that."""

import errno
import os
import stat

UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # what a file system cannot do
REFUSED = UNSUPPORTED | {errno.EACCES, errno.EPERM, errno.EBADF}  # and what some say if a directory is to be flushed


def flushed(descriptor: int) -> bool:
    """Flushes a file, or a directory, which is the names in it; returns False where a file system cannot do it.

    Args:
        descriptor: Of the file or directory.

    Raises:
        OSError: If it can, and has failed: what was written may be lost already.
    """
    try:
        os.fsync(descriptor)  # waits for the disk, from a millisecond to seconds
    except OSError as error:
        if error.errno not in (REFUSED if stat.S_ISDIR(os.fstat(descriptor).st_mode) else UNSUPPORTED):
            raise
        return False
    return True
