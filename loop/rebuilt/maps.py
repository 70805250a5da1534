"""Stages whose functions draw, shuffle or call Python: each element has its number, and so draws of its own."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.exact.graph import named_inputs
from loop.exact.stage_audit import by_cores, is_loose, is_open
from loop.rebuilt.calls import function
from loop.rebuilt.copies import AttrValue
from loop.rebuilt.emit import Handler, Scope
from loop.rebuilt.orders import as_dataset, typed, variant
from loop.tensors import Nest, unconverted

OTHERS = "_other_arguments"  # ends the names of what functions of a stage have from outside, if there are several
Elements = tuple[tf.Tensor, ...]


def _numbered(
    op: tf.Operation, scope: Scope, given: Sequence[tf.Tensor], others: Sequence[tf.Tensor]
) -> tf.data.Dataset:
    """Returns the elements that a stage reads, each with its number.

    Args:
        op: The stage.
        scope: Where it is.
        given: What its function is given: the parts of an element, and behind them what it has from outside.
        others: The latter.
    """
    # Flat: `enumerate` and the function need no more of an element's structure.
    spec = tuple(tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in given[: len(given) - len(others)])
    return tf.data.experimental.from_variant(scope.made[op.inputs[0].name], spec).enumerate()


class Numbered:
    """A stage and its function, which is given the number of each element.

    Args:
        op: The stage.
        scope: Where it is.
        name: The attribute that has the function.
    """

    def __init__(self, op: tf.Operation, scope: Scope, name: str = "f") -> None:
        self._op, self._scope = op, scope
        self._body = function(op, name)
        self._at = scope.at.of_stage()
        self._others = [scope.made[tensor.name] for tensor in named_inputs(op, "other_arguments")]
        self.elements = _numbered(op, scope, self._body.inputs, self._others)

    def argument(self, name: str) -> tf.Tensor:
        """Returns what the stage is given under that name."""
        return self._scope.made[named_inputs(self._op, name)[0].name]

    @property
    def calls(self) -> tf.Tensor | None:
        """How many calls are made at the same time; None if one after the other, when an element is wanted."""
        # If Python draws, one after the other: its streams are the process's.
        parallel = named_inputs(self._op, "num_parallel_calls") and not self._scope.emitter.python_draws.is_set()
        return tf.cast(self.argument("num_parallel_calls"), tf.int64) if parallel else None

    def then(self, finish: Callable[[list[tf.Tensor]], Nest]) -> Callable[[tf.Tensor, Elements], Nest]:
        """Returns the function for an element with its number, and what is made of what it returns."""

        def call(index: tf.Tensor, elements: Elements) -> Nest:
            arguments = [*elements, *self._others]
            return finish(self._scope.emitter.call(self._body, arguments, self._at.of_element(index)))

        return unconverted(call)


def _map(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    each = Numbered(op, scope)
    # Without calls in parallel it means nothing, and TensorFlow warns of it.
    in_order = None if each.calls is None else True
    return variant(each.elements.map(each.then(tuple), each.calls, deterministic=in_order))


def _map_and_batch(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    each = Numbered(op, scope)
    mapped = each.elements.map(each.then(tuple), each.calls)
    return variant(mapped.batch(each.argument("batch_size"), each.argument("drop_remainder")))


def _chosen(stage: Callable[[tf.data.Dataset, Callable[..., tf.Tensor]], tf.data.Dataset]) -> Handler:
    """Returns what makes a stage that a function decides on, which yields its elements as they are."""

    def make(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
        each = Numbered(op, scope, "predicate")
        chosen = stage(each.elements, each.then(lambda found: found[0]))
        # Not a map, which TensorFlow would join to a batch above it, and read ahead, and save what was read.
        bare = unconverted(lambda state, numbered: (state, numbered[1]))
        return variant(chosen.scan(tf.constant(0), bare))

    return make


def _flat_map(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    each = Numbered(op, scope)
    return variant(each.elements.flat_map(each.then(lambda found: as_dataset(found[0], op))))


def _cycle_length(op: tf.Operation, scope: Scope) -> tf.Tensor:
    """Returns of how many inputs at once a stage yields; what depended on the cores is what it was with those then."""
    (length,) = [scope.made[tensor.name] for tensor in named_inputs(op, "cycle_length")]
    if not is_open(length):
        return length
    scope.emitter.changes["interleave without cycle_length: the one for the cores when the run began"] += 1
    # Of interleave's two kinds, only the parallel one has it.
    calls = next((scope.made[tensor.name] for tensor in named_inputs(op, "num_parallel_calls")), None)
    return tf.constant(by_cores(op.type, calls, scope.emitter.cores), tf.int64)


def _pinned(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a stage of which only that changes."""
    (name,) = [tensor.name for tensor in named_inputs(op, "cycle_length")]
    in_order = {"deterministic": AttrValue(s=b"true")} if is_loose(op.node_def) else {}
    return scope.emitter.copied(op, {**scope.made, name: _cycle_length(op, scope)}, **in_order)


