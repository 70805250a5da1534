"""What a thing of the program has been seen to change of what it holds: its state."""

import collections
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from loop.data.kept_values import SHARED, copied, inside, is_exact, kind, plain, taken_over
from loop.data.slots import Path, Slot, slots
from loop.state.plain import Encoded, Plain

IN_PLACE, REBOUND = "in place", "rebound"


class _Was(NamedTuple):
    slot: Slot
    copy: object
    put_back: Callable[[], None]  # the contents, into the same object


class Changed:
    """The part of what a thing holds that something has changed.

    An object that was changed in place is changed in place again by a state, so that others who have it see it too;
    where a name was given another object, it is given one again. What a name is given must be nobody else's, and what
    is in a list or dict neither, because a state does not say who has what in common: such values count as lost.

    Attributes:
        lost: What was changed, and nothing can keep.

    Args:
        thing: The thing.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._slots, self._ways = thing, dict[Path, Slot](), dict[Path, str]()
        self.lost: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Takes note, when it ends, of what was changed within, and takes it back as far as it can be kept."""
        now = slots(self._thing)
        before = {path: _Was(slot, copied(slot.value), _contents(slot.value)) for path, slot in now.items()}
        try:
            yield
        finally:
            self._take_back(before)

    def _take_back(self, before: Mapping[Path, _Was]) -> None:
        after = slots(self._thing)
        copies = {path: copied(slot.value) for path, slot in after.items()}
        changed = [p for p in {**before, **after} if p not in before or p not in after or before[p].copy != copies[p]]
        holders = _holders(after)
        lost = list[Path]()
        for path in sorted(changed, key=len):
            if any(path[: len(above)] == above for above in lost):
                continue
            if self._is_kept(path, before, after, copies, holders):
                same = path in before and path in after and before[path].slot.value is after[path].value
                self._ways[path] = IN_PLACE if same else REBOUND
                self._slots[path] = after[path] if path in after else before[path].slot
            else:
                lost.append(path)
        self.lost += [".".join(path) for path in lost]
        for path in self._slots.keys() & set(changed):
            if path not in before:
                after[path].remove()
            elif path not in after or after[path].value is not before[path].slot.value:
                before[path].slot.put(before[path].slot.value)
        for path in before.keys() & self._slots.keys() & set(changed):
            before[path].put_back()

    def _is_kept(
        self,
        path: Path,
        before: Mapping[Path, _Was],
        after: Mapping[Path, Slot],
        copies: Mapping[Path, object],
        holders: Mapping[int, Collection[Path]],
    ) -> bool:
        seen = [copy for copy in (before[path].copy if path in before else None, copies.get(path)) if copy is not None]
        if not all(isinstance(copy, Encoded) for copy in seen) or (path not in before and after[path].is_entry):
            return False
        if path not in after:
            return True
        value = after[path].value
        rebound = path not in before or before[path].slot.value is not value
        if rebound and not is_exact(value):
            return False
        # What it is itself, or is a part of, it was before, and is in the next process.
        alone = [] if rebound else [id(value), id(value.base) if isinstance(value, np.ndarray) else None]
        return not any(_others(path, holders[id(each)]) for each in inside(value) if id(each) not in alone)

    def get(self) -> Plain:
        """Returns the state, to be saved."""
        now = slots(self._thing)
        there = {p: now[p].value for p in self._slots if p in now}
        if not self._slots:
            return {}
        return {
            "values": {".".join(p): [self._ways[p], kind(value), plain(value)] for p, value in there.items()},
            "absent": [".".join(p) for p in self._slots if p not in now],
        }

    def put(self, state: Plain) -> None:
        """Takes a state over, also of what was changed in another process only.

        Raises:
            ValueError: If there is something in it that the thing does not hold.
        """
        if not state:
            return
        now, values = slots(self._thing), state["values"]
        for path, slot in now.items():
            if (name := ".".join(path)) in values or name in state["absent"]:
                self._slots.setdefault(path, slot)
                self._ways.setdefault(path, REBOUND if name not in values else values[name][0])
        if unknown := sorted(set(values) - {".".join(path) for path in self._slots}):
            raise ValueError(f"The program does not hold what it held: {', '.join(unknown)}.")
        for path, known in self._slots.items():
            name = ".".join(path)
            if name in values:
                way, expected, new = values[name]
                if way == REBOUND:
                    now.get(path, known).put(new)
                elif path not in now or kind(now[path].value) != expected or not taken_over(now[path].value, new):
                    found = kind(now[path].value) if path in now else "nothing"
                    raise ValueError(f"The program does not hold what it held: {name}, {expected}; it is {found}.")
            elif name in state["absent"] and path in now:
                now[path].remove()


def _holders(held: Mapping[Path, Slot]) -> Mapping[int, Collection[Path]]:
    """Returns by what others could have too who has it."""
    found = collections.defaultdict[int, list[Path]](list)
    for path, slot in held.items():
        for each in inside(slot.value):
            found[id(each)].append(path)
    return found


def _others(path: Path, holders: Collection[Path]) -> bool:
    """Returns whether somebody else is among those who have a thing: what is above or below a path is not."""
    return any(path[: len(each)] != each and each[: len(path)] != path for each in holders)


def _contents(value: object) -> Callable[[], None]:
    """Returns what puts back into an object what is in it now, the very same things, in all that is within."""
    held = list[tuple[SHARED, object]]()
    for each in inside(value):
        if isinstance(each, np.ndarray):
            held.append((each, each.copy() if isinstance(copied(each), Encoded) else None))
        elif isinstance(each, dict | set):
            held.append((each, each.copy()))
        else:
            held.append((each, bytes(each) if isinstance(each, bytearray) else list(each)))
    own = copied(value)

    def put_back() -> None:
        if not held and isinstance(own, Encoded):
            taken_over(value, own.decoded())
        for each, items in held:
            if isinstance(each, set) and isinstance(items, set):
                each.clear()
                each.update(items)
            elif items is not None:
                taken_over(each, items)

    return put_back
