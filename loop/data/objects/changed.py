"""What a thing of the program has been seen to change of what it holds: its state."""

import collections
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from loop.data.objects.kept_values import can_be_saved, inside, is_exact, kind, plain, said, taken_over
from loop.data.objects.looks import Look, look, now_as
from loop.data.objects.slots import Path, Slot, attribute, slots
from loop.data.objects.uses import Uses
from loop.exact.reach import is_of_program
from loop.state.plain import Encoded, Plain
from loop.state.resumable import Unlike

IN_PLACE, REBOUND = "in place", "rebound"  # in checkpoints
OTHER = (
    "The data do not hold what they held when the checkpoint was made, which a pass had changed: {}. Undo what has "
    "changed in the program, or start afresh in another directory."
)
GIVEN = {"defaults", "keyword defaults", "arguments", "keywords", "function", "__self__"}  # code has other names for it


class Changed:
    """The part of what a thing holds that something has changed.

    An object that was changed in place is changed in place again by a state, so that others who have it see it too;
    where a name was given another object, it is given one again. What a name is given must be nobody else's, and what
    is in a list or dict neither, because a state does not say who has what in common: such values count as lost.

    Attributes:
        lost: What was changed, and nothing can keep.
        remembered: What is too large to be kept, of dicts that were only added to: they remember what can be made anew.

    Args:
        thing: The thing.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._slots, self._ways = thing, dict[Path, Slot](), dict[Path, str]()
        self.lost, self.remembered = list[str](), list[str]()
        # What only a state that was put in has shown to be a part of it, as it was before that.
        self._adopted: Plain = {"values": {}, "absent": []}
        self._uses: Uses | None = None  # of names in its code; made when something is found late

    def __bool__(self) -> bool:
        return bool(self._slots)

    @property
    def names(self) -> Collection[str]:
        """The names of what was changed, and can be kept."""
        return [".".join(path) for path in self._slots]

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Takes note, when it ends, of what was changed within, and takes it back as far as it can be kept."""
        # Costs a second copy of what is small, to be put back.
        before = look(self._thing, can_be_undone=True)
        try:
            yield
        finally:
            self._take_back(before)

    def look(self) -> Look:
        """Returns all that the thing holds now."""
        return look(self._thing)

    def since(self, before: Look, *, late: bool = True) -> Plain:
        """Takes note of what was changed since a look, and was not known to change. Returns as a state what it was.

        Args:
            before: The look.
            late: As in `_note`.
        """
        known = set(self._slots)
        self._note(before, late=late)
        found = {path: before.get(path) for path in self._slots.keys() - known}
        values = {
            ".".join(path): [self._ways[path], kind(was.slot.value), was.copy.decoded()]
            for path, was in found.items()
            if was is not None and isinstance(was.copy, Encoded)
        }
        return {"values": values, "absent": [".".join(path) for path, was in found.items() if was is None]}

    def _note(self, before: Look, *, late: bool = False) -> tuple[Mapping[Path, Slot], Collection[Path]]:
        """Takes note of what was changed since a look. Returns what is there now, and all paths that have changed.

        Args:
            before: The look.
            late: Whether others may have changed it meanwhile, such as hooks: what only these can change is left out.
        """
        after = slots(self._thing)
        copies = now_as(before, after)
        changed = [p for p in {**before, **after} if p not in before or p not in after or before[p].copy != copies[p]]
        # What is known to change needs no look into the code, which takes longer than all of this.
        if late and not self._slots.keys() >= set(changed):
            changed = self._by_thing(changed, before, after)
        holders = _holders(after)
        lost = list[Path]()
        for path in sorted(changed, key=len):  # from above: what is within something lost is lost with it
            if any(path[: len(above)] == above for above in lost):
                continue
            if self._is_kept(path, before, after, copies, holders):
                same = path in before and path in after and before[path].slot.value is after[path].value
                # Once a name was given another object, a state gives it one, too, even if it has kept its own since.
                self._ways[path] = self._ways.get(path, IN_PLACE) if same else REBOUND
                self._slots[path] = after[path] if path in after else before[path].slot
            else:
                lost.append(path)
                self._slots.pop(path, None)
        for path in lost:
            # A large dict that was only added to is a memory of what was read: no reason to refuse the run.
            names = self.remembered if path in before and path in after and before[path].has_grown() else self.lost
            names += [name for name in [".".join(path)] if name not in names]
        return after, changed

    def _by_thing(self, changed: Collection[Path], before: Look, after: Mapping[Path, Slot]) -> list[Path]:
        """Returns of what was changed what the thing itself may have changed, as far as its code says."""
        names = collections.defaultdict[int, set[str]](set)
        held = {**{path: was.slot for path, was in before.items()}, **after}
        for path, slot in held.items():
            # One object may be there under several names, by each of which code may change it.
            names[id(slot.value)].update([] if path[-1].startswith("[") else [_name(path[-1])])
        uses = self._uses or Uses(self._thing if isinstance(self._thing, list) else [self._thing])
        self._uses = uses  # code stays what it is: it is read once
        found = []
        for path in changed:
            # An item has no name of its own in code: what holds it has.
            place = next((path[:n] for n in range(len(path), 0, -1) if not path[n - 1].startswith("[")), path)
            is_item, value = place != path, held[place].value if place in held else None
            there = path in before and path in after
            rebound = there and not is_item and before[path].slot.value is not after[path].value
            called = {_name(place[-1])} | (set() if rebound else names[id(value)])
            if place[-1] in GIVEN or uses.may_change(called, value, rebound=rebound):
                found.append(path)
        return found

    def _take_back(self, before: Look) -> None:
        after, changed = self._note(before)
        # First the objects that names had, then what was in these: it goes into the objects of before.
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
        before: Look,
        after: Mapping[Path, Slot],
        copies: Mapping[Path, object],
        holders: Mapping[int, Collection[Path]],
    ) -> bool:
        seen = [copy for copy in (before[path].copy if path in before else None, copies.get(path)) if copy is not None]
        # No plain value, or too large; or a place that a list has got, which no state can take from it again.
        if not all(isinstance(copy, Encoded) for copy in seen) or (path not in before and after[path].is_entry):
            return False
        # It is gone, and a state can say so.
        if path not in after:
            return True
        value = after[path].value
        rebound = path not in before or before[path].slot.value is not value
        if rebound and not is_exact(value):  # a Counter would come back as a dict
            return False
        # What it is itself, or is a part of, it was before, and is in the next process.
        alone = [] if rebound else [id(value), id(value.base) if isinstance(value, np.ndarray) else None]
        return not any(_others(path, holders[id(each)]) for each in inside(value) if id(each) not in alone)

    def get(self) -> Plain:
        """Returns the state, to be saved, as far as it can be saved now."""
        now = slots(self._thing)
        # What cannot be saved by now is left out; it is found to be lost at the end of the pass.
        there = {p: now[p].value for p in self._slots if p in now and can_be_saved(now[p].value)}
        if not self._slots:
            return {}
        return {
            "values": {".".join(p): [self._ways[p], kind(value), plain(value)] for p, value in there.items()},
            "absent": [".".join(p) for p in self._slots if p not in now],
        }

    def put_in_order(self) -> None:
        """Lets each set that is in the state be as it will be when it is put back, in the order of its items."""
        now = slots(self._thing)
        for value in (now[path].value for path in self._slots if path in now):
            if isinstance(value, set) and can_be_saved(value):  # of what cannot be sorted, the state has nothing
                taken_over(value, plain(value))

    def mark(self) -> Callable[[], None]:
        """Returns what takes the state back to what it is now, with all that a later `put` finds to be in it, too."""
        held, known = Encoded(self.get(), "an attribute"), {".".join(path) for path in self._slots}

        def go_back() -> None:
            self.put(joined(held, _only(self._adopted, lambda name: name not in known)).decoded())

        return go_back

    def _adopt(self, was: Plain) -> None:
        self._adopted = joined(Encoded(self._adopted, "an attribute"), was).decoded()  # copies: arrays go on changing

    def put(self, state: Plain) -> None:
        """Takes a state over, also of what was changed in another process only.

        Raises:
            Unlike: If there is something in it that the thing does not hold.
        """
        if not state:
            return
        now, values, known_before = slots(self._thing), state["values"], set(self._slots)
        # Another process may have seen more of it change than this one.
        for path, slot in now.items():
            if (name := ".".join(path)) in values or name in state["absent"]:
                self._slots.setdefault(path, slot)
                self._ways.setdefault(path, REBOUND if name not in values else values[name][0])
        owners = {".".join(path): (path, slot.value) for path, slot in now.items()}
        for name in set(values) - {".".join(path) for path in self._slots}:
            above, _, last = name.rpartition(".")
            path, owner = owners.get(above, ((), None))
            if path and last.isidentifier() and is_of_program(type(owner)):  # an attribute that is set later
                self._slots[*path, last], self._ways[*path, last] = attribute(owner, last, None), REBOUND
        if unknown := sorted(set(values) - {".".join(path) for path in self._slots}):
            raise Unlike(OTHER.format(", ".join(f"{name}, which is not there" for name in unknown)))
        if new := {".".join(path) for path in self._slots.keys() - known_before}:
            self._adopt(_only(self.get(), new.__contains__))
        # Nothing was written until here; what is written in part from here on, `mark` takes back.
        for path, known in self._slots.items():
            name = ".".join(path)
            if name in values:
                way, expected, new = values[name]
                if way == REBOUND:
                    # The place of now: the one that was known may be in an object that is gone.
                    now.get(path, known).put(new)
                elif path not in now or kind(now[path].value) != expected or not taken_over(now[path].value, new):
                    found = said(now[path].value) if path in now else "not there"
                    raise Unlike(OTHER.format(f"{name} was {said(new, expected)}, and is {found}"))
            elif name in state["absent"] and path in now:
                now[path].remove()


def joined(state: Encoded, more: Plain) -> Encoded:
    """Returns a state with what is in another one, and not in it."""
    held = state.decoded() or {"values": {}, "absent": []}
    values, absent = more["values"] | held["values"], [*held["absent"], *more["absent"]]
    return Encoded({"values": values, "absent": absent}, "an attribute")


def _only(state: Plain, wanted: Callable[[str], bool]) -> Plain:
    values = {name: value for name, value in state["values"].items() if wanted(name)}
    return {"values": values, "absent": [name for name in state["absent"] if wanted(name)]}


def _name(place: str) -> str:
    """Returns the name in code of what is in a place, such as `global settings.count`."""
    return place.rpartition(" ")[2].rpartition(".")[2]


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
