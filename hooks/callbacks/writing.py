"""Writes down a value that a Python object keeps."""

import json
from collections.abc import Iterator, Set
from enum import Enum
from pathlib import PurePath
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hooks.callbacks.closed import changes, keeps_unseen, python_of
from hooks.callbacks.objects import COMPUTING, VARIABLES, attributes, is_of_program, variables
from hooks.callbacks.records import is_named_tuple, is_record
from hooks.callbacks.things import HOOKS, NEW, Things
from hooks.callbacks.values import DEFAULTS, DICTS, LISTS, PLAIN, STREAMS, Bits, GoesOn, Json, NotKept, WrittenValue
from loop import ArrayData, Evaluation, Hook, IndexedData, Loop, StatefulData, Step, StreamData

# What the loop is made of: of what changes in it, a callback that holds it keeps nothing.
OF_LOOP = (ArrayData, Evaluation, IndexedData, Loop, StatefulData, Step, StreamData)
DEEPEST = 20  # lists within lists; a cycle of them would have no end


class NamesGiven(Enum):
    """What is met in a value is there, and gets a name: all of it, or what nobody could make anew; or else nothing."""

    ALL = "all"
    UNMAKEABLE = "unmakeable"
    NOTHING = "nothing"


class Paper(NamedTuple):
    """What is written on.

    Attributes:
        bits: Those of the arrays so far.
        closed: As in `WrittenValue`, so far.
        things: Which thing is which.
        kept: The ids of variables that are kept elsewhere.
        made: The numbers of things that were made since the run began, by id.
        naming: What gets a name.
    """

    bits: list[Bits]
    closed: list[str]
    things: Things
    kept: Set[int]
    made: dict[int, str]
    naming: NamesGiven

    def label(self, value: object, path: str, can_be_made: bool) -> str:
        if self.naming is NamesGiven.ALL or (self.naming is NamesGiven.UNMAKEABLE and not can_be_made):
            self.things.name(value, path)
        if (label := self.things.label(value)) is not None:
            return label
        if not can_be_made:
            raise NotKept(f"{type(value).__name__} that was not there when the run began")
        return self.made.setdefault(id(value), f"{NEW} {len(self.made)}")


def write(
    value: object,
    things: Things,
    path: str,
    kept: Set[int] = frozenset(),
    made: dict[int, str] | None = None,
    naming: NamesGiven = NamesGiven.ALL,
) -> WrittenValue:
    """Returns a value as a text and the bits of its arrays.

    That is: numbers, texts, arrays, tensors, lists, tuples, sets and dicts of them; the values of variables, metrics,
    networks and optimizers; the state of generators of random numbers; and what objects of the program's own classes,
    and callbacks, have of all this.

    Args:
        value: Any value.
        things: Which thing is which.
        path: Where the value is.
        kept: The ids of TensorFlow's variables of which somebody else keeps the values.
        made: Numbers of what was made since the run began, to add to.
        naming: What in the value gets a name, of what has none.

    Raises:
        NotKept: If there is anything else in it, or a thing that is only known by what it was when the run began.
    """
    paper = Paper([], [], things, kept, {} if made is None else made, naming)
    return WrittenValue(json.dumps(_written(value, paper, path, 0)), tuple(paper.bits), tuple(paper.closed))


