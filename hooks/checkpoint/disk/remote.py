"""Files of checkpoints at an address that `tf.io.gfile` reaches, such as `gs://...`."""

import contextlib
import errno
import functools
import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Set
from typing import TypeVar

import tensorflow as tf

from hooks.checkpoint.disk.files import Measure, compare
from hooks.checkpoint.disk.state_file import LISTED, STATE
from hooks.checkpoint.disk.stems import MARK, ROOM, ROWS
from hooks.checkpoint.record.manifest import CorruptCheckpoint

log = logging.getLogger("exactloop")


TRIES = 3
# Of what commits or is data: by these, a listing and TensorFlow's list are compared.
STEM = re.compile(r"((?:ckpt|pending)-[0-9]+)\.(?:json|index)")
# Of one part: what is saved here has no more, and a service is asked for each by its name.
ENDINGS = (".json", MARK, ".index", ".data-00000-of-00001", ROWS)
ERRNO = {
    tf.errors.NotFoundError: errno.ENOENT,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.UnauthenticatedError: errno.EACCES,
    tf.errors.ResourceExhaustedError: errno.EDQUOT,
    tf.errors.DeadlineExceededError: errno.ETIMEDOUT,
    tf.errors.UnavailableError: errno.EAGAIN,
    tf.errors.AbortedError: errno.EAGAIN,
    tf.errors.CancelledError: errno.EAGAIN,
}
# Such a file may be whole: to call it damaged would have an older checkpoint taken.
AWAY = {errno.EDQUOT, errno.ETIMEDOUT, errno.EAGAIN}  # of a service that cannot be asked now
Result = TypeVar("Result")


