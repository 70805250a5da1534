"""Files of checkpoints at an address that `tf.io.gfile` reaches, such as `gs://...`."""

import contextlib
import errno
import functools
import hashlib
import logging
from collections.abc import Iterator, Mapping

import tensorflow as tf

from hooks.checkpoint_files import Measure, compare
from hooks.checkpoint_manifest import CorruptCheckpoint

log = logging.getLogger("exactloop")


class RemoteFiles:
    """A directory that `tf.io.gfile` reaches. Nothing can be flushed, locked or pinned there."""

    def __init__(self, directory: str, *, make: bool) -> None:
        self.where = self.prefix = directory if directory.endswith("://") else directory.rstrip("/")
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

    def lock(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ensure(self) -> bool:
        if tf.io.gfile.isdir(self.where):
            return False
        log.warning("%r was removed while this run was under way. It is made again.", self.where)
        with _as_os_errors():
            tf.io.gfile.makedirs(self.where)
        return True

    def free(self) -> int | None:
        return None

    def names(self, directory: str = ".") -> list[str]:
        with _as_os_errors():
            path = self.where if directory == "." else self._path(directory)
            return [name.rstrip("/") for name in tf.io.gfile.listdir(path)]

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[str]:
        """Yields the path of a plain file."""
        try:
            if tf.io.gfile.isdir(self._path(name)):
                raise CorruptCheckpoint(self._path(name), "is not a plain file")
            yield self._path(name)
        except tf.errors.OpError as error:
            raise CorruptCheckpoint(
                self._path(name), f"cannot be read: {error.message or type(error).__name__}"
            ) from error

    def size(self, name: str) -> int:
        with self._reading(name) as path:
            return tf.io.gfile.stat(path).length

    def read(self, name: str, limit: int) -> bytes:
        if (size := self.size(name)) > limit:
            raise CorruptCheckpoint(self._path(name), f"has {size} bytes, more than {limit}")
        with self._reading(name) as path, tf.io.gfile.GFile(path, "rb") as file:
            return file.read()

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        size = self.size(name)
        with self._reading(name) as path, tf.io.gfile.GFile(path, "rb") as file:
            return file.read(count), size

    def _sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self._reading(name) as path, tf.io.gfile.GFile(path, "rb") as file:
            while block := file.read(2**24):
                digest.update(block)
        return digest.hexdigest()

    def measure(self, name: str) -> Measure:
        return self.size(name), self._sha256(name)

    @contextlib.contextmanager
    def pinned(self, files: Mapping[str, Measure]) -> Iterator[str]:
        for name, measured in files.items():
            compare(self._path(name), measured, self.size(name), functools.partial(self._sha256, name))
        yield self.prefix

    def write(self, name: str, content: bytes) -> None:
        with _as_os_errors(), tf.io.gfile.GFile(self._path(name), "wb") as file:
            file.write(content)

    def sync(self, name: str = ".") -> None:
        pass

    def rename(self, name: str, to: str) -> None:
        with _as_os_errors():
            tf.io.gfile.rename(self._path(name), self._path(to), overwrite=True)

    def remove(self, name: str) -> None:
        with _as_os_errors():
            if tf.io.gfile.isdir(self._path(name)):
                tf.io.gfile.rmtree(self._path(name))
            elif tf.io.gfile.exists(self._path(name)):
                tf.io.gfile.remove(self._path(name))

    def make(self, name: str) -> None:
        with _as_os_errors():
            tf.io.gfile.mkdir(self._path(name))


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, error.message) from error
