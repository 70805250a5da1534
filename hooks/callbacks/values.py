"""Values that a Python object keeps, as texts and bits. No program is read or run to get them back."""

import collections
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.objects import COMPUTING, VARIABLES, attributes, fill, is_of_program, variables

Json: TypeAlias = Any
Written: TypeAlias = tuple[str, tuple[bytes, ...]]  # what JSON says of a value, and the bits of the arrays in it
PLAIN = (bool, int, float, str, type(None))
LISTS: dict[str, type] = {"list": list, "tuple": tuple, "deque": collections.deque, "set": set}
DICTS: dict[str, type] = {
    "dict": dict,
    "ordered": collections.OrderedDict,
    "counter": collections.Counter,
    "default": collections.defaultdict,  # whose default nobody can write down: it is filled again
}
DEEPEST = 20
LATER = {"variables": "network, an optimizer or a random stream that is not there when a run begins"}


class NotKept(TypeError):
    """A value that cannot be written down. Its text is what kind of thing that is."""


class GoesOn(NotKept):
    """One that goes on by itself, as an iterator or a file does, so that nobody sees whether it has changed."""


class Paper(NamedTuple):
    """What is written on.

    Attributes:
        bits: Those of the arrays so far.
        kept: The ids of variables that are kept elsewhere.
    """

    bits: list[bytes]
    kept: Set[int]


def write(value: object, kept: Set[int] = frozenset()) -> Written:
    """Returns a value as a text and the bits of its arrays.

    That is: numbers, texts, arrays, tensors, lists, tuples, sets and dicts of them; the values of variables, metrics,
    networks and optimizers; the state of generators of random numbers; and what objects of the program's own classes,
    and callbacks, have of all this.

    Args:
        value: Any value.
        kept: The ids of TensorFlow's variables of which somebody else keeps the values.

    Raises:
        NotKept: If there is anything else in it.
    """
    paper = Paper([], kept)
    return json.dumps(_written(value, paper, 0)), tuple(paper.bits)