class RemoteFiles:
    """A directory that `tf.io.gfile` reaches. Nothing can be flushed, locked or pinned there.

    A listing may be late: what has just been written is missing, what has just been removed is there. So it is compared
    to TensorFlow's list of checkpoints, and where they disagree, the service is asked for each file by its name.
    """

    def __init__(self, directory: str, *, make: bool) -> None:
        self.where = self.prefix = directory if directory.endswith("://") else directory.rstrip("/")
        with _as_os_errors(self.where):
            self._open(make)

    def _open(self, make: bool) -> None:
        if make:
            try:
                tf.io.gfile.makedirs(self.where)
            except (tf.errors.AlreadyExistsError, tf.errors.FailedPreconditionError) as error:
                raise NotADirectoryError(
                    f"Checkpoints need a directory. Received: {self.where!r}, which is, or is below, a file."
                ) from error
            except tf.errors.UnimplementedError as error:
                raise ValueError(f"TensorFlow has no file system for {self.where!r}: {error.message}") from error
        elif not tf.io.gfile.isdir(self.where):
            raise FileNotFoundError(errno.ENOENT, "There is no such directory", self.where)

    def _path(self, name: str) -> str:
        return f"{self.where}/{name}"

    def lock(self) -> None:  # there is nothing to lock with: two runs to one address are not told
        pass

    def close(self) -> None:
        pass

    def ensure(self) -> bool:
        if tf.io.gfile.isdir(self.where) or self.names():  # the first is also False if the service is away
            return False
        log.warning("%r was removed while this run was under way. It is made again.", self.where)
        with _as_os_errors(self.where):
            tf.io.gfile.makedirs(self.where)
        return True

    def free(self) -> int | None:
        return None

    def names(self, directory: str = ".") -> list[str]:
        if directory != ".":
            path, stem = self._path(directory), directory.removesuffix(ROOM)
            with _as_os_errors(path):
                listed = {name.rstrip("/") for name in tf.io.gfile.listdir(path)}
                usual = [f"{stem}{ending}" for ending in ENDINGS if ending not in (MARK, ".json")]
                return sorted(listed.union(name for name in usual if self._is_file(f"{directory}/{name}")))
        with _as_os_errors(self.where):
            try:
                listed = {name.rstrip("/") for name in tf.io.gfile.listdir(self.where)}
            except tf.errors.NotFoundError:
                return []  # of many services, a directory without files is none
            there = {match[1] for name in listed if (match := STEM.fullmatch(name))}
            # Marks as well: a commit renames one, and a listing may have neither name or both.
            for stem in _doubtful(there, self._in_list()) | {n.removesuffix(MARK) for n in listed if n.endswith(MARK)}:
                for name in [f"{stem}{ending}" for ending in ENDINGS]:
                    listed.discard(name)
                    if self._is_file(name):
                        listed.add(name)
        return sorted(listed)

    def _is_file(self, name: str) -> bool:
        try:  # not `exists`, by which in memory ckpt-9.json is there as soon as ckpt-9.json.tmp is
            return not tf.io.gfile.stat(self._path(name)).is_directory
        except tf.errors.NotFoundError:
            return False

    def _in_list(self) -> set[str]:
        try:
            with tf.io.gfile.GFile(self._path(STATE), "rb") as file:
                content = file.read(2**20).decode(errors="replace")
        except tf.errors.OpError:  # it is but a hint
            return set()
        return set(re.findall(r'all_model_checkpoint_paths: "(?:[^"]*/)?((?:ckpt|pending)-[0-9]+)"', content))

    def _reading(self, name: str, read: Callable[[str], Result]) -> Result:
        """Returns what is read of the path of a plain file; what fails is tried again, unless that cannot help."""
        path = self._path(name)
        for left in reversed(range(TRIES)):
            try:
                if tf.io.gfile.isdir(path):
                    raise CorruptCheckpoint(path, "is not a plain file")
                return read(path)
            except tf.errors.OpError as error:
                number, said = ERRNO.get(type(error), errno.EIO), error.message or type(error).__name__
                if number in AWAY and not left:
                    raise OSError(number, f"{said}. It may be whole; try again later", path) from error
                if number not in AWAY and (number != errno.EIO or not left):
                    raise CorruptCheckpoint(path, f"cannot be read: {said}") from error
        raise AssertionError("there is at least one try")

    def size(self, name: str) -> int:
        return self._reading(name, lambda path: tf.io.gfile.stat(path).length)

    def read(self, name: str, limit: int) -> bytes:
        if (size := self.size(name)) > limit:  # asked first: what is planted may be of any size
            raise CorruptCheckpoint(self._path(name), f"has {size} bytes, more than {limit}")
        return self._reading(name, _content)

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        size = self.size(name)
        return self._reading(name, functools.partial(_content, count=count)), size

    def _sha256(self, name: str) -> str:
        return self._reading(name, _digest)

    def measure(self, name: str) -> Measure:
        return self.size(name), self._sha256(name)

    @contextlib.contextmanager
    def pinned(self, files: Mapping[str, Measure]) -> Iterator[str]:
        for name, measured in files.items():
            # Reads all of it once to hash it, and TensorFlow once more: nothing here holds it fast in between.
            compare(self._path(name), measured, self.size(name), functools.partial(self._sha256, name))
        yield self.prefix

    def write(self, name: str, content: bytes) -> None:
        with _as_os_errors(self._path(name)), tf.io.gfile.GFile(self._path(name), "wb") as file:
            file.write(content)

    def sync(self, name: str = ".") -> None:  # what a service has acknowledged is there
        pass

    def rename(self, name: str, to: str) -> None:
        with _as_os_errors(self._path(name)):
            # At some services this copies and removes, so it is no single instant there.
            tf.io.gfile.rename(self._path(name), self._path(to), overwrite=True)

    def link(self, name: str, to: str) -> None:
        with _as_os_errors(self._path(name)):
            tf.io.gfile.copy(self._path(name), self._path(to))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), _as_os_errors(self._path(name)):
            if tf.io.gfile.isdir(self._path(name)):
                tf.io.gfile.rmtree(self._path(name))
            elif tf.io.gfile.exists(self._path(name)):
                tf.io.gfile.remove(self._path(name))

    def make(self, name: str) -> None:
        with _as_os_errors(self._path(name)):
            tf.io.gfile.mkdir(self._path(name))


def _doubtful(listed: Set[str], known: Set[str]) -> set[str]:
    """Returns the checkpoints of which a listing and TensorFlow's list say other things.

    Of those that are older than what is in a full list, it says nothing; there may be thousands, all of them listed.
    """
    oldest = min(map(_step, known)) if len(known) >= LISTED else 0  # as many of the latest are in it, or all there are
    return {stem for stem in listed ^ known if _step(stem) >= oldest}


def _step(stem: str) -> int:
    return int(stem.partition("-")[2])


def _content(path: str, count: int = -1) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read(count)


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while block := file.read(2**24):  # 16 MiB at a time, whatever a checkpoint has
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(ERRNO.get(type(error), errno.EIO), error.message or type(error).__name__, path) from error
