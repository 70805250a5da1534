"""The rows that Python in the data has, in arrays, tensors and lists: a process without a seed may have drawn them.

So it may have drawn single numbers, such as a scale; of these, only such are meant that come of random numbers as the
text of the program says: others are settings.
"""

import collections
import contextlib
import functools
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.data.objects.kept_values import LARGEST, is_exact, size, taken_over
from loop.data.objects.slots import Path, Slot, slots
from loop.exact.drawn_names import TAKEN, is_drawn_anywhere
from loop.exact.given import is_given
from loop.state.plain import KINDS, Encoded, Plain, decoded
from loop.state.resumable import Earlier

OWNER = "the data"
log = logging.getLogger("exactloop")


class HeldRows:
    """What a thing of the program holds that has rows in it.

    Args:
        thing: The thing; see `slots`.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._back = thing, list[Callable[[], None]]()
        self._tensors: list[tf.Tensor] | None = None  # of a million numbers in lists, it takes seconds to make them

    def tensors(self) -> list[tf.Tensor]:
        """Returns all of it as it was when this was asked first, to be kept; nothing if there is none, or too much.

        Returns:
            JSON, string `[]`, with the names of each value, what `Encoded` says of it, and how many bytes it has; and
            these, uint8 `[n]`.
        """
        if self._tensors is None:
            said, parts, left = list[Plain](), list[np.ndarray](), LARGEST
            for paths in _by_value(self._thing):
                left -= size(paths[0][1].value, left)
                if left >= 0 and (held := _encoded(paths[0][1].value)) is not None:
                    said.append([[".".join(path) for path, _ in paths], held.text, len(held.data)])
                    parts.append(held.data)
            whole = [tf.constant(json.dumps(said)), tf.constant(np.concatenate(parts))] if said else []
            self._tensors = whole if left >= 0 else []
        return self._tensors

    def put(self, tensors: Sequence[tf.Tensor], but: Collection[str] = ()) -> None:
        """Puts what was kept where there is now something of the same kind.

        Args:
            tensors: What the method above has returned in another process; or nothing.
            but: The names of what is left as it is.
        """
        kept = _decoded(*tensors) if tensors else {}
        for paths in _by_value(self._thing):
            named = [(name, slot) for path, slot in paths if (name := ".".join(path)) in kept]
            if named and not any(name in but for name, _ in named):
                now, new = named[0][1].value, kept[named[0][0]]
                if type(_plain(now)) is type(new) and self._is_taken_back(named[0][0], now, new):
                    self._back.append(_exchanged(now, new, [slot for _, slot in named]))
        self._tensors = [*tensors] or None  # what is there now may have been changed by passes since

    def _is_taken_back(self, name: str, now: object, new: Plain) -> bool:
        """Returns whether a value goes back to what it was; of single numbers, says so: the text may not tell all."""
        if _rows(now) is not None or _encoded(now) == Encoded(new, OWNER):
            return True
        if is_given(_plain(now)):
            return False
        log.warning(TAKEN, f"{name.rpartition('.')[2]} {new!r:.80}, in the place of {_plain(now)!r:.80}")
        return True

    def recall(self, earlier: Earlier, fits: Callable[[], bool], *, before: int = 0, but: Collection[str] = ()) -> bool:
        """Puts what was kept, if all is then as it was; else leaves all as it is. Returns whether it was put.

        Args:
            earlier: What was kept.
            fits: Says whether all is as it was, with that in its place.
            before: How many tensors of others come before it.
            but: See `put`.
        """
        if not (rows := earlier.tensors()[before:]):
            return False
        back = self.mark()
        self.put(rows, but)
        with contextlib.suppress(Exception):  # with rows that it was not written for, a program may raise anything
            if fits():
                earlier.taken()
                return True
        back()
        return False

    def mark(self) -> Callable[[], None]:
        """Returns what takes all this back to what it is now, as far as it was put."""
        count = len(self._back)

        def go_back() -> None:
            self._tensors = None
            while len(self._back) > count:
                self._back.pop()()

        return go_back


def _by_value(thing: object) -> Iterable[list[tuple[Path, Slot]]]:
    """Returns the places of what has rows in it, or was drawn; what two names have in common is one value."""
    found = collections.defaultdict[int | Path, list[tuple[Path, Slot]]](list)
    for path, slot in slots(thing).items():
        if _rows(slot.value) is not None:
            found[id(slot.value)].append((path, slot))
        elif _is_number(slot.value) and is_drawn_anywhere(_name(path)):
            found[path].append((path, slot))  # alone: that two numbers are alike may be chance
    return found.values()


def _name(path: Path) -> str:
    """Returns the name of a variable or an attribute: of `global own.mean`, `mean`."""
    return path[-1].rpartition(" ")[2].rpartition(".")[2]


def _is_number(value: object) -> bool:
    """Returns whether a value is a number or a text, or has some that are not rows, as a dict of parameters."""
    alone = isinstance(value, np.ndarray | tf.Tensor) and value.shape == ()
    return value is not None and (alone or is_exact(value))


def _plain(value: Plain) -> Plain:
    """Returns a value as a checkpoint can have it."""
    if isinstance(value, tf.Tensor) and not tf.is_symbolic_tensor(value) and value.shape == ():
        return value.numpy()
    return value if (rows := _rows(value)) is None else rows


def _rows(value: Plain) -> Plain:
    """Returns a value as a checkpoint can have it, if it has rows in it; else None."""
    if isinstance(value, tf.Tensor):
        is_plain = not tf.is_symbolic_tensor(value) and (value.dtype.is_floating or value.dtype.is_integer)
        value = np.asarray(value.numpy()) if is_plain else None
    if isinstance(value, np.ndarray):
        return value if type(value) is np.ndarray and value.ndim and value.dtype.kind in KINDS else None
    if type(value) in (tuple, dict):  # of arrays, as (x, y); else it says how something is to be done
        items = value.values() if isinstance(value, dict) else value
        has_rows = all(isinstance(item, np.ndarray | list) for item in items)
    else:
        has_rows = type(value) is list
    return value if has_rows and value else None


def _encoded(value: object) -> Encoded | None:
    """Returns a copy of a value; None if it is not plain, or would come back as something else."""
    plain = _plain(value)
    try:
        return Encoded(plain, OWNER) if is_exact(plain) else None
    except TypeError:  # such as an array of objects
        return None


def _decoded(text: tf.Tensor, data: tf.Tensor) -> Mapping[str, Plain]:
    """Returns by each of their names the values that were kept."""
    rest, found = data.numpy(), dict[str, Plain]()
    for names, said, length in json.loads(text.numpy()):
        value, rest = decoded(said, rest[:length]), rest[length:]
        found |= dict.fromkeys(names, value)
    return found


def _exchanged(now: object, new: Plain, places: Sequence[Slot]) -> Callable[[], None]:
    """Puts a value in the place of another one: into it, so that others who have it see it too, if that can be."""
    held = None if isinstance(now, tf.Tensor) else _encoded(now)
    if held is not None and taken_over(now, new):
        return functools.partial(_take_back, now, held)
    other = tf.constant(new, now.dtype) if isinstance(now, tf.Tensor) else new
    for place in places:
        place.put(other)
    return functools.partial(_put, now, places)


def _take_back(now: object, held: Encoded) -> None:
    taken_over(now, held.decoded())


def _put(value: object, places: Sequence[Slot]) -> None:
    for place in places:
        place.put(value)
