"""Files of checkpoints on a local disk."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import io
import logging
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping

from hooks.checkpoint_files import Measure, compare
from hooks.checkpoint_manifest import CorruptCheckpoint

log = logging.getLogger("exactloop")
LOCKS: set[int] = set()  # descriptors by which this process holds a lock


class LocalFiles:
    """A directory of this machine, reached by descriptor: whatever its name looks like, or becomes, it is this one.

    A writer holds a `flock` on the file `.lock`, which ends with the process. Links, pipes and devices are not opened.
    """

    def __init__(self, directory: str, *, make: bool) -> None:
        self.where = directory
        self._make, self._lock = make, -1
        self._directory = self._opened()
        # TensorFlow takes a path for a pattern in places: by way of the descriptor, the name never reaches it.
        self.prefix = f"/proc/self/fd/{self._directory}"

    def _opened(self) -> int:
        try:
            if self._make:
                _make_durably(self.where)
            return os.open(self.where, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(
                f"Checkpoints need a directory. Received: {self.where!r}, which is, or is below, a file."
            ) from error
        except PermissionError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OSError:
        return type(error)(
            f"Checkpoints cannot be written to {self.where!r}: {error.strerror}. "
            "Give a directory that this process may write to."
        )

    def lock(self) -> None:
        _forget_in_children()
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._lock = os.open(".lock", flags, 0o644, dir_fd=self._directory)
            LOCKS.add(self._lock)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(self._lock, 0)  # at once: an earlier holder's name must not be taken for this one's
            me = f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}"
            os.pwrite(self._lock, me.encode(), 0)
            if not os.access(self.prefix, os.W_OK | os.X_OK, effective_ids=True):
                # Now, not when the first save comes after hours.
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        except BlockingIOError as error:
            holder = self._holder()
            self._unlock()
            raise RuntimeError(
                f"{self.where!r} is being written by another trainer ({holder}). "
                "Wait for it to end, or give this one a directory of its own."
            ) from error
        except OSError as error:
            self._unlock()
            raise self._unwritable(error) from error

    def _holder(self) -> str:
        """Returns what its holder wrote into the lock file, just after it got the lock: so this waits a little."""
        for _ in range(5):
            time.sleep(0.1)
            if written := os.pread(self._lock, 200, 0):
                return written.decode(errors="replace")
        return "which does not say who it is"

    def _unlock(self) -> None:
        if self._lock in LOCKS:  # else this is a child, which has let go of it
            LOCKS.discard(self._lock)
            os.close(self._lock)
        self._lock = -1

    def close(self) -> None:
        self._unlock()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def ensure(self) -> bool:
        mine = os.fstat(self._directory)
        if mine.st_nlink:
            if not os.path.isdir(self.where) or not os.path.samestat(mine, os.stat(self.where)):
                now = os.readlink(self.prefix)
                raise NotADirectoryError(
                    f"{self.where!r} is not the directory any more that this run began in: {now!r}"
                )
            self._ensure_lock()
            return False
        log.warning("%r was removed while this run was under way. It is made again.", self.where)
        again = self._opened()
        os.dup2(again, self._directory, inheritable=False)  # `prefix` stays what it is
        os.close(again)
        self._ensure_lock()
        return True

    def _ensure_lock(self) -> None:
        """Takes the lock again if its file is gone, or another."""
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(".lock", dir_fd=self._directory, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(self._lock)):
                return
        self._unlock()
        try:
            self.lock()
        except RuntimeError as error:
            raise OSError(errno.EBUSY, str(error)) from error

    def free(self) -> int | None:
        try:
            disk = os.fstatvfs(self._directory)
        except OSError:  # of a disk that is broken, say
            return None
        return disk.f_bavail * disk.f_frsize

    def names(self, directory: str = ".") -> list[str]:
        if directory == ".":
            return os.listdir(self._directory)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._directory)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _plain(self, name: str) -> Iterator[tuple[int, int]]:
        """Yields descriptor and size of a plain file. What is none is not waited for."""
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=self._directory)
        except OSError as error:
            reason = "is a link" if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}"
            raise CorruptCheckpoint(os.path.join(self.where, name), reason) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CorruptCheckpoint(os.path.join(self.where, name), "is not a plain file")
            yield descriptor, status.st_size
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int:
        with contextlib.suppress(OSError):  # without opening it, which takes three times as long
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return status.st_size
        with self._plain(name) as (_, size):
            return size

    def read(self, name: str, limit: int) -> bytes:
        with self._plain(name) as (descriptor, size):
            if size > limit:
                raise CorruptCheckpoint(os.path.join(self.where, name), f"has {size} bytes, more than {limit}")
            with _reading(os.path.join(self.where, name), descriptor) as file:
                return file.read(limit)

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        with self._plain(name) as (descriptor, size):
            try:
                return os.pread(descriptor, count, 0), size
            except OSError as error:
                raise _unreadable(os.path.join(self.where, name), error) from error

    def measure(self, name: str) -> Measure:
        with self._plain(name) as (descriptor, size):
            return size, _sha256(os.path.join(self.where, name), descriptor)

    @contextlib.contextmanager
    def pinned(self, files: Mapping[str, Measure]) -> Iterator[str]:
        # What TensorFlow reads are the very files that were measured, even if they are removed or replaced meanwhile.
        with contextlib.ExitStack() as stack:
            links = stack.enter_context(tempfile.TemporaryDirectory(prefix="exactloop-"))
            for name, measured in files.items():
                path = os.path.join(self.where, name)
                descriptor, size = stack.enter_context(self._plain(name))
                compare(path, measured, size, functools.partial(_sha256, path, descriptor))
                os.symlink(f"/proc/self/fd/{descriptor}", os.path.join(links, name))
            directory = os.open(links, os.O_RDONLY | os.O_DIRECTORY)  # its name does not reach TensorFlow either
            stack.callback(os.close, directory)
            yield f"/proc/self/fd/{directory}"

    def write(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(name, flags, 0o666, dir_fd=self._directory), "wb") as file:
            file.write(content)

    def sync(self, name: str = ".") -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._directory)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=self._directory)
            else:
                os.unlink(name, dir_fd=self._directory)

    def make(self, name: str) -> None:
        os.mkdir(name, dir_fd=self._directory)


@contextlib.contextmanager
def _reading(path: str, descriptor: int) -> Iterator[io.BufferedReader]:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> CorruptCheckpoint:
    return CorruptCheckpoint(path, f"cannot be read: {error.strerror}")


def _sha256(path: str, descriptor: int) -> str:
    with _reading(path, descriptor) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_durably(directory: str) -> None:
    """Makes a directory, and those above it, so that they are there after a power failure."""
    if not os.path.isdir(directory):
        above = os.path.dirname(directory)
        _make_durably(above)
        try:
            os.mkdir(directory)
        except FileExistsError:
            if not os.path.isdir(directory):  # else somebody else has made it just now
                raise
        descriptor = os.open(above, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@functools.cache
def _forget_in_children() -> None:
    """Lets go of the locks in processes that are forked from this one, or they would hold them when it is dead."""

    def forget() -> None:
        for descriptor in LOCKS:
            os.close(descriptor)
        LOCKS.clear()

    os.register_at_fork(after_in_child=forget)
