"""Which variables a source can see: what it yields may depend on them."""

from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf

from loop.exact.reach import Reach, attributes, global_names, is_of_program
from loop.state.variables import raw


def variables_reached(roots: Iterable[object]) -> list[tf.Variable]:
    """Returns the variables, also those of models, that objects and functions of the program hold or name."""
    reach = Reach(roots)
    found: dict[int, tf.Variable] = {}
    for thing in [*reach.objects, *_held(reach)]:
        if isinstance(thing, keras.Layer | keras.Optimizer | keras.Metric | tf.Module):
            found |= {id(raw(variable)): raw(variable) for variable in thing.variables}
        elif isinstance(thing, tf.Variable | keras.Variable):
            found[id(raw(thing))] = raw(thing)
    return list(found.values())


def _held(reach: Reach) -> Iterator[object]:
    for thing in reach.objects:
        if is_of_program(type(thing)):
            yield from attributes(thing).values()
    for container in reach.containers:
        yield from container.values() if isinstance(container, dict) else container
    for function in reach.functions:
        for cell in function.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # nothing is in it yet
                continue
        if is_of_program(function):
            yield from (function.__globals__[name] for name in global_names(function))
