"""Whether functions name what gives other numbers in each process: random streams of Python and NumPy, and clocks."""

import dis
import itertools
import random
import sys
import types
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import keras
import numpy as np

from loop.exact.reach import Reach, codes, is_of_program, outside
from loop.exact.text import program_text

Generator: TypeAlias = np.random.Generator | np.random.RandomState | random.Random
MODULES = (random, np.random)
CLOCKS = {"time", "datetime", "uuid", "secrets"}  # modules that give something else each time, whatever the seed
MAKERS = {"random", "numpy.random", "numpy.random.mtrand"}  # of what makes generators
METHODS = types.MethodType | types.BuiltinMethodType  # what else there is may answer to any name, or to none
STREAMS = [method.__self__ for method in (random.random, np.random.random) if isinstance(method, METHODS)]
SEED = 64  # bits, at most; what the system gives has 128


def names_streams(reach: Reach, layers: Sequence[keras.Layer]) -> bool:
    """Returns whether functions of the program, or the modules of layers, name what draws in Python."""
    functions = [function for function in reach.functions if is_of_program(function)]
    modules = {base.__module__ for layer in layers for base in type(layer).__mro__}
    # A module that is gone is taken for `random`: then the functions are traced, to be sure.
    named = [value for module in modules for value in vars(sys.modules.get(module, random)).values()]
    return any(map(_is_stream, [*_named(reach), *named])) or any(map(_reads_numpy_random, functions))


def names_clock(reach: Reach) -> bool:
    """Returns whether functions of the program name what gives something else each time, or makes generators."""
    modules = ((each.__name__ if isinstance(each, types.ModuleType) else _made_in(each)) for each in _named(reach))
    return any(module in CLOCKS or module in MAKERS for module in modules)


def unseeded_generators(reach: Reach) -> list[Generator]:
    """Returns the generators that are held and began with what the system gave, as far as can be told."""
    return [each for each in reach.held() if isinstance(each, Generator) and not _has_seed(each)]


def _has_seed(generator: Generator) -> bool:
    if isinstance(generator, np.random.Generator):
        entropy = getattr(generator.bit_generator.seed_seq, "entropy", None)
        return not isinstance(entropy, int) or entropy.bit_length() <= SEED
    return not program_text().draws_unseeded  # nothing in them says where they began


def _named(reach: Reach) -> Iterator[object]:
    return (value for function in reach.functions if is_of_program(function) for _, value in outside(function))


def _is_stream(value: object) -> bool:
    """Returns whether this is a module that draws, or a method of its stream, as `random.random` is."""
    is_method = isinstance(value, METHODS) and any(value.__self__ is each for each in STREAMS)
    return is_method or any(value is each for each in MODULES)


def _reads_numpy_random(function: types.FunctionType) -> bool:
    """Returns whether a function has `np.random` in it."""
    numpy = {name for name, value in outside(function) if value is np}
    lines = map(dis.get_instructions, codes(function.__code__) if numpy else ())
    pairs = (pair for line in lines for pair in itertools.pairwise(line))
    return any(before.argval in numpy and after.argval == "random" for before, after in pairs)


def _made_in(thing: object) -> object:
    return thing.__module__ if isinstance(thing, type | types.FunctionType | types.BuiltinFunctionType) else ""
