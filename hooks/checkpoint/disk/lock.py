"""Who may write to a directory of this machine: one process at a time."""

import contextlib
import errno
import fcntl
import functools
import io
import logging
import os
import socket
import stat
import time
from collections.abc import Iterator

log = logging.getLogger("exactloop")
NAME = ".lock"  # begins with a dot, so it is no name of a checkpoint; never removed, or two could lock two files
# A lock belongs to the open file, which a child inherits: it would outlive a killed parent there.
LOCKS: set[io.FileIO] = set()  # by which this process holds locks
# What file systems say that have none.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class Lock:
    """A `flock` on the file `.lock` of a directory, which ends with the process.

    Whoever has it writes its name into the file, and whoever finds another's name there before it saves, saves nothing
    any more: so it is on file systems without locks, or with locks that hold on one machine only.

    Args:
        directory: A descriptor, which whoever made it closes.
        where: What it is called.
    """

    def __init__(self, directory: int, where: str) -> None:
        self._directory, self.where, self._me = directory, where, b""
        # It closes itself once at most, in C: an interrupt never leaves a lock behind that nobody knows of.
        self._file: io.FileIO | None = None

    def take(self) -> None:
        """Becomes the only writer.

        Raises:
            RuntimeError: If there is another, with its pid, host and start.
            OSError: If that cannot be known.
        """
        _forget_in_children()
        try:
            # Again where the file was exchanged between opening and locking: that one is nobody's lock.
            while not self._taken():
                self.release()
            self._me = self._sign()
        except BlockingIOError as error:
            holder = self._holder()
            self.release()
            mine = holder.startswith(_me())
            remedy = (
                "It is this process: give each Checkpoint of it" if mine else "Wait for it to end, or give this one"
            )
            raise RuntimeError(
                f"{self.where!r} is being written by another trainer ({holder}). {remedy} a directory of its own."
            ) from error
        except OSError:
            self.release()
            raise

    def ensure(self) -> None:
        """Takes it again if the file is gone, or another. Raises `OSError` if somebody else has it by now."""
        if self._file is not None and not self._file.closed and self._is_there():
            # The last name in the file counts where there are no locks, or each machine has its own of a shared disk.
            if os.pread(self._descriptor, 200, 0) == self._me:
                return
            raise OSError(errno.EBUSY, f"{self.where!r} is being written by another trainer by now ({self._holder()})")
        # The file is gone or another one. Between the two lines, somebody else may get it, and is told so.
        self.release()
        try:
            self.take()
        except RuntimeError as error:
            raise OSError(errno.EBUSY, str(error)) from error

    def release(self) -> None:
        """Lets others write. May be called again, also where an interrupt has cut it short."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closed it is, whatever the system says
                self._file.close()
            LOCKS.discard(self._file)

    def is_in_the_way(self) -> bool:
        """Returns whether something else is in the place of the file, which nobody can lock."""
        with contextlib.suppress(OSError):
            return not stat.S_ISREG(os.stat(NAME, dir_fd=self._directory, follow_symlinks=False).st_mode)
        return False

    @property
    def _descriptor(self) -> int:
        return -1 if self._file is None else self._file.fileno()

    def _taken(self) -> bool:
        """Returns whether it was; False: the file was another's by then, or belonged to two directories."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        # Whoever may write to the directory may have to lock it after this process, as far as the umask lets them.
        self._file = io.FileIO(os.open(NAME, flags, 0o666, dir_fd=self._directory), "r+")
        LOCKS.add(self._file)
        try:
            # Does not wait: a job that was started twice has to fail now, not when the other ends.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if self._of_a_copy():  # whoever has it writes there, and not here
                return self._part()
            raise
        except OSError as error:
            if error.errno not in NO_LOCKS:  # such as EIO, which says nothing of what the system can do
                raise
            log.warning(
                "%r is on a file system without locks (%s): nobody is kept from starting a second trainer there. One "
                "that finds out ends with an error.",
                self.where,
                error.strerror,
            )
        if os.fstat(self._descriptor).st_nlink > 1:
            return self._part()
        return self._is_there()

    def _is_there(self) -> bool:
        try:
            there = os.stat(NAME, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        try:
            return os.path.samestat(there, os.fstat(self._descriptor))
        except OSError as error:
            if error.errno == errno.ESTALE:  # its server has given it up, and the lock with it
                return False
            raise

    def _sign(self) -> bytes:
        """Writes into the file whose it is: a line for people, and one for `ensure`, which no other holder has."""
        os.truncate(self._descriptor, 0)  # at once: an earlier holder's name must not be taken for this one's
        # `exactloop watch` reads pid and host from this line.
        me = f"{_me()} since {time.strftime('%F %T')}"
        signed = f"{me}\n{self._place()} {os.urandom(8).hex()}\n".encode()
        os.pwrite(self._descriptor, signed, 0)
        return signed

    def _place(self) -> str:
        directory = os.fstat(self._directory)
        # By this a copy of the directory is told from itself.
        return f"{directory.st_dev}:{directory.st_ino}"

    def _holder(self) -> str:
        """Returns what its holder wrote into the file, just after it got the lock: so this waits a little."""
        for _ in range(5):
            time.sleep(0.1)  # half a second in all, of a start that fails anyway
            if written := os.pread(self._descriptor, 200, 0):
                return written.decode(errors="replace").split("\n")[0]
        return "which does not say who it is"

    def _of_a_copy(self) -> bool:
        """Returns whether the holder is in another directory, of which this one is a copy by hard links (`cp -al`)."""
        _, _, signed = os.pread(self._descriptor, 200, 0).partition(b"\n")
        place = signed.decode(errors="replace").split(" ")[0]
        return os.fstat(self._descriptor).st_nlink > 1 and place not in ("", self._place())

    def _part(self) -> bool:
        """Puts a file of its own in the place of one that is also in a copy. Of several who do that, one at a time."""
        with self._alone(), contextlib.suppress(FileNotFoundError):
            if os.stat(NAME, dir_fd=self._directory, follow_symlinks=False).st_nlink > 1:
                os.unlink(NAME, dir_fd=self._directory)
        return False

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Waits, for as long as somebody else takes to exchange one file.
        with contextlib.suppress(OSError):  # where there are no locks
            fcntl.flock(self._directory, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._directory, fcntl.LOCK_UN)


def _me() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()}"


def close(descriptor: int) -> None:
    """Closes what was not written to, or has been flushed: whatever the system says of it, it is closed then."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


@functools.cache
def _forget_in_children() -> None:
    """Lets go of the locks in processes that are forked from this one, or they would hold them when it is dead."""

    def forget() -> None:
        # In the child, before any of its own code: no other thread is there.
        for file in LOCKS:
            file.close()
        LOCKS.clear()

    os.register_at_fork(after_in_child=forget)
