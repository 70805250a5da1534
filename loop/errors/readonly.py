"""A dictionary that many are given and nobody changes."""

from collections.abc import Mapping
from typing import NoReturn, TypeVar

Value = TypeVar("Value")


class ReadOnly(dict[str, Value]):
    """A dictionary of which every way to write raises. It is a `dict`, so what prints or encodes those takes it.

    Copies of any kind, `|` and pickles are plain dictionaries, which belong to whoever made them. So is what its class
    makes of nothing: thus TensorFlow begins to make another of its kind, as in `tf.nest.map_structure(float, logs)`.

    Attributes:
        why: What its messages say; one for another use may be given its own.

    Raises:
        TypeError: By whatever would change it.
    """

    why = "the loop and all hooks are given the same values. Change a copy of it, as in logs = dict(moment.logs)."

    def __new__(cls, *values: Mapping[str, Value]) -> "ReadOnly[Value]":
        return super().__new__(cls, *values) if values else {}  # type: ignore[return-value]

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"This dictionary is read-only: {self.why}")

    # All that a `dict` has to change it. `__or__` is not among them: it makes another one.
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, Value]]]:
        # For pickles and `copy.deepcopy`: what comes out belongs to whoever made it.
        return dict, (dict(self),)
