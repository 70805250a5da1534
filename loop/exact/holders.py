"""What to call, in a message, what a step reads in Python: an object, or where a list or dict is kept."""

import types
from collections.abc import Callable, Mapping

import keras

from loop.exact.reach import Reach, attributes, cells_of, globals_of, is_of_program


def called(thing: object) -> str:
    """Returns what to call an object."""
    if isinstance(thing, types.ModuleType):
        return f"module {thing.__name__}"
    if isinstance(thing, type):
        return f"class {thing.__name__}"
    name, kind = getattr(thing, "name", None), type(thing).__name__
    known = (keras.Model, keras.Layer, keras.Optimizer)
    of = next((f"{base.__name__.lower()} " for base in known if isinstance(thing, base)), "")
    return f"{of}{name!r} ({kind})" if isinstance(name, str) else f"{of}{kind}"


def holders(reach: Reach) -> Callable[[object], str]:
    """Returns what says where a container of the program is kept, and what it is: `global: CONFIG['a'], a list`."""
    wanted, found = {id(each) for each in reach.containers}, dict[int, str]()

    def note(value: object, where: str) -> None:
        if id(value) in wanted:
            found.setdefault(id(value), where)

    for function in filter(is_of_program, reach.functions):
        for name, value in globals_of(function).items():
            note(value, f"global: {name}")
        for name, cell in cells_of(function).items():
            note(cell.cell_contents, f"in {function.__qualname__}: {name}")
    for each in reach.objects:
        for name, value in attributes(each).items():
            note(value, f"{called(each)}: {name}")
    for held in reach.containers:  # those that hold others were met before them
        for key, value in held.items() if isinstance(held, Mapping) else enumerate(held):
            if where := found.get(id(held)):
                note(value, f"{where}[{key!r}]")
    return lambda held: ", ".join([*filter(None, [found.get(id(held))]), f"a {type(held).__name__}"])
