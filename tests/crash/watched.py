"""Files of which every operation is seen: told before it is done, and after."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

from hooks.checkpoint.disk.files import Files, Measure

Watch = Callable[[str, str, str], None]  # (operation, name, "before" or "after")


class Watched:
    """Hands everything on to other files, and tells of the operations that a save is made of."""

    def __init__(self, files: Files, watch: Watch) -> None:
        self._files, self._watch = files, watch
        self.where, self.prefix = files.where, files.prefix

    @contextlib.contextmanager
    def _told(self, operation: str, name: str) -> Iterator[None]:
        self._watch(operation, name, "before")
        yield
        self._watch(operation, name, "after")

    def lock(self) -> None:
        self._files.lock()

    def close(self) -> None:
        self._files.close()

    def ensure(self) -> bool:
        with self._told("ensure", "."):
            return self._files.ensure()

    def free(self) -> int | None:
        return self._files.free()

    def names(self, directory: str = ".") -> list[str]:
        return self._files.names(directory)

    def size(self, name: str) -> int:
        return self._files.size(name)

    def read(self, name: str, limit: int) -> bytes:
        return self._files.read(name, limit)

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        return self._files.beginning(name, count)

    def measure(self, name: str) -> Measure:
        return self._files.measure(name)

    def pinned(self, files: Mapping[str, Measure]) -> contextlib.AbstractContextManager[str]:
        return self._files.pinned(files)

    def write(self, name: str, content: bytes) -> None:
        with self._told("write", name):
            self._files.write(name, content)

    def sync(self, name: str = ".") -> None:
        with self._told("sync", name):
            self._files.sync(name)

    def rename(self, name: str, to: str) -> None:
        with self._told("rename", name):
            self._files.rename(name, to)

    def remove(self, name: str) -> None:
        with self._told("remove", name):
            self._files.remove(name)

    def link(self, name: str, to: str) -> None:
        with self._told("link", to):
            self._files.link(name, to)

    def make(self, name: str) -> None:
        with self._told("make", name):
            self._files.make(name)
