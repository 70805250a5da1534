"""Which variables a source can see: what it yields may depend on them."""

import dis
import itertools
import types
from collections.abc import Iterable

import keras
import tensorflow as tf

from loop.exact.reach import Reach, attributes, codes, is_of_program
from loop.tensors import raw

STREAMS = keras.random.SeedGenerator | tf.random.Generator


def variables_reached(roots: Iterable[object]) -> list[tf.Variable]:
    """Returns the variables, also those of models, that objects and functions of the program hold or name."""
    reach = Reach(roots)
    found: dict[int, tf.Variable] = {}
    for thing in [*reach.objects, *reach.held()]:
        found |= {id(variable): variable for variable in variables_of(thing)}  # `==` of variables compares values
    return list(found.values())


def draws_by_tensorflow(roots: Iterable[object]) -> bool:
    """Returns whether functions of the program hold or name what draws random numbers by TensorFlow."""
    reach = Reach(roots)
    things = [*reach.objects, *reach.held()]
    things += [part for thing in things if isinstance(thing, keras.Layer) for part in attributes(thing).values()]
    return any(isinstance(thing, STREAMS) for thing in things) or any(map(_names_stream, reach.functions))


def _names_stream(function: types.FunctionType) -> bool:
    """Returns whether there is `tf.random`, `keras.random` or a name of these in the code of a function."""
    for code in codes(function.__code__) if is_of_program(function) else ():
        names = [each.argval for each in dis.get_instructions(code)]
        for name, attribute in itertools.pairwise(names):
            held = function.__globals__.get(name) if isinstance(name, str) else None
            named = getattr(held, "random", None) if attribute == "random" else held
            if any(named is each for each in (tf.random, keras.random)):
                return True
    return False


def variables_of(thing: object) -> list[tf.Variable]:
    """Returns the variables of a model, a layer, a module, a random generator, or of a variable itself."""
    if isinstance(thing, keras.Layer | keras.Optimizer | keras.Metric | tf.Module):
        return [raw(variable) for variable in thing.variables]
    if isinstance(thing, STREAMS):
        return [raw(thing.state)]
    return [raw(thing)] if isinstance(thing, tf.Variable | keras.Variable) else []
