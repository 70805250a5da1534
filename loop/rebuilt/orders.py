"""Stages that have another order in each pass, or begin what they read anew."""

import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from loop.rebuilt.copies import AttrValue
from loop.rebuilt.emit import Handler, Scope
from loop.rebuilt.seeds import WIDE, Pass, successive
from loop.rebuilt.shuffled import ALL_IN_ONE, shuffled
from loop.tensors import unconverted
from loop.tf_internals import in_order

USES = re.compile(r"use\.(\d+)\.of\.(\d+)")  # in names of operations: which of how many uses it is
CACHES = ("CacheDataset", "CacheDatasetV2")
OUTSIDE = "outside"  # begins the names of operations of a dataset that a function has from outside


def flat(op: tf.Operation) -> tuple[tf.TensorSpec, ...]:
    """Returns what a stage yields, without any structure."""
    pairs = zip(op.get_attr("output_shapes"), op.get_attr("output_types"), strict=True)
    return tuple(tf.TensorSpec(tf.TensorShape(shape), tf.as_dtype(dtype)) for shape, dtype in pairs)


def as_dataset(variant: tf.Tensor, op: tf.Operation) -> tf.data.Dataset:
    """Returns a dataset that yields what a stage does."""
    return tf.data.experimental.from_variant(variant, flat(op))


def variant(dataset: tf.data.Dataset) -> list[tf.Tensor]:
    """Returns what an operation of a stage yields: the dataset."""
    return [tf.data.experimental.to_variant(dataset)]


def typed(op: tf.Operation) -> dict[str, object]:
    """Returns the attributes that each stage has."""
    return {"output_types": op.get_attr("output_types"), "output_shapes": op.get_attr("output_shapes")}


def _single(op: tf.Operation, scope: Scope) -> dict[str, tf.Tensor]:
    """Returns what a stage that is given no lists is given, by name."""
    given = zip([argument.name for argument in op.op_def.input_arg], op.inputs, strict=True)
    return {name: scope.made[tensor.name] for name, tensor in given if tensor.name in scope.made}


def _seeds(
    seed: tf.Tensor, seed2: tf.Tensor, at: Pass, *, each: bool, outside: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the seeds of a stage in a pass, from those that it has.

    Args:
        seed: The first one: int64 `[]`. If both are zero, there are none.
        seed2: The second one, likewise.
        at: Where it is.
        each: Whether it has another order in each pass.
        outside: Whether a function has it from outside, so that TensorFlow would have another order for each element.
    """
    # Seeds of the program are constants nearly always; those that are not count as given.
    static = [tf.get_static_value(value) for value in (seed, seed2)]
    if outside and each:
        # The seed of the element is in it, or all elements would have one order.
        mixed = at.mixed(*map(int, static)) if None not in static else at.mixed()
        return mixed[0], mixed[1]
    if all(value is not None and int(value) == 0 for value in static):
        seed, seed2 = tf.unstack(at.drawn())
    return successive(seed, seed2, at.number) if each else (seed, seed2)


def _of_use(op: tf.Operation, at: Pass) -> Pass:
    """Returns the pass of a stage that is used several times in each pass of the pipeline: it is iterated as often."""
    found = USES.findall(op.name)
    index, count = map(int, found[-1]) if found else (0, 1)
    # Pass p of a stage that is used twice is its iterations 2p and 2p + 1.
    return at.again(at.number * count + index)


def _shuffled(op: tf.Operation, source: tf.Tensor, scope: Scope) -> tf.data.Dataset:
    given = _single(op, scope)
    each = bool(op.get_attr("reshuffle_each_iteration"))
    scope.emitter.changes["shuffle: the order of the seed and the pass" if each else "shuffle: one order"] += 1
    outside = any(name.startswith(OUTSIDE) for name in scope.at.place)
    seed, seed2 = _seeds(given["seed"], given["seed2"], _of_use(op, scope.at), each=each, outside=outside)
    # In the pass that looks at what is read (`STILL`), a buffer of one shuffles nothing.
    size = tf.where(scope.at.number < 0, tf.constant(1, tf.int64), given["buffer_size"])
    if ALL_IN_ONE in op.name:
        order = unconverted(lambda all_: tf.gather(all_, shuffled(tf.size(all_, tf.int64), size, seed, seed2)))
        return as_dataset(source, op).map(order)
    # TensorFlow saves each place of a buffer, also empty ones. With room for all, the order is that of a larger one.
    known = tf.raw_ops.DatasetCardinality(input_dataset=source)
    made = tf.raw_ops.ShuffleDataset(
        input_dataset=source,
        buffer_size=tf.where(known > 0, tf.minimum(size, known), size),
        seed=seed,
        seed2=seed2,
        # Each pass is a dataset of its own: its order is in its seeds.
        reshuffle_each_iteration=False,
        **typed(op),
    )
    return as_dataset(made, op)


def _shuffle(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    return variant(_shuffled(op, scope.made[op.inputs[0].name], scope))


def _repeated(op: tf.Operation, scope: Scope, count: tf.Tensor, shuffles: bool) -> Sequence[tf.Tensor]:
    """Makes what is repeated for each repetition as for a pass of its own."""
    scope.emitter.changes["repeat: each repetition as a pass"] += 1
    endless = count < 0
    last = tf.where(endless, tf.int64.max, count)  # at one a microsecond, 292,000 years
    before = scope.at.number * tf.where(endless, WIDE, tf.maximum(count, 1))  # repetitions in passes before

    def one(index: tf.Tensor) -> tf.data.Dataset:
        here = scope._replace(at=scope.at.again(before + index))
        source = scope.again(op, before + index)
        return _shuffled(op, source, here) if shuffles else as_dataset(source, op)

    return variant(tf.data.Dataset.range(last).flat_map(unconverted(one)))


def _repeat(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    return _repeated(op, scope, scope.made[op.inputs[1].name], shuffles=False)


def _shuffle_and_repeat(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    return _repeated(op, scope, _single(op, scope)["count"], shuffles=True)


def _random(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    given = _single(op, scope)
    each = op.type.endswith("V2") and bool(op.get_attr("rerandomize_each_iteration"))
    scope.emitter.changes["random dataset: of the seed and the pass" if each else "random dataset: of the seed"] += 1
    outside = any(name.startswith(OUTSIDE) for name in scope.at.place)
    seed, seed2 = _seeds(given["seed"], given["seed2"], _of_use(op, scope.at), each=each, outside=outside)
    return [tf.raw_ops.RandomDataset(seed=seed, seed2=seed2, **typed(op))]


def _cache(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a cache that a function fills for each element; those of the pipeline itself are there already."""
    source = as_dataset(scope.again(op, scope.at.number), op)
    return variant(source.cache(scope.made[op.inputs[1].name]))


def _options(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    options = in_order(op.get_attr("serialized_options"))
    return scope.emitter.copied(op, scope.made, serialized_options=AttrValue(s=options))


ORDERS: Mapping[str, Handler] = {
    **dict.fromkeys(("ShuffleDataset", "ShuffleDatasetV3"), _shuffle),
    **dict.fromkeys(("ShuffleAndRepeatDataset", "ShuffleAndRepeatDatasetV2"), _shuffle_and_repeat),
    **dict.fromkeys(("RandomDataset", "RandomDatasetV2"), _random),
    "OptionsDataset": _options,
}
AROUND: Mapping[str, Handler] = {  # only if what they read changes
    "RepeatDataset": _repeat,
    **dict.fromkeys(CACHES, _cache),
}
