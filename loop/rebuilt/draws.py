"""What draws from a stream of its own, drawn from a seed instead: same distribution, same shape, same dtype.

By raw operations, one for one: the public functions scale and shift once more, which costs as much as to draw.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf

from loop.rebuilt.emit import Handler, Scope, cannot
from loop.rebuilt.pools import POOLS, is_drawn
from loop.rebuilt.samplers import SAMPLERS

CHANGED = "random numbers in functions: of the seed, the pass and the element"
CHANGE = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "RngSkip")  # variables
DEFAULT = 87654321  # TensorFlow's own first seed, of draws that were given one while the process has none
Draw: TypeAlias = Callable[[tf.Operation, Sequence[tf.Tensor], tf.Tensor], tf.Tensor | Sequence[tf.Tensor]]


def _drawn(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes what an operation draws."""
    if op.type in POOLS and not is_drawn(op):
        return scope.emitter.copied(op, scope.made)
    scope.emitter.changes[CHANGED] += 1
    # By the definition: to ask the operation for an attribute it lacks raises.
    attributes = op.node_def.attr
    given = [attributes[name].i for name in ("seed", "seed2") if name in attributes]
    if stream := scope.stream(op):
        seed = scope.at.drawn_from(*stream)
    else:
        seed = scope.at.drawn_alike(*given) if _is_told(op, given) else scope.at.drawn(*given)
    found = DRAWS[op.type](op, scope.inputs(op), seed)
    return found if isinstance(found, list | tuple) else [found]


def _is_told(op: tf.Operation, given: list[int]) -> bool:
    """Returns whether the user gave the draw itself a seed, so that others with that seed draw the same.

    Whoever flips an image and its mask counts on it. Under `tf.random.set_seed`, TensorFlow counts the draws of each
    function, and takes the count for the seed of one that was given none: that is no wish to draw the same.
    """
    if not any(given) or given[0] == DEFAULT:  # the process has no seed: what there is was given to the draw
        return any(given)
    seeds = [[each.node_def.attr[name].i for name in ("seed", "seed2")] for each in op.graph.get_operations()
             if {"seed", "seed2"} <= each.node_def.attr.keys()]  # fmt: skip
    # A count is below the number of draws, and no two draws of one function have the same.
    return given[1] >= len(seeds) or seeds.count(given) > 1


def _of_stream(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes what an operation reads from a random stream's variable; nothing, if it changes that.

    Whatever is drawn from it afterwards is drawn without a state. Streams of Keras and of TensorFlow are the same in
    this, so a draw for each place and element is what both are there for. Two with the same seed yield the same.
    """
    scope.emitter.changes[CHANGED] += 1
    seeds = [scope.at.drawn_from(*stream) for stream in [scope.stream(op)] if stream]
    return [_bits(_shape(output, scope.inputs(op)[0]), seed, output.dtype) for seed in seeds for output in op.outputs]


def _shape(output: tf.Tensor, handle: tf.Tensor) -> tf.TensorShape:
    """Returns the shape of what is read from a variable, also where a branch of a condition has forgotten it."""
    if output.shape.is_fully_defined():
        return output.shape
    with tf.init_scope():
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=output.dtype).shape


def _bits(shape: tf.TensorShape | Sequence[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if dtype in (tf.uint32, tf.uint64, tf.int32, tf.int64):
        return tf.raw_ops.StatelessRandomUniformFullInt(shape=shape, seed=seed, dtype=dtype)
    # The kernel knows no smaller integers.
    return tf.cast(tf.raw_ops.StatelessRandomUniformFullInt(shape=shape, seed=seed, dtype=tf.int32), dtype)


def _dtype(op: tf.Operation) -> tf.DType:
    return op.outputs[0].dtype


def _gamma(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    shape, alpha = inputs
    return tf.random.stateless_gamma(_before(shape, alpha), seed, alpha, dtype=alpha.dtype)


def _poisson(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    shape, rate = inputs
    return tf.random.stateless_poisson(_before(shape, rate), seed, rate, dtype=_dtype(op))


def _before(shape: tf.Tensor, of_each: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.cast(shape, tf.int32), tf.shape(of_each)], 0)


def _binomial(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    *_, shape, counts, probs = inputs
    return tf.random.stateless_binomial(shape, seed, counts, probs, output_dtype=_dtype(op))


def _box(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    image_size, boxes, *least = inputs
    names = ("aspect_ratio_range", "area_range", "max_attempts", "use_image_if_no_bounding_boxes")
    attributes = {name: op.get_attr(name) for name in names}
    covered = least[0] if least else tf.constant(op.get_attr("min_object_covered"))
    return tf.raw_ops.StatelessSampleDistortedBoundingBox(
        image_size=image_size, bounding_boxes=boxes, min_object_covered=covered, seed=seed, **attributes
    )


def _of_shape(draw: Callable[..., tf.Tensor]) -> Draw:
    """Returns what draws by an operation that is told the shape, and nothing else."""
    return lambda op, inputs, seed: draw(shape=inputs[-1], seed=seed, dtype=_dtype(op))


def _integers(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    *_, shape, low, high = inputs
    return tf.raw_ops.StatelessRandomUniformInt(shape=shape, seed=seed, minval=low, maxval=high)


def _any_integers(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    return _bits(inputs[-1], seed, _dtype(op))


UNIFORM, NORMAL = map(_of_shape, (tf.raw_ops.StatelessRandomUniform, tf.raw_ops.StatelessRandomNormal))
TRUNCATED = _of_shape(tf.raw_ops.StatelessTruncatedNormal)


def _chosen(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    logits, count = inputs
    return tf.raw_ops.StatelessMultinomial(logits=logits, num_samples=count, seed=seed, output_dtype=_dtype(op))


DRAWS: Mapping[str, Draw] = {
    "RandomUniform": UNIFORM,
    "RandomUniformInt": _integers,
    "RandomStandardNormal": NORMAL,
    "TruncatedNormal": TRUNCATED,
    "RandomGamma": _gamma,
    "RandomPoissonV2": _poisson,
    "RandomPoisson": _poisson,
    "RandomShuffle": lambda op, inputs, seed: tf.random.experimental.stateless_shuffle(inputs[0], seed),
    "Multinomial": _chosen,
    "SampleDistortedBoundingBox": _box,
    "SampleDistortedBoundingBoxV2": _box,
    "NonDeterministicInts": _any_integers,
    "StatefulUniform": UNIFORM,
    "StatefulUniformInt": _integers,
    "StatefulUniformFullInt": _any_integers,
    "StatefulStandardNormal": NORMAL,
    "StatefulStandardNormalV2": NORMAL,
    "StatefulTruncatedNormal": TRUNCATED,
    "StatefulRandomBinomial": _binomial,
    **SAMPLERS,
    **POOLS,
    "RngReadAndSkip": lambda op, inputs, seed: _bits([3], seed, _dtype(op)),
}
DRAWN: Mapping[str, Handler] = {**dict.fromkeys(DRAWS, _drawn), **dict.fromkeys(CHANGE, cannot)}
STREAMS: Mapping[str, Handler] = dict.fromkeys(("ReadVariableOp", *CHANGE), _of_stream)
