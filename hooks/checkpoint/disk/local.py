"""Files of checkpoints on a local disk."""

import contextlib
import errno
import functools
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping

from hooks.checkpoint.disk.durable import flush, make_durably
from hooks.checkpoint.disk.errors import named, reading
from hooks.checkpoint.disk.files import Measure, compare
from hooks.checkpoint.disk.lock import NAME, Lock, close
from hooks.checkpoint.disk.stems import kept_for, order
from hooks.checkpoint.record.manifest import CorruptCheckpoint

log = logging.getLogger("exactloop")


class LocalFiles:
    """A directory of this machine, reached by descriptor: whatever its name looks like, or becomes, it is this one.

    Links, pipes and devices are not opened. No file is written to that has another name besides, as in a backup that
    was made by `cp -al`.
    """

    def __init__(self, directory: str, *, make: bool) -> None:
        self.where = directory
        self._make = make  # also when `ensure` opens it anew
        self._directory = self._opened()
        # Taken by `lock` alone: a reader opens the same directory and never has it.
        self._lock = Lock(self._directory, directory)
        # TensorFlow takes a path for a pattern in places: by way of the descriptor, the name never reaches it.
        self.prefix = f"/proc/self/fd/{self._directory}"

    def _opened(self) -> int:
        try:
            if self._make:
                make_durably(self.where)
            # From here on by descriptor: renaming a parent, or a link put in its place, leads nowhere else.
            return os.open(self.where, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, NotADirectoryError) as error:
            instead = _instead(self.where)
            raise NotADirectoryError(
                f"Checkpoints need a directory. Received: {self.where!r}, which is, or is below, {instead}."
                + _of_one(self.where)
            ) from error
        except OSError as error:
            if error.errno == errno.ENOENT and not self._make:
                raise FileNotFoundError(f"There is no directory {self.where!r}.{_of_one(self.where)}") from None
            if error.errno == errno.ENAMETOOLONG:
                size = len(os.fsencode(self.where))  # bytes count, and a letter may have four
                raise OSError(
                    error.errno,
                    "A path can have 4,095 bytes here, and each name in it 255. Give checkpoints a shorter directory. "
                    f"Received one of {size:,} bytes: '{self.where[:60]}...'",
                ) from error
            if not self._make:
                said = f"Checkpoints cannot be read from {self.where!r}: {error.strerror}."
                raise type(error)(error.errno, said) from error
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError, remedy: str = "Give a directory that this process may write to") -> OSError:
        said = type(error)(f"Checkpoints cannot be written to {self.where!r}: {error.strerror}. {remedy}.")
        said.errno = error.errno
        return said

    def lock(self) -> None:
        try:
            self._lock.take()
            # By the effective user, which is the one that files would be written as.
            if not os.access(self.prefix, os.W_OK | os.X_OK, effective_ids=True):
                # Now, not when the first save comes after hours.
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        # The lock may be taken by now, and a start that fails has to let go of it.
        except OSError as error:
            self._lock.release()
            if self._lock.is_in_the_way():
                raise self._unwritable(error, f"Remove {NAME!r} in it, which is no plain file") from error
            raise self._unwritable(error) from error

    def close(self) -> None:
        self._lock.release()
        # First: the number may be somebody else's file by the next call, if an interrupt has cut this one short.
        directory, self._directory = self._directory, -1
        if directory >= 0:
            close(directory)

    def ensure(self) -> bool:
        with named(self.where):
            # Asked before each save, as anybody may have moved or removed it since the last one.
            mine = self._status()
            # A directory that was removed has no links any more, though its descriptor is open.
            if mine is not None and mine.st_nlink:
                # It has another name by now: whoever starts the run again would look at this one, and find nothing.
                if not os.path.isdir(self.where) or not os.path.samestat(mine, os.stat(self.where)):
                    now = os.readlink(self.prefix)
                    raise NotADirectoryError(
                        f"{self.where!r} is not the directory any more that this run began in: {now!r}"
                    )
                self._lock.ensure()
                return False
        if mine is not None:
            log.warning("%r was removed while this run was under way. It is made again.", self.where)
        again = self._opened()
        os.dup2(again, self._directory, inheritable=False)  # `prefix` stays what it is
        close(again)
        self._lock.ensure()
        return True

    def _status(self) -> os.stat_result | None:
        """Returns what the system says of the directory; None if its server knows it by another number by now."""
        try:
            return os.fstat(self._directory)
        except OSError as error:
            if error.errno == errno.ESTALE:  # as NFS says of what was made anew on the server
                return None
            raise

    def free(self) -> int | None:
        try:
            disk = os.fstatvfs(self._directory)
        except OSError:  # of a disk that is broken, say
            return None
        return disk.f_bavail * disk.f_frsize  # without what is reserved for root

    def names(self, directory: str = ".") -> list[str]:
        if directory == ".":
            with named(self.where):
                return os.listdir(self._directory)
        with named(os.path.join(self.where, directory)):
            # A link of this name is not followed: it may lead to files that are not ours.
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._directory)
            try:
                return os.listdir(descriptor)
            finally:
                close(descriptor)

    @contextlib.contextmanager
    def _plain(self, name: str) -> Iterator[tuple[int, int]]:
        """Yields descriptor and size of a plain file. What is none is not waited for."""
        path = os.path.join(self.where, name)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = reading(path, lambda: os.open(name, flags, dir_fd=self._directory))
        try:
            status = reading(path, lambda: os.fstat(descriptor))
            if not stat.S_ISREG(status.st_mode):
                raise CorruptCheckpoint(path, "is not a plain file")
            # Size and content are of one descriptor: another file put under the name meanwhile changes neither.
            yield descriptor, status.st_size
        finally:
            close(descriptor)

    def size(self, name: str) -> int:
        with contextlib.suppress(OSError):  # without opening it, which takes three times as long
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return status.st_size
        with self._plain(name) as (_, size):
            return size

    def read(self, name: str, limit: int) -> bytes:
        path = os.path.join(self.where, name)
        with self._plain(name) as (descriptor, size):
            if size > limit:  # before it is read: a planted one must not fill the memory
                raise CorruptCheckpoint(path, f"has {size} bytes, more than {limit}")
            return reading(path, lambda: _content(descriptor, limit))

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        with self._plain(name) as (descriptor, size):
            return reading(os.path.join(self.where, name), lambda: os.pread(descriptor, count, 0)), size

    def measure(self, name: str) -> Measure:
        path = os.path.join(self.where, name)
        with self._plain(name) as (descriptor, size):
            return size, _sha256(path, descriptor)

    @contextlib.contextmanager
    def pinned(self, files: Mapping[str, Measure]) -> Iterator[str]:
        # What TensorFlow reads are the very files that were measured, even if they are removed or replaced meanwhile.
        with contextlib.ExitStack() as stack:
            links = stack.enter_context(_for_links(self.prefix))
            for name, measured in files.items():
                path = os.path.join(self.where, name)
                descriptor, size = stack.enter_context(self._plain(name))
                compare(path, measured, size, functools.partial(_sha256, path, descriptor))
                with named(links):
                    os.symlink(f"/proc/self/fd/{descriptor}", os.path.join(links, name))
            with named(links):
                directory = os.open(links, os.O_RDONLY | os.O_DIRECTORY)  # its name does not reach TensorFlow either
            stack.callback(close, directory)
            yield f"/proc/self/fd/{directory}"

    def write(self, name: str, content: bytes) -> None:
        with named(os.path.join(self.where, name)):
            # Not O_TRUNC: it would empty the file in the copy as well, before the links are counted.
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, 0o666, dir_fd=self._directory)
            with open(descriptor, "wb") as file:
                if os.fstat(descriptor).st_nlink <= 1:
                    os.ftruncate(descriptor, 0)
                    file.write(content)
                    return
            os.unlink(name, dir_fd=self._directory)  # it is in a copy, too, which is not to change
            with open(os.open(name, flags | os.O_EXCL, 0o666, dir_fd=self._directory), "wb") as file:
                file.write(content)

    def sync(self, name: str = ".") -> None:
        path = os.path.join(self.where, name)
        with named(path):
            if name == ".":
                return flush(self._directory, self.where)
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._directory)
            try:
                flush(descriptor, self.where)
            finally:
                close(descriptor)

    def rename(self, name: str, to: str) -> None:
        with named(os.path.join(self.where, name)):
            os.rename(name, to, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def link(self, name: str, to: str) -> None:
        with named(os.path.join(self.where, name)):
            os.link(name, to, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=False)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), named(os.path.join(self.where, name)):
            # Of a link, the link itself goes, and nothing of what it leads to.
            if stat.S_ISDIR(os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=self._directory)
            else:
                os.unlink(name, dir_fd=self._directory)

    def make(self, name: str) -> None:
        with named(os.path.join(self.where, name)):
            os.mkdir(name, dir_fd=self._directory)