def _interleave(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    each = Numbered(op, scope)
    made = each.elements.interleave(
        each.then(lambda found: as_dataset(found[0], op)),
        _cycle_length(op, scope),
        each.argument("block_length"),
        each.calls,
        deterministic=None if each.calls is None else True,
    )
    return variant(made)


def _folded(op: tf.Operation, scope: Scope) -> tuple[tf.data.Dataset, Elements, Callable[..., list[tf.Tensor]]]:
    """Returns the elements with their numbers, the first state, and what makes something of a state and an element."""
    body, initial = function(op, "f"), tuple(scope.made[tensor.name] for tensor in named_inputs(op, "initial_state"))
    others = [scope.made[tensor.name] for tensor in named_inputs(op, "other_arguments")]
    at = scope.at.of_stage()

    def step(state: Elements, index: tf.Tensor, elements: Elements) -> list[tf.Tensor]:
        return scope.emitter.call(body, [*state, *elements, *others], at.of_element(index))

    return _numbered(op, scope, body.inputs[len(initial) :], others), initial, step


def _scan(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    numbered, initial, step = _folded(op, scope)

    def scan(state: Elements, element: tuple[tf.Tensor, Elements]) -> tuple[Elements, Elements]:
        found = step(state, *element)
        return tuple(found[: len(initial)]), tuple(found[len(initial) :])

    return variant(numbered.scan(initial, unconverted(scan)))


def _reduce(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    numbered, initial, step = _folded(op, scope)
    return list(numbered.reduce(initial, unconverted(lambda state, element: tuple(step(state, *element)))))


def _groups(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes groups, each of which has the number of its first element."""
    parts = ("key_func", "reduce_func", "window_size_func")
    keyed, reduced, sized = (function(op, name) for name in parts)
    others = [[scope.made[tensor.name] for tensor in named_inputs(op, f"{name}{OTHERS}")] for name in parts]
    elements, at = _numbered(op, scope, keyed.inputs, others[0]), scope.at.of_stage()

    # The elements of a group keep their numbers, so that the group has that of its first.
    def key_of(index: tf.Tensor, elements: Elements) -> tf.Tensor:
        return scope.emitter.call(keyed, [*elements, *others[0]], at.at("key").of_element(index))[0]

    def group(name: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        (plain,) = variant(window.map(unconverted(lambda index, elements: elements)))

        def of_first(first: tf.Tensor, _: Elements) -> tf.data.Dataset:
            of_group = at.at("reduce").of_element(first)
            return as_dataset(scope.emitter.call(reduced, [name, plain, *others[1]], of_group)[0], op)

        return window.take(1).flat_map(unconverted(of_first))  # not get_single_element, of which nothing can be saved

    def size(name: tf.Tensor) -> tf.Tensor:
        return scope.emitter.call(sized, [name, *others[2]], scope.at.at("size"))[0]

    by_key, made = unconverted(key_of), unconverted(group)
    return variant(elements.group_by_window(by_key, made, window_size_func=unconverted(size)))


def _load(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a stage that reads the files of `save` through a function, which is called once in each pass."""
    body, others = function(op, "reader_func"), named_inputs(op, "reader_func_other_args")
    given, at = [scope.made[tensor.name] for tensor in others], scope.at.of_stage().of_element(tf.constant(0, tf.int64))

    def read(files: tf.Tensor) -> tf.Tensor:
        return scope.emitter.call(body, [files, *given], at)[0]

    # A raw operation wants the function itself, and what it has from outside as an argument.
    reader = tf.function(read, [tf.TensorSpec([], tf.variant)], autograph=False).get_concrete_function()
    made = tf.raw_ops.LoadDataset(
        path=scope.made[op.inputs[0].name],
        reader_func_other_args=reader.captured_inputs,
        reader_func=reader,
        compression=op.get_attr("compression"),
        **typed(op),
    )
    return [made]


INTERLEAVES = ("InterleaveDataset", *(f"ParallelInterleaveDataset{version}" for version in ("V2", "V3", "V4")))
PINNED: Mapping[str, Handler] = dict.fromkeys(INTERLEAVES, _pinned)
MAPS: Mapping[str, Handler] = {  # if their functions change
    **dict.fromkeys(("MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2"), _map),
    **dict.fromkeys(("MapAndBatchDataset", "ExperimentalMapAndBatchDataset"), _map_and_batch),
    **dict.fromkeys(("FilterDataset", "ParallelFilterDataset"), _chosen(lambda dataset, keep: dataset.filter(keep))),
    "TakeWhileDataset": _chosen(lambda dataset, goes_on: dataset.take_while(goes_on)),
    "FlatMapDataset": _flat_map,
    **dict.fromkeys(INTERLEAVES, _interleave),
    **dict.fromkeys(("LegacyParallelInterleaveDatasetV2", "ParallelInterleaveDataset"), _interleave),
    "LoadDataset": _load,
    "ScanDataset": _scan,
    "ReduceDataset": _reduce,
    **dict.fromkeys(("GroupByWindowDataset", "ExperimentalGroupByWindowDataset"), _groups),
}
