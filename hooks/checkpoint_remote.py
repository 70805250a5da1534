"""Files of checkpoints at an address that `tf.io.gfile` reaches, such as `gs://...`."""

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping

import tensorflow as tf

from hooks.checkpoint_files import Measure, compare
from hooks.checkpoint_manifest import CorruptCheckpoint


class RemoteFiles:
    """A directory that `tf.io.gfile` reaches. Nothing can be flushed or locked there: one run to a directory."""

    def __init__(self, directory: str, *, make: bool) -> None:
        self.where = self.prefix = directory
        if make:
            tf.io.gfile.makedirs(self.where)

    def _path(self, name: str) -> str:
        return f"{self.where}/{name}"

    def lock(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ensure(self) -> bool:
        there = tf.io.gfile.isdir(self.where)
        tf.io.gfile.makedirs(self.where)
        return not there

    def free(self) -> int | None:
        return None

    def names(self) -> list[str]:
        return [name.rstrip("/") for name in tf.io.gfile.listdir(self.where)]

    def size(self, name: str) -> int:
        try:
            if tf.io.gfile.isdir(self._path(name)):
                raise CorruptCheckpoint(self._path(name), "is not a plain file")
            return tf.io.gfile.stat(self._path(name)).length
        except tf.errors.OpError as error:
            raise CorruptCheckpoint(self._path(name), f"cannot be opened: {error.message}") from error

    def read(self, name: str, limit: int) -> bytes:
        if (size := self.size(name)) > limit:
            raise CorruptCheckpoint(self._path(name), f"has {size} bytes, more than {limit}")
        with tf.io.gfile.GFile(self._path(name), "rb") as file:
            return file.read()

    def _sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with tf.io.gfile.GFile(self._path(name), "rb") as file:
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
        with tf.io.gfile.GFile(self._path(name), "wb") as file:
            file.write(content)

    def sync(self, name: str = ".") -> None:
        pass

    def rename(self, name: str, to: str) -> None:
        tf.io.gfile.rename(self._path(name), self._path(to), overwrite=True)

    def remove(self, name: str) -> None:
        remove = tf.io.gfile.rmtree if tf.io.gfile.isdir(self._path(name)) else tf.io.gfile.remove
        remove(self._path(name))

    def make(self, name: str) -> None:
        tf.io.gfile.mkdir(self._path(name))
