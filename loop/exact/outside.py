"""What the functions of a pipeline have from outside: arrays, constants and tables, as a process without a seed drew.

Whoever adapts a vocabulary to rows that were chosen at random has another one in the next process; and so it is with
the mean of these rows, or with `map(lambda i: x[i])`. What a function has stands under the names of tensors in it, and
what is written in it, or in a function that it calls, under its `ConstantPlace`.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from loop.digest import digest
from loop.exact.constants import ConstantPlace, constants_in, is_of_values, value_of
from loop.exact.graph import operations, uses
from loop.exact.pipeline import stages
from loop.exact.tables import Table, table_of
from loop.handles import key_of
from loop.tensors import FuncGraph
from loop.tf_internals import functions_of

Instead: TypeAlias = Mapping[FuncGraph, "Others"]  # what functions are to have in the place of what they have
LARGEST = 2**24  # bytes of one function that are kept
MANY = 100  # numbers or texts: fewer may as well have been written down, and been edited since
# Digits: those with fewer are settings; and nobody writes down as many as a mean has, or a seed that was drawn.
SHORT, COMPUTED, DRAWN = 3, 5, 8
# Numbers that are computed, and their digits: fewer may come of one setting, as a reciprocal does.
SEVERAL, TOGETHER = 3, 20


class Others(NamedTuple):
    """What one function is to have in the place of what it has.

    Attributes:
        given: By the names of what stands for them in the function: arrays, and handles of tables.
        constants: By where they stand in it, or in what it calls, their values as TensorFlow writes them.
        tables: By the keys of the handles that it has: those to which the handles in `given` belong.
        digits: Of each of those that are a few numbers, how many digits these have, at least.
        together: How many digits the `SEVERAL` longest of these have together, at least; 0 if there are fewer.
    """

    given: Mapping[str, tf.Tensor]
    constants: Mapping[ConstantPlace, bytes]
    tables: Mapping[int, tf.lookup.StaticHashTable]
    digits: Sequence[int]
    together: int = 0

    @property
    def are_drawn(self) -> bool:
        """Whether there is anything that nobody has written down."""
        arrays = [x for x in self.given.values() if x.dtype != tf.resource] + [*map(value_of, self.constants.values())]
        are_many = bool(self.tables) or self.together >= TOGETHER
        return are_many or any(x.shape.num_elements() >= MANY or _is_seed(x) for x in arrays)


NOTHING: Instead = MappingProxyType({})
NO_OTHERS = Others({}, {}, {}, [])


class Outside:
    """What a function has from outside, and may be other ones in another process.

    Attributes:
        arrays: By the names of what stands for them.
        tables: Likewise.
        constants: By where they stand in it, or in what it calls, their values as TensorFlow writes them.
        is_large: Whether it is too much to be kept: then there is nothing of it here.

    Args:
        graph: The function.
    """

    def __init__(self, graph: FuncGraph) -> None:
        captures, used = [(outer, inner.name) for outer, inner in graph.captures], uses(graph)
        self.arrays = {name: array for array, name in captures if is_of_values(array.dtype)}
        self.tables = {
            name: table
            for handle, name in captures
            if handle.dtype == tf.resource and (table := table_of(handle, used.get(key_of(handle), ())))
        }
        held = {name.partition(":")[0] for _, name in captures}  # small arrays are there as constants, too
        written = [
            op.outputs[0] for op in operations(graph) if op.type == "Const" and is_of_values(op.outputs[0].dtype)
        ]
        # By their shapes: to ask an operation for its value copies it.
        self.is_large = sum(map(_bytes, (*self.arrays.values(), *written))) > LARGEST
        found = {} if self.is_large else constants_in(graph)
        self.constants = {place: said for place, said in found.items() if place.function or place.op not in held}
        if self.is_large:
            self.arrays, self.tables = {}, {}

    def tensors(self, others: Others = NO_OTHERS) -> list[tf.Tensor]:
        """Returns all of it, or others in its place, to be kept."""
        arrays = [others.given.get(name, array) for name, array in self.arrays.items()]
        tables = [Table(others.given.get(name, each.handle), *each[1:]) for name, each in self.tables.items()]
        constants = [others.constants.get(place, said) for place, said in self.constants.items()]
        contents = [tensor for table in tables for tensor in table.content()]
        return [*arrays, *contents, *([tf.constant(constants)] if constants else [])]

    def others(self, tensors: Iterator[tf.Tensor]) -> Others | None:
        """Returns what differs in what `tensors` returned in another process; None if that is of another function."""
        given, constants = dict[str, tf.Tensor](), dict[ConstantPlace, bytes]()
        tables, pairs = dict[int, tf.lookup.StaticHashTable](), list[tuple[tf.Tensor, tf.Tensor]]()
        for name, now in self.arrays.items():
            if (then := next(tensors, None)) is None or not _are_alike(now, then):
                return None
            if not is_same(now, then):
                given[name] = then
                pairs.append((now, then))
        for name, table in self.tables.items():
            keys, found = next(tensors, None), next(tensors, None)
            if keys is None or found is None or (keys.dtype, found.dtype) != (table.keys, table.found):
                return None
            if _by_key(keys, found) == _by_key(*table.content()):
                continue
            if key_of(table.handle) not in tables:
                initial = tf.lookup.KeyValueTensorInitializer(keys, found)
                default = tf.zeros([], found.dtype) if found.dtype != tf.string else tf.constant("")
                tables[key_of(table.handle)] = tf.lookup.StaticHashTable(initial, default)  # the function has its own
            given[name] = tables[key_of(table.handle)].resource_handle
        if self.constants:
            then = next(tensors, None)
            if then is None or then.dtype != tf.string or then.shape != [len(self.constants)]:
                return None
            said = zip(self.constants.items(), then.numpy(), strict=True)
            constants = {place: value for (place, now), value in said if value != now}
            pairs += [(value_of(self.constants[place]), value_of(value)) for place, value in constants.items()]
        if any(not _are_alike(a, b) or _names_what_is_gone(b) for a, b in pairs):
            return None
        few = [pair for pair in pairs if pair[0].shape.num_elements() < MANY and pair[0].dtype != tf.string]
        # Not each of them alone: of three numbers, one has a short text by chance in one process of three.
        together = [_together(sides) for sides in zip(*few, strict=True)]
        return Others(given, constants, tables, [min(map(_digits, pair)) for pair in few], min(together, default=0))


def outside_of(dataset: tf.data.Dataset) -> dict[FuncGraph, Outside]:
    """Returns what the functions of a pipeline have from outside."""
    graphs = [function.graph for stage in stages(dataset) for function in functions_of(stage)]
    return {graph: Outside(graph) for graph in dict.fromkeys(graphs)}


def others_of(
    outside: Mapping[FuncGraph, Outside],
    tensors: Sequence[tf.Tensor],
    *,
    moved: bool,
    drawn: Callable[[], Collection[FuncGraph]] = frozenset,
) -> Instead | None:
    """Returns what functions are to have instead of what they have.

    Args:
        outside: What they have.
        tensors: What they had in another process, one after the other.
        moved: Whether rows are other ones, too.
        drawn: Returns which of them read variables that come of random numbers, as the text of the program says.

    Returns:
        Nothing where they have the same; None if that was of other functions, or somebody may have edited it.
    """
    rest, found = iter(tensors), dict[FuncGraph, Others]()
    for graph, has in outside.items():
        others = has.others(rest)
        if others is None:
            return None
        if others != NO_OTHERS:
            found[graph] = others
    if not found or _are_drawn([*found.values()], moved=moved):
        return found
    known = drawn()
    rest_of = [others for graph, others in found.items() if graph not in known]
    return found if not rest_of or _are_drawn(rest_of, moved=moved) else None


def _are_drawn(found: Sequence[Others], *, moved: bool) -> bool:
    """Returns whether values are such that nobody has set them."""
    digits = [count for others in found for count in others.digits] or [DRAWN]
    # Of a mean and a deviation, one may be round by chance.
    are_computed = min(digits) >= SHORT and max(digits) >= COMPUTED
    return are_computed and (moved or any(others.are_drawn for others in found))


def is_computed(array: np.ndarray) -> bool:
    """Returns whether there are numbers in it that nobody writes down, and too few to be told from a reciprocal."""
    few = array.dtype.kind == "f" and array.size < SEVERAL
    return few and any(len(text) >= TOGETHER / SEVERAL for text in _texts(tf.constant(array)))


def is_same(now: tf.Tensor, then: tf.Tensor) -> bool:
    """Returns whether two tensors are equal bit for bit."""
    return digest(now) == digest(then)


def _are_alike(one: tf.Tensor, other: tf.Tensor) -> bool:
    """Returns whether one may stand in the place of another: of rows, chance may have chosen another number."""
    return (one.dtype, one.shape.rank, one.shape[1:]) == (other.dtype, other.shape.rank, other.shape[1:])


def _bytes(tensor: tf.Tensor) -> int:
    return (tensor.shape.num_elements() or 0) * max(1, tensor.dtype.size)


def _is_seed(array: tf.Tensor) -> bool:
    return array.dtype.is_integer and _digits(array) >= DRAWN


def _digits(array: tf.Tensor) -> int:
    """Returns how many digits the longest of a few numbers has."""
    return max(map(len, _texts(array)), default=0)


def _together(arrays: Sequence[tf.Tensor]) -> int:
    """Returns how many digits the longest of different numbers have together; 0 if few are long enough."""
    texts = {text for array in arrays for text in _texts(array) if len(text) >= COMPUTED}
    lengths = sorted(min(len(text), DRAWN) for text in texts)[-SEVERAL:]
    return sum(lengths) if len(lengths) == SEVERAL else 0


def _texts(array: tf.Tensor) -> list[str]:
    """Returns the digits of a few numbers, without zeros at their ends."""
    values = [*np.atleast_1d(array.numpy()).reshape(-1)]
    if not array.dtype.is_integer:
        values = [np.format_float_scientific(each if each.dtype.kind == "f" else np.float32(each)) for each in values]
    return [str(each).partition("e")[0].replace(".", "").strip("-0") for each in values]


def _by_key(keys: tf.Tensor, found: tf.Tensor) -> dict[object, object]:
    return dict(zip(keys.numpy().tolist(), found.numpy().tolist(), strict=True))


def _names_what_is_gone(array: tf.Tensor) -> bool:
    """Returns whether texts name files by where they are, and these are there no more, as in a temporary directory."""
    texts = tf.reshape(array, [-1])[:MANY].numpy().tolist() if array.dtype == tf.string else []
    return any(os.path.isabs(text) and not os.path.exists(text) for text in texts)
