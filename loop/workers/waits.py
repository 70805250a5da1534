"""Where a worker waits for the others, and whether they wait elsewhere: then none would ever go on."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from loop.workers.store import Value

if TYPE_CHECKING:
    from loop.workers.cluster import Workers

ALONE = (
    "Whatever waits for all workers is called by all: loop.evaluate, loop.roll_back, loop.run and loop.rehearse. So a "
    "hook that calls one of them has not everywhere=False, and the call is not below an `if` that only some of the "
    "workers enter, as in `if workers.rank == 0:`"
)
OTHER_BATCHES = (
    "Workers have not equally many batches: {} is in a step for which {} has none, and neither would ever go on. All "
    "workers are given the same data, and each trains on its own rows of every batch by itself: leave out what gives "
    "each a part, such as dataset.shard(count, rank) or x[rank::count], and give files the same contents in all."
)
SHORT = 0.001  # seconds


class Waits:
    """What a worker waits for, as its thread that watches sees it.

    All workers wait for all others for the same things in the same order. So if the k-th wait of one of them is not
    that of the first one, they have gone different ways, and would wait for ever. So would they if one of them has left
    a loop, of which the k-th wait is, while another one has begun a step more in it.

    Args:
        workers: All of them.
    """

    def __init__(self, workers: "Workers") -> None:
        self._workers = workers
        self._at, self._count = "", 0  # for what this worker waits, nothing if it does not; and how often it has begun
        self._looked = self._seen = (0, 0)  # waits and steps: when this was last asked, and what was told or compared
        self._told = self._agreed = 0

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
        # By number, not by place: most waits are for the same thing over and over; and in a loop, by step.
        looked, self._looked = self._looked, (self._count, self._workers.steps)
        return self._at != "" and looked == self._looked

    def elsewhere(self) -> str | None:
        """Returns, in words, that the first worker waits for something else than this one; None as far as is known.

        To be called now and then while `last`. Of a wait that takes long, both are told once.
        """
        # Read once: the thread that trains goes on meanwhile.
        count, at, steps = self._count, self._at, self._workers.steps
        if not at:
            return None
        if self._workers.rank == 0:
            self._tell(count, at, steps)
            return None
        if self._agreed != count and (said := self._heard(count)) is not None:
            if said["at"] != at:
                return apart({self._workers.name(0): str(said["at"]), self._workers.name(self._workers.rank): at})
            self._agreed = count
        return self._in_other_steps(count, steps)

    def _in_other_steps(self, count: int, steps: int) -> str | None:
        """Returns, in words, that one of both has left the loop in which the other one has begun a step more."""
        me, first = self._workers.name(self._workers.rank), self._workers.name(0)
        # The one is a wait behind the other, which cannot go on without it. To have begun less is only to be late.
        if (said := self._heard(count - 1)) is not None and int(str(said["steps"])) > steps:
            return OTHER_BATCHES.format(first, me)
        if (said := self._heard(count + 1)) is not None and int(str(said["steps"])) < steps:
            return OTHER_BATCHES.format(me, first)
        return None

    def _heard(self, count: int) -> Mapping[str, Value] | None:
        """Returns what the first worker says of a wait; None if it does not wait so, or has not for long."""
        try:
            said = self._workers.listen(f"waits/{count}", SHORT)
        except TimeoutError:
            return None
        return said if isinstance(said, dict) else None

    def _tell(self, count: int, at: str, steps: int) -> None:
        if self._seen == (count, steps):
            return
        # One of them at a time is in the store, however long a training is.
        if self._told:
            self._workers.remove(f"waits/{self._told}")
        self._workers.put(f"waits/{count}", {"at": at, "steps": steps})
        self._told, self._seen = count, (count, steps)


def apart(at: Mapping[str, str]) -> str:
    """Says that workers are at different places: by the name of each, for what it waits."""
    said = ", ".join(f"{name} for {where}" for name, where in at.items())
    return f"The workers have gone different ways, and wait for all others: {said}. {ALONE}."
