"""A disk in memory that knows what a power failure could leave of it.

What is written lasts when it has been synced: the content of a file by a sync of the file, a name (made, changed or
gone) by a sync of the directory. Of anything else, any part may have got to the disk, in any order. Content belongs to
a file and not to its name, so it stays as durable as it was when the file is renamed.
"""

import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import hooks.checkpoint.disk.files
import hooks.checkpoint.record.manifest

Tree = dict[str, bytes]  # content by name
MOST = 250  # states of one instant; of more, so many are drawn


@dataclass
class Inode:
    """A file: what is in it, and whether that is on the disk."""

    content: bytes
    synced: bool = False
    there: bool = False  # synced once, so that nothing but what was written since can be lost

    def after_power_loss(self, junk: bool) -> list[bytes | None]:
        """Returns what may be in it; None: it is not even there."""
        if self.synced:
            return [self.content]
        half, zeros = self.content[: len(self.content) // 2], bytes(len(self.content))
        found = [self.content] if junk else [self.content, half, b"", zeros]
        return list(dict.fromkeys([*found, *([] if self.there else [None])]))


class Disk:
    """One directory; the `Files` of the store that is tried on it.

    Args:
        tree: What is there, on the disk.
        watch: Called after each operation that changes something.
    """

    where = prefix = "disk"

    def __init__(self, tree: Mapping[str, bytes], watch: Callable[[], None] = lambda: None) -> None:
        self._names = {name: Inode(content, synced=True, there=True) for name, content in tree.items()}
        self._changes: list[tuple[str, Inode | None]] = []  # of names, since the last sync of the directory
        self._durable = dict(self._names)
        self.watch = watch
        self._left: int | None = None  # operations until one fails

    def lock(self) -> None:
        pass

    def close(self) -> None:
        pass

    def ensure(self) -> bool:
        return False

    def free(self) -> int | None:
        return None

    def names(self, directory: str = ".") -> list[str]:
        below = "" if directory == "." else f"{directory}/"
        return sorted({name.removeprefix(below).split("/")[0] for name in self._names if name.startswith(below)})

    def size(self, name: str) -> int:
        return len(self.read(name, 2**30))

    def read(self, name: str, limit: int) -> bytes:
        if name not in self._names:
            raise hooks.checkpoint.record.manifest.CorruptCheckpoint(name, "missing")
        return self._names[name].content

    def beginning(self, name: str, count: int) -> tuple[bytes, int]:
        return self.read(name, count)[:count], self.size(name)

    def measure(self, name: str) -> tuple[int, str]:
        content = self.read(name, 2**30)
        return len(content), hashlib.sha256(content).hexdigest()

    @contextlib.contextmanager
    def pinned(self, files: Mapping[str, tuple[int, str]]) -> Iterator[str]:
        for name, measured in files.items():
            size, digest = self.measure(name)
            hooks.checkpoint.disk.files.compare(name, measured, size, lambda digest=digest: digest)
        yield "pinned"

    def fail(self, operation: int) -> None:
        """Lets the operation after so many fail, and only that one."""
        self._left = operation

    def _operate(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise OSError("the disk fails")

    def _set(self, name: str, inode: Inode | None) -> None:
        self._names.pop(name, None)
        if inode is not None:
            self._names[name] = inode
        self._changes.append((name, inode))

    def write(self, name: str, content: bytes) -> None:
        self._operate()
        if name in self._names:
            self._names[name].content, self._names[name].synced = content, False
        else:
            self._set(name, Inode(content))
        self.watch()

    def sync(self, name: str = ".") -> None:
        self._operate()
        if name == ".":
            self._durable, self._changes = dict(self._names), []
        elif name in self._names:  # not a directory in this one
            self._names[name].synced = self._names[name].there = True
        self.watch()

    def rename(self, name: str, to: str) -> None:
        self._operate()
        inode = self._names[name]
        self._set(name, None)
        self._set(to, inode)
        # The two halves of a rename are one change; a list of two entries of which one may be lost is too strict.
        second, first = self._changes.pop(), self._changes.pop()
        self._changes.append((f"{first[0]} -> {second[0]}", inode))
        self.watch()

    def remove(self, name: str) -> None:
        self._operate()
        for each in [each for each in self._names if each == name or each.startswith(f"{name}/")]:
            self._set(each, None)
        self.watch()

    def link(self, name: str, to: str) -> None:
        self._operate()
        if name not in self._names:
            raise FileNotFoundError(name)
        self._set(to, self._names[name])
        self.watch()

    def make(self, name: str) -> None:
        pass

    def tree(self) -> Tree:
        """Returns what a kill of the process leaves: all that was done."""
        return {name: inode.content for name, inode in self._names.items()}

    def after_power_loss(self, rng: random.Random) -> Iterator[Tree]:
        """Yields what a power failure may leave."""
        changed = [inode for _, inode in self._changes if inode is not None]
        inodes = list({id(each): each for each in [*self._durable.values(), *self._names.values(), *changed]}.values())
        # TensorFlow's state file is never read, so it is enough that it is there or not.
        junk = {id(inode) for name, inode in self._names.items() if name.startswith("checkpoint")}
        contents = [inode.after_power_loss(id(inode) in junk) for inode in inodes]
        done = [(True, False)] * len(self._changes)
        number = 2 ** len(done)
        for options in contents:
            number *= len(options)
        if number <= MOST:
            choices: Iterator[tuple] = itertools.product(*done, *contents)
        else:
            choices = (tuple(rng.choice(options) for options in [*done, *contents]) for _ in range(MOST))
        for choice in choices:
            yield self._tree(choice[: len(done)], dict(zip(map(id, inodes), choice[len(done) :], strict=True)))

    def _tree(self, done: tuple[bool, ...], contents: Mapping[int, bytes | None]) -> Tree:
        names = dict(self._durable)
        for (change, inode), happened in zip(self._changes, done, strict=True):
            if happened:
                old, _, new = change.partition(" -> ")
                names.pop(old, None)
                if inode is not None:
                    names[new or old] = inode
        found = {name: contents[id(inode)] for name, inode in names.items()}
        return {name: content for name, content in found.items() if content is not None}
