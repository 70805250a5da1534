"""Values that a Python object keeps, as texts and bits. No program is read or run to get them back."""

import collections
import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

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
VARIABLES = (tf.Variable, keras.Variable)
OTHERS = {*sys.stdlib_module_names, "keras", "tensorflow", "numpy"} - {"__main__"}  # whose objects are closed books
DEEPEST = 20


class NotKept(TypeError):
    """A value that cannot be written down. Its text is what kind of thing that is."""


def write(value: object) -> Written:
    """Returns a value as a text and the bits of its arrays.

    That is: numbers, texts, arrays, tensors, lists, tuples, sets and dicts of them; the values of variables and
    metrics; the state of generators of random numbers; and what objects of the program's own classes have of all this.

    Raises:
        NotKept: If there is anything else in it.
    """
    bits: list[bytes] = []
    return json.dumps(_written(value, bits, 0)), tuple(bits)


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


def _written(value: object, bits: list[bytes], depth: int) -> Json:
    kind = type(value)
    if kind in PLAIN:
        return value
    if depth > DEEPEST:
        raise NotKept("what contains itself")
    if name := next((name for name, of_list in LISTS.items() if kind is of_list), ""):
        items = [_written(item, bits, depth + 1) for item in value]  # type: ignore[attr-defined]
        return [name, sorted(items, key=repr) if name == "set" else items, getattr(value, "maxlen", None)]
    if name := next((name for name, of_dict in DICTS.items() if kind is of_dict), ""):
        pairs = value.items()  # type: ignore[attr-defined]
        return [name, [[_written(key, bits, depth + 1), _written(item, bits, depth + 1)] for key, item in pairs]]
    if isinstance(value, np.ndarray | np.generic | tf.Tensor):
        return ["array" if isinstance(value, np.ndarray) else "scalar" if isinstance(value, np.generic) else "tensor",
                *_array(np.asarray(value), bits)]  # fmt: skip
    if isinstance(value, VARIABLES):
        return ["variable", *_array(keras.ops.convert_to_numpy(value), bits)]
    if isinstance(value, keras.Metric):
        return ["metric", [_written(variable, bits, depth + 1) for variable in value.variables]]
    if kind is random.Random:
        return ["random", _written(value.getstate(), bits, depth + 1)]  # type: ignore[attr-defined]
    if isinstance(value, np.random.Generator):
        return ["generator", _written(value.bit_generator.state, bits, depth + 1)]
    if isinstance(value, np.random.RandomState):
        return ["numpy", _written(value.get_state(legacy=False), bits, depth + 1)]
    if _is_of_program(kind):
        own = {name: _written(item, bits, depth + 1) for name, item in vars(value).items()}
        return ["object", kind.__qualname__, own]
    raise NotKept(kind.__name__)


def _is_of_program(kind: type) -> bool:
    """Returns whether objects of a class have attributes, and nothing else, and the class is none of a library here."""
    bases = kind.__mro__[:-1]
    closed = any(base.__module__.split(".")[0] in OTHERS or "__slots__" in vars(base) for base in bases)
    return not closed and kind.__dictoffset__ != 0


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
        "object": (object, lambda: _fill(present, rest[0], rest[1], bits)),
    }
    of, assign = fill[kind]
    if not isinstance(present, of):
        raise NotKept(kind)
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


def _fill(present: Any, kind: str, attributes: Mapping[str, Json], bits: Iterator[bytes]) -> None:
    if type(present).__qualname__ != kind or not _is_of_program(type(present)):
        raise NotKept(kind)
    for name, said in attributes.items():
        vars(present)[name] = _read(said, bits, vars(present).get(name))