def _for_links(otherwise: str) -> "tempfile.TemporaryDirectory[str]":
    """Returns a directory for links. It is in `otherwise` where there is none for what is temporary, or no room."""
    try:
        return tempfile.TemporaryDirectory(prefix="exactloop-", ignore_cleanup_errors=True)
    except OSError:  # as in a container of which only the volume of the checkpoints can be written to
        return tempfile.TemporaryDirectory(prefix=".exactloop-", dir=otherwise, ignore_cleanup_errors=True)


def _content(descriptor: int, limit: int) -> bytes:
    # A copy, since `open` closes what it is given, and `_plain` closes its own. Both have one position.
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)  # it is the second try, perhaps
        return file.read(limit)


def _sha256(path: str, descriptor: int) -> str:
    def digest() -> str:
        with open(os.dup(descriptor), "rb") as file:
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    return reading(path, digest)


def _of_one(path: str) -> str:
    """Returns what to write for the path of one checkpoint, as TensorFlow takes it, or of a file of it."""
    directory, name = os.path.split(path)
    stem = kept_for(name) or kept_for(f"{name}.json")
    if stem is None or not os.path.exists(os.path.join(directory, f"{stem}.json")):
        return ""
    step, _ = order(stem)
    return f" {stem} is a checkpoint in {directory!r}: give that directory; for this one, restore(..., which={step})."


def _instead(directory: str) -> str:
    """Returns what is there, or above it, in the place of a directory."""
    path = directory
    while path != os.path.dirname(path):  # up to the root, which is its own parent
        if os.path.islink(path) and not os.path.exists(path):
            return f"a link to {os.readlink(path)!r}, where nothing is. Make that directory, or remove the link"
        path = os.path.dirname(path)
    return "a file"
