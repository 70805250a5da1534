"""Where a worker waits for the others, and whether they wait elsewhere: then none would ever go on."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from loop.workers.store import Value

ALONE = (
    "Whatever waits for all workers is called by all: loop.evaluate, loop.roll_back, loop.run and loop.rehearse. So a "
    "hook that calls one of them has not everywhere=False, and the call is not below an `if` that only some of the "
    "workers enter, as in `if loop.workers.rank == 0:`"
)
SHORT = 0.001  # seconds


class Telling(Protocol):
    """What workers tell one another."""

    rank: int

    def put(self, key: str, value: Value) -> bool: ...

    def listen(self, key: str, timeout: float) -> Value: ...

    def remove(self, key: str) -> None: ...

    def name(self, rank: int) -> str: ...


class Waits:
    """What a worker waits for, as its thread that watches sees it.

    All workers wait for all others for the same things in the same order. So if the k-th wait of one of them is not
    that of the first one, they have gone different ways, and would wait for ever.

    Args:
        workers: All of them.
    """

    def __init__(self, workers: Telling) -> None:
        self._workers = workers
        self._at, self._count = "", 0  # for what this worker waits, nothing if it does not; and how often it has begun
        self._looked = self._told = self._agreed = 0

    @contextlib.contextmanager
    def waiting(self, at: str) -> Iterator[None]:
        """While in it, this worker waits for all others, as it does in each step."""
        # Before the place: the thread that watches never sees this wait under the number of the one before.
        self._count += 1
        self._at = at
        try:
            yield
        finally:
            self._at = ""

    def last(self) -> bool:
        """Returns whether this worker waits as it did when this was last asked."""
        # By number, not by place: most waits are for the same thing over and over.
        looked, self._looked = self._looked, self._count
        return self._at != "" and looked == self._count

    def elsewhere(self) -> str | None:
        """Returns, in words, that the first worker waits for something else than this one; None as far as is known.

        To be called now and then while `last`. Of a wait that takes long, both are told once.
        """
        # Read once: the thread that trains goes on meanwhile.
        count, at = self._count, self._at
        if not at or self._agreed == count:
            return None
        if self._workers.rank == 0:
            self._tell(count, at)
            return None
        try:
            theirs = str(self._workers.listen(f"waits/{count}", SHORT))
        except TimeoutError:  # it does not wait, or has not for long
            return None
        if theirs != at:
            return apart({self._workers.name(0): theirs, self._workers.name(self._workers.rank): at})
        self._agreed = count
        return None

    def _tell(self, count: int, at: str) -> None:
        self._workers.put(f"waits/{count}", at)
        # One of them at a time is in the store, however long a training is.
        if self._told:
            self._workers.remove(f"waits/{self._told}")
        self._told = self._agreed = count


def apart(at: Mapping[str, str]) -> str:
    """Says that workers are at different places: by the name of each, for what it waits."""
    said = ", ".join(f"{name} for {where}" for name, where in at.items())
    return f"The workers have gone different ways, and wait for all others: {said}. {ALONE}."
