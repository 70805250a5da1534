"""The rows that Python in the data has, in arrays, tensors and lists: a process without a seed may have drawn them."""

import collections
import functools
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import tensorflow as tf

from loop.data.objects.kept_values import LARGEST, can_be_saved, is_exact, size, taken_over
from loop.data.objects.slots import Path, Slot, slots
from loop.state.plain import KINDS, Encoded, Plain, decoded

OWNER = "the data"


class HeldRows:
    """What a thing of the program holds that has rows in it.

    Args:
        thing: The thing; see `slots`.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._back = thing, list[Callable[[], None]]()

    def tensors(self) -> list[tf.Tensor]:
        """Returns all of it, to be kept: string `[]` and uint8 `[n]`; nothing if there is none, or too much."""
        values, places, left = list[Plain](), dict[str, int](), LARGEST
        for paths in _by_value(self._thing):
            value = _rows(paths[0][1].value)
            left -= size(value, left)
            if left < 0:
                return []
            places |= {".".join(path): len(values) for path, _ in paths}
            values.append(value)
        state = Encoded([places, values], OWNER)
        return [tf.constant(state.text), tf.constant(state.data)] if values else []

    def put(self, tensors: Sequence[tf.Tensor], but: Collection[str] = ()) -> None:
        """Puts what was kept where there is now something of the same kind.

        Args:
            tensors: What the method above has returned in another process; or nothing.
            but: The names of what is left as it is.
        """
        if not tensors:
            return
        text, data = tensors
        places, values = decoded(text.numpy(), data.numpy())
        for paths in _by_value(self._thing):
            named = [(name, slot) for path, slot in paths if (name := ".".join(path)) in places]
            if named and not any(name in but for name, _ in named):
                now, new = named[0][1].value, values[places[named[0][0]]]
                if type(_rows(now)) is type(new):
                    self._back.append(_exchanged(now, new, [slot for _, slot in named]))

    def mark(self) -> Callable[[], None]:
        """Returns what takes all this back to what it is now, as far as it was put."""
        count = len(self._back)

        def go_back() -> None:
            while len(self._back) > count:
                self._back.pop()()

        return go_back


def _by_value(thing: object) -> Iterable[list[tuple[Path, Slot]]]:
    """Returns the places of what has rows in it; what two names have in common is one value."""
    found = collections.defaultdict[int, list[tuple[Path, Slot]]](list)
    for path, slot in slots(thing).items():
        if _rows(slot.value) is not None:
            found[id(slot.value)].append((path, slot))
    return found.values()


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
    return value if has_rows and value and is_exact(value) and can_be_saved(value) else None


def _exchanged(now: object, new: Plain, places: Sequence[Slot]) -> Callable[[], None]:
    """Puts a value in the place of another one: into it, so that others who have it see it too, if that can be."""
    if not isinstance(now, tf.Tensor):
        held = Encoded(now, OWNER)
        if taken_over(now, new):
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
