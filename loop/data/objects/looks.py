"""All that a thing of the program holds at one time, to be compared with what it holds later."""

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from loop.data.objects.kept_values import LARGEST, SHARED, copied, inside, same_within, size, taken_over
from loop.data.objects.slots import Path, Slot, slots
from loop.state.plain import Encoded


class Was(NamedTuple):
    """What was in a slot.

    Attributes:
        slot: The slot.
        copy: A copy; of what is too large for one, what tells whether it has changed.
        put_back: Puts what was in it back into it, the very same things, in all that is within.
        length: If it is a dict, how much was in it.
    """

    slot: Slot
    copy: object
    put_back: Callable[[], None]
    length: int

    def has_grown(self) -> bool:
        """Returns whether it is a dict that is large by now, and has all that it had, and more."""
        now = self.slot.value
        if not isinstance(now, dict) or len(now) <= self.length or size(now) <= LARGEST:
            return False
        had = dict(itertools.islice(now.items(), self.length))
        return copied(had) == self.copy if isinstance(self.copy, Encoded) else same_within(had, self.copy)


Look: TypeAlias = Mapping[Path, Was]


def look(thing: object, *, can_be_undone: bool = False) -> Look:
    """Returns all that a thing holds. At most 64 MB are copied, of what is small; of the rest, checksums are taken.

    Args:
        thing: The thing.
        can_be_undone: Whether what is in containers can be put back, of which there are copies then, too.
    """
    held, left, found = slots(thing), LARGEST, dict[Path, Was]()
    known = dict[int, tuple[object, Callable[[], None], int]]()  # by id; what is there twice is copied once
    # The smallest first: so as many as can be have copies, and what is left has checksums.
    for path in sorted(held, key=lambda path: size(held[path].value)):
        value = held[path].value
        if id(value) not in known:
            copy = copied(value, left)
            if isinstance(copy, Encoded):
                left -= len(copy.data) + len(copy.text)
            back = _contents(value, copy) if can_be_undone else _nothing
            known[id(value)] = copy, back, len(value) if isinstance(value, dict) else 0
        found[path] = Was(held[path], *known[id(value)])
    return {path: found[path] for path in held}  # as they were met: who is above comes first


def now_as(before: Look, held: Mapping[Path, Slot]) -> dict[Path, object]:
    """Returns copies of what is held now, to be compared with those of a look: where it has none, neither has this."""
    return {path: copied(slot.value, _most(before.get(path))) for path, slot in held.items()}


def _most(was: Was | None) -> int:
    # Where there was a checksum, one is wanted: everything has more bytes than -1.
    return LARGEST if was is None or isinstance(was.copy, Encoded) else -1


def _nothing() -> None:
    """Puts nothing back."""


def _contents(value: object, copy: object) -> Callable[[], None]:
    held = list[tuple[SHARED, object]]()
    # The very objects, each with what is in it, down to the last: whoever has one of them sees it put back.
    for each in inside(value):
        if isinstance(each, np.ndarray):
            # Too large to be copied, so it cannot be put back: it is named as lost.
            held.append((each, each.copy() if isinstance(copy, Encoded) else None))
        elif isinstance(each, dict | set):
            held.append((each, each.copy()))
        else:
            held.append((each, bytes(each) if isinstance(each, bytearray) else list(each)))

    def put_back() -> None:
        # A generator: nothing is in it, and the copy is its state.
        if not held and isinstance(copy, Encoded):
            taken_over(value, copy.decoded())
        for each, items in held:
            if isinstance(each, set) and isinstance(items, set):  # of checkpoints, `taken_over` expects a list
                each.clear()
                each.update(items)
            elif items is not None:
                taken_over(each, items)

    return put_back
