"""What a thing of the program has been seen to change of what it holds: its state."""

import contextlib
from collections.abc import Iterator

from loop.data.kept_values import copied, plain, taken_over
from loop.data.slots import Path, Slot, slots
from loop.state.plain import Encoded, Plain


class Changed:
    """The part of what a thing holds that something has changed.

    Attributes:
        lost: What was changed, and nothing can keep.

    Args:
        thing: The thing.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._slots = thing, dict[Path, Slot]()
        self.lost: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """Takes note, when it ends, of what was changed within, and takes it back as far as it can be kept."""
        before = {path: (slot, copied(slot.value)) for path, slot in slots(self._thing).items()}
        try:
            yield
        finally:
            self._take_back(before)

    def _take_back(self, before: dict[Path, tuple[Slot, object]]) -> None:
        after = {path: (slot, copied(slot.value)) for path, slot in slots(self._thing).items()}
        paths = {**before, **after}
        changed = [p for p in paths if p not in before or p not in after or before[p][1] != after[p][1]]
        kept = {p for p in changed if all(isinstance(x[p][1], Encoded) for x in (before, after) if p in x)}
        self._slots |= {path: paths[path][0] for path in sorted(kept)}
        self.lost += [".".join(path) for path in changed if path not in kept]
        for path in sorted(kept):
            if path not in before:
                paths[path][0].remove()
                continue
            was, copy = before[path]
            if paths[path][0].value is not was.value:
                was.put(was.value)
            if isinstance(copy, Encoded):
                taken_over(was.value, copy.decoded())

    def get(self) -> Plain:
        """Returns the state, to be saved."""
        now = slots(self._thing)
        return {".".join(path): plain(now[path].value) for path in self._slots if path in now}

    def put(self, state: Plain) -> None:
        """Takes a state over, also of what was changed in another process only.

        Raises:
            ValueError: If there is something in it that the thing does not hold.
        """
        now = slots(self._thing)
        self._slots |= {path: slot for path, slot in now.items() if ".".join(path) in state}
        if unknown := sorted(set(state) - {".".join(path) for path in self._slots}):
            raise ValueError(f"The program does not hold what it held: {', '.join(unknown)}.")
        for path, known in self._slots.items():
            name = ".".join(path)
            if name not in state:
                if path in now:
                    now[path].remove()
            elif path not in now:
                known.put(state[name])
            elif not taken_over(now[path].value, state[name]):
                now[path].put(state[name])
