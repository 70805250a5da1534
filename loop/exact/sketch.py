"""What tells a step from another one by its Python alone, so that a changed program is known without a trace."""

import functools
import hashlib
import json
import types
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.tf_internals import NAME

LIBRARIES = ("keras", "numpy", "tensorflow")  # what is in these is known by its name and configuration
LARGE, LONG = 2**20, 10_000  # bytes of an array, or items of a list, that are looked into
PLAIN = bool | int | float | complex | str | bytes | None | types.EllipsisType | np.generic


def sketch(function: object) -> str:
    """Returns a hash of a function: its code, and all that this refers to, such as a loss with its arguments.

    It is the same in each process for the same program. Another one need not mean another step; with the same one, a
    step can differ only in what is not looked at: values of variables, and of objects of other libraries.
    """
    try:
        said = list[str]()
        _tell(function, {}, said)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
    except Exception:  # of some object's own making: then nobody knows
        return ""


def _tell(value: object, seen: dict[int, tuple[int, object]], said: list[str]) -> None:
    """Adds what a value and all that it refers to say. `seen` keeps these alive, or ids would come again."""
    if isinstance(value, PLAIN):
        said.append(repr(value))
    elif id(value) in seen:
        said.append(f"again {seen[id(value)][0]}")  # which one: f(a, b, a) is another program than f(a, b, b)
    else:
        if not isinstance(value, tuple | frozenset):  # of which equal ones may be one, or not
            seen[id(value)] = len(seen), value
        parts = _parts(value)
        # With how many there are, what follows is in one way only: [[1], 2] would say what [[1, 2]] says.
        said.append(f"{type(value).__module__}.{type(value).__qualname__} {len(parts)}")
        for part in parts:
            _tell(part, seen, said)


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping | list | tuple | set | frozenset) and len(value) > LONG:
        return [len(value)]
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple):
        return [*value]
    if isinstance(value, set | frozenset):
        return [*sorted(map(repr, value))]
    if isinstance(value, np.ndarray | tf.Tensor):
        size = np.dtype(value.dtype.name).itemsize * int(np.prod(value.shape))
        return [*value.shape, value.dtype.name, np.asarray(value).tobytes() if size <= LARGE else ""]
    if isinstance(value, tf.Variable | keras.Variable):
        return [*value.shape, str(value.dtype)]
    if isinstance(value, types.ModuleType):
        return [value.__name__]
    if isinstance(value, types.CodeType):
        return [value.co_code, value.co_names, value.co_varnames, value.co_consts]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, types.BuiltinFunctionType) or (
        isinstance(value, types.FunctionType | type) and _is_of_library(value.__module__)
    ):
        return [value.__module__, value.__qualname__]
    if isinstance(value, types.FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        used = {name: value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__}
        return [value.__code__, value.__defaults__, value.__kwdefaults__, cells, used]
    if isinstance(value, type):
        return [
            value.__qualname__,
            *value.__bases__,
            {k: v for k, v in vars(value).items() if k[:2] != "__" or callable(v)},
        ]
    return _parts_of_instance(value)


def _parts_of_instance(value: object) -> list[object]:
    if (function := getattr(value, "python_function", None)) is not None:  # of a tf.function
        return [function]
    layers = [type(layer) for layer in value.layers] if isinstance(value, keras.Model) else []
    known = _is_of_library(type(value).__module__)
    said = _configuration(value) if known else type(value)
    if known and not isinstance(value, keras.Loss | keras.Metric):  # of some of which it lacks arguments
        return [said, layers]
    return [said, layers, {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in ("name", NAME)}]


def _configuration(value: object) -> str:
    """Returns the configuration of a Keras object as text, without names, which count up in a process."""
    try:
        said = keras.saving.serialize_keras_object(value)
    except Exception:  # it has none
        if isinstance(value, keras.Model) and value.compiled:
            raise
        return ""
    config = said["config"]
    if isinstance(value, keras.optimizers.Optimizer) and isinstance(config.get("learning_rate"), float):
        del config["learning_rate"]  # a variable, which a hook may have moved
    if isinstance(value, keras.Model) and value.compiled:
        config = {**config, "compiled with": said.get("compile_config")}
    numbers = {name: f"name {i}" for i, name in enumerate(dict.fromkeys(_names_in(config)))}
    return json.dumps(_renamed(config, numbers), default=lambda other: type(other).__qualname__)


def _names_in(config: object) -> Iterator[str]:
    for item in config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ():
        yield from _names_in(item)
    if isinstance(config, dict) and isinstance(config.get("name"), str):
        yield config["name"]


def _renamed(config: object, numbers: Mapping[str, str]) -> object:
    if isinstance(config, dict):
        return {key: _renamed(item, numbers) for key, item in config.items()}
    if isinstance(config, list | tuple):
        return [_renamed(item, numbers) for item in config]
    return numbers.get(config, config) if isinstance(config, str) else config


def _names(code: types.CodeType) -> Iterator[str]:
    """Yields the names that a function, and those within it, may look up in its module."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not there yet
        return None


def _is_of_library(module: str) -> bool:
    return module.split(".")[0] in LIBRARIES
