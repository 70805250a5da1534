"""Classes of records, that callbacks make anew, as `self.best = Best(epoch, loss)`: dataclasses and named tuples."""

import dataclasses
import inspect
import sys
import types

from hooks.callbacks.objects import is_of_program


def is_record(value: object) -> bool:
    """Returns whether another process can make such a thing anew: by its class's name, without calling anything."""
    return record_class(type(value).__module__, type(value).__qualname__) is type(value)


def is_named_tuple(value: object) -> bool:
    """Returns whether something is one of a class that is found again by its name."""
    return isinstance(value, tuple) and type(value) is not tuple and is_record(value)


def record_class(module: str, name: str) -> type | None:
    """Returns a class of records of the program; None if there is none of that name, or what it does is not known."""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, type | types.ModuleType) else None
    if not isinstance(found, type) or hasattr(found, "__del__") or inspect.isabstract(found):
        return None
    is_tuple = issubclass(found, tuple) and found.__bases__ == (tuple,) and hasattr(found, "__match_args__")
    # Whoever makes it in a way of its own may do more than to set its fields.
    is_plain = dataclasses.is_dataclass(found) and found.__new__ is object.__new__
    return found if is_tuple or (is_plain and is_of_program(object.__new__(found))) else None