def read(text: str, bits: Iterator[bytes], present: object) -> object:
    """Returns the value of which `write` made a text. What can be changed in place, and is of the same kind, is.

    Args:
        text: The text.
        bits: The bits of the arrays in it, and maybe more.
        present: What is there now.

    Raises:
        ValueError: If it is not such a text.
        NotKept: If only what is there could be changed, and it is of another kind.
    """
    try:
        return _read(json.loads(text), bits, present)
    except (KeyError, IndexError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        if isinstance(error, NotKept):
            raise
        raise ValueError(f"This is no value that was written down: {error!r:.100}") from None


def _written(value: object, on: Paper, depth: int) -> Json:
    kind = type(value)
    if kind in PLAIN:
        return value
    if depth > DEEPEST:
        raise NotKept("what contains itself")
    if name := next((name for name, of_list in LISTS.items() if kind is of_list), ""):
        items = [_written(item, on, depth + 1) for item in value]  # type: ignore[attr-defined]
        return [name, sorted(items, key=repr) if name == "set" else items, getattr(value, "maxlen", None)]
    if name := next((name for name, of_dict in DICTS.items() if kind is of_dict), ""):
        pairs = value.items()  # type: ignore[attr-defined]
        return [name, [[_written(key, on, depth + 1), _written(item, on, depth + 1)] for key, item in pairs]]
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        return ["array" if isinstance(value, np.ndarray) else "scalar" if isinstance(value, np.generic) else "tensor",
                *_array(np.asarray(value), on.bits)]  # fmt: skip
    if isinstance(value, VARIABLES):
        return ["variable", *_array(keras.ops.convert_to_numpy(value), on.bits)]
    if isinstance(value, keras.Metric):
        return ["metric", [_written(variable, on, depth + 1) for variable in value.variables]]
    if kind is random.Random:
        return ["random", _written(value.getstate(), on, depth + 1)]  # type: ignore[attr-defined]
    if isinstance(value, np.random.Generator):
        return ["generator", _written(value.bit_generator.state, on, depth + 1)]
    if isinstance(value, np.random.RandomState):
        return ["numpy", _written(value.get_state(legacy=False), on, depth + 1)]
    if isinstance(value, Iterator) and not is_of_program(value):
        raise GoesOn(kind.__name__)
    if isinstance(value, COMPUTING):
        of = enumerate(variables(value))
        return ["variables", [[i, *_array(each.numpy(), on.bits)] for i, each in of if id(each) not in on.kept]]
    if is_of_program(value):
        own = {name: _written(item, on, depth + 1) for name, item in attributes(value).items()}
        return ["object", kind.__qualname__, own]
    raise NotKept(kind.__name__)


def _array(array: np.ndarray, bits: list[bytes]) -> list[Json]:
    if array.dtype.hasobject or array.dtype.fields:
        raise NotKept(f"{array.dtype.name} array")
    bits.append(np.ascontiguousarray(array).tobytes())
    return [array.dtype.str if array.dtype.kind in "biufcSUmM" else array.dtype.name, list(array.shape)]


def _of_array(said: Sequence[Json], bits: Iterator[bytes]) -> np.ndarray:
    dtype, shape = said
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if not all(type(length) is int and length >= 0 for length in shape) or kind.hasobject:
        raise ValueError("an array of no shape")
    whole = next(bits)
    if len(whole) != size:
        raise ValueError("an array of another size")
    return np.frombuffer(whole, kind).reshape(shape).copy()


def _read(said: Json, bits: Iterator[bytes], present: Any) -> Any:
    if type(said) in PLAIN:
        return said
    kind, *rest = said
    if kind in LISTS:
        return _of_list(LISTS[kind], rest[0], rest[1], bits, present)
    if kind in DICTS:
        of_dict, known = DICTS[kind], present if isinstance(present, Mapping) else {}
        pairs = []
        for key, item in rest[0]:
            name = _read(key, bits, None)
            pairs.append((name, _read(item, bits, known.get(name))))
        made: Any = present if type(present) is of_dict else of_dict()
        made.clear()
        made.update(pairs)
        return made
    if kind in ("array", "scalar", "tensor"):
        array = _of_array(rest, bits)
        return array if kind == "array" else array[()] if kind == "scalar" else tf.constant(array)
    fill: dict[str, tuple[Any, Callable[[], object]]] = {
        "variable": (VARIABLES, lambda: present.assign(_of_array(rest, bits))),
        "metric": (keras.Metric, lambda: [_read(*each) for each in zip(rest[0], repeat(bits), present.variables)]),
        "random": (random.Random, lambda: present.setstate(_read(rest[0], bits, None))),
        "generator": (np.random.Generator, lambda: _set_generator(present, _read(rest[0], bits, None))),
        "numpy": (np.random.RandomState, lambda: present.set_state(_read(rest[0], bits, None))),
        "variables": (COMPUTING, lambda: _assign(present, rest[0], bits)),
        "object": (object, lambda: _fill(present, rest[0], rest[1], bits)),
    }
    of, assign = fill[kind]
    if not isinstance(present, of):
        raise NotKept(LATER.get(kind, kind))
    assign()
    return present


def _of_list(kind: type, items: list[Json], longest: int | None, bits: Iterator[bytes], present: Any) -> Any:
    there = list(present) if isinstance(present, list | tuple) else []
    there += [None] * (len(items) - len(there))
    made = [_read(item, bits, was) for item, was in zip(items, there, strict=False)]
    if kind is collections.deque:
        return collections.deque(made, longest)
    if kind is list and type(present) is list:
        present[:] = made  # somebody else may have the same list
        return present
    return kind(made)


def _set_generator(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state


def _assign(present: object, said: Sequence[Sequence[Json]], bits: Iterator[bytes]) -> None:
    arrays, own = {i: _of_array(of, bits) for i, *of in said}, variables(present)
    if not all(i < len(own) and own[i].shape == array.shape for i, array in arrays.items()):
        raise NotKept(f"{type(present).__name__} that is built later, and has to be when a run begins")
    for i, array in arrays.items():
        own[i].assign(array)


def _fill(present: Any, kind: str, said: Mapping[str, Json], bits: Iterator[bytes]) -> None:
    if type(present).__qualname__ != kind or not is_of_program(present):
        raise NotKept(kind)
    own = attributes(present)
    for name, item in said.items():
        fill(present, name, _read(item, bits, own.get(name)))