def _written(value: object, on: Paper, path: str, depth: int) -> Json:
    kind = type(value)
    if kind in PLAIN:
        return value
    if depth > DEEPEST:
        raise NotKept("what contains itself")

    def inner(item: object, name: object) -> Json:
        return item if type(item) in PLAIN else _written(item, on, f"{path}.{name}", depth + 1)

    if name := next((name for name, of_list in LISTS.items() if kind is of_list), ""):
        label = None if name == "tuple" else on.label(value, path, True)
        # Of numbers and texts alone there may be one for each batch.
        plain = set(PLAIN).issuperset(map(type, value))  # type: ignore[call-overload]
        items = [*value] if plain else [inner(item, i) for i, item in enumerate(value)]  # type: ignore[misc, arg-type, var-annotated]
        return [name, label, sorted(items, key=repr) if name == "set" else items, getattr(value, "maxlen", None)]
    if name := next((name for name, of_dict in DICTS.items() if kind is of_dict), ""):
        label, default = on.label(value, path, True), getattr(value, "default_factory", None)
        if label.startswith(NEW) and default not in DEFAULTS.values():
            raise NotKept("defaultdict that was not there when the run began")
        pairs = enumerate(value.items())  # type: ignore[attr-defined]
        said = [[inner(key, f"{i}.key"), inner(item, i)] for i, (key, item) in pairs]
        return [name, label, said, getattr(default, "__name__", None)]
    if is_named_tuple(value):
        items = [inner(item, i) for i, item in enumerate(value)]  # type: ignore[arg-type, var-annotated]
        return ["named", kind.__module__, kind.__qualname__, items]
    if isinstance(value, Enum):  # of which there is each once, all of them from the beginning
        if on.naming is not NamesGiven.NOTHING:
            for each in type(value):
                on.things.name(each, f"{path}.{each.name}")
        return ["enum", on.label(value, path, False)]
    if isinstance(value, PurePath):
        return ["path", str(value)]
    if isinstance(value, np.ndarray):
        return ["array", on.label(value, path, True), *_array(value, on.bits)]
    # Neither can be changed in place, so they need no label: a new one is as good.
    if isinstance(value, np.generic | tf.Tensor):
        return ["scalar" if isinstance(value, np.generic) else "tensor", *_array(np.asarray(value), on.bits)]
    if isinstance(value, VARIABLES):
        own = value.value if isinstance(value, keras.Variable) else value
        return ["variable", on.label(own, path, False), *_array(on.things.view(own), on.bits, held=True)]
    if isinstance(value, keras.Metric):
        return ["metric", on.label(value, path, False), [inner(each, i) for i, each in enumerate(value.variables)]]
    if name := next((name for name, of_stream in STREAMS.items() if kind is of_stream.kind), ""):
        return [name, on.label(value, path, True), _of_state(STREAMS[name].state(value), on)]
    # After generators of random numbers, which are none; a program's own class may be one and be kept.
    if isinstance(value, Iterator) and not is_of_program(value):
        raise GoesOn(kind.__name__)
    if isinstance(value, OF_LOOP) or (isinstance(value, Hook) and (on.things.label(value) or "").startswith(HOOKS)):
        return ["of_loop", on.label(value, path, False)]
    if isinstance(value, COMPUTING):
        return ["variables", on.label(value, path, False), _of_variables(value, on, path)]
    if is_of_program(value):
        label = on.label(value, path, is_record(value))
        own = {name: inner(item, name) for name, item in attributes(value).items()}
        # Where it is only made anew if it has to be, the class is found by the module, too.
        return ["object", label, kind.__qualname__, own, *([kind.__module__] if label.startswith(NEW) else [])]
    raise NotKept(kind.__name__)


def _of_state(state: object, on: Paper) -> Json:
    # Which is made anew each time, so nothing in it has a name.
    return _written(state, Paper(on.bits, on.closed, on.things, on.kept, {}, NamesGiven.NOTHING), "", 0)


def _of_variables(value: object, on: Paper, path: str) -> list[Json]:
    label = on.things.label(value)
    if label is not None and not label.startswith("/"):  # what is in the state of the loop is not the callback's
        if unseen := keeps_unseen(value):  # such as a table, whose contents no variable has
            raise GoesOn(unseen)
        now = python_of(value)
        if changes(value, on.things.first(label, now), now):
            on.closed.append(type(value).__name__)
    said = []
    for i, each in enumerate(variables(value)):
        if on.naming is not NamesGiven.NOTHING:
            on.things.name(each, f"{path}.{i}")
        # Whoever keeps it puts it back itself; here only its place is noted.
        array = [] if id(each) in on.kept else _array(on.things.view(each), on.bits, held=True)
        said.append([on.things.label(each), *array])
    return said


def _array(array: np.ndarray, bits: list[Bits], *, held: bool = False) -> list[Json]:
    if array.dtype.hasobject or array.dtype.fields:
        raise NotKept(f"{array.dtype.name} array")
    # Of a variable the array that is held anyway, and cannot change under it. Others are copied.
    bits.append(array if held else np.ascontiguousarray(array).tobytes())
    # With the order of bytes in it; types such as bfloat16 have a name only.
    return [array.dtype.str if array.dtype.kind in "biufcSUmM" else array.dtype.name, list(array.shape)]
