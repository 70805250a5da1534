"""Samplers of candidates, as for negative sampling: what they draw, drawn from a seed instead.

Those that draw all classes alike, by Zipf's law, or as often as they are told, as in
tensorflow/core/kernels/range_sampler.cc.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.errors.remedies import CLASSES_IN_FILE
from loop.rebuilt.emit import CannotRebuild

BLOCK = 64  # draws that are made at the same time, at least


def _sampled(
    op: tf.Operation, classes: Callable[[tf.Tensor], tf.Tensor], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the candidates and after how many tries they were found.

    Args:
        op: The sampler.
        classes: Makes classes, int64, of numbers in [0, 1).
        seed: int64 `[2]`.
    """
    count, unique = op.get_attr("num_sampled"), op.get_attr("unique")
    # Twice as many as are wanted: most often, one block has enough that differ.
    size = max(2 * count, BLOCK) if unique else count

    def block(number: tf.Tensor) -> tf.Tensor:
        of_block = seed + tf.stack([tf.constant(0, tf.int64), number])
        return classes(tf.raw_ops.StatelessRandomUniform(shape=[size], seed=of_block, dtype=tf.float64))

    drawn = block(tf.constant(0, tf.int64))
    if not unique:
        return drawn, tf.constant(count, tf.int64)
    if count > op.get_attr("range_max"):  # TensorFlow fails then; here, it would never end
        raise CannotRebuild(op)
    _, drawn = tf.while_loop(
        lambda number, found: tf.size(tf.unique(found).y) < count,
        lambda number, found: (number + 1, tf.concat([found, block(number)], 0)),
        (tf.constant(1, tf.int64), drawn),
        (tf.TensorShape([]), tf.TensorShape([None])),
    )
    candidates = tf.ensure_shape(tf.unique(drawn).y[:count], [count])  # in the order in which they were met
    # The tries up to where the last candidate was met first, that one included.
    return candidates, 1 + tf.argmax(tf.cast(drawn == candidates[-1], tf.int32))


def _with_counts(
    op: tf.Operation,
    true_classes: tf.Tensor,
    classes: Callable[[tf.Tensor], tf.Tensor],
    probability: Callable[[tf.Tensor], tf.Tensor],
    seed: tf.Tensor,
) -> list[tf.Tensor]:
    candidates, tries = _sampled(op, classes, seed)

    def expected(of: tf.Tensor) -> tf.Tensor:
        p = probability(tf.cast(of, tf.float64))
        each = tf.cast(tries, tf.float64)
        # As in TensorFlow: without rejects, p times the tries; else 1 - (1 - p) ** tries.
        with_all = tf.equal(tries, op.get_attr("num_sampled"))
        return tf.cast(tf.where(with_all, p * each, -tf.math.expm1(each * tf.math.log1p(-p))), tf.float32)

    return [candidates, expected(true_classes), expected(candidates)]


def _uniform(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
    classes = tf.constant(op.get_attr("range_max"), tf.float64)
    return _with_counts(
        op, inputs[0], lambda u: tf.cast(u * classes, tf.int64), lambda of: tf.ones_like(of) / classes, seed
    )


def _log_uniform(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
    classes = tf.constant(op.get_attr("range_max"), tf.float64)
    span = tf.math.log1p(classes)
    return _with_counts(
        op,
        inputs[0],
        lambda u: (tf.cast(tf.exp(u * span), tf.int64) - 1) % tf.cast(classes, tf.int64),  # rounded, it may be the end
        lambda of: (tf.math.log(of + 2) - tf.math.log(of + 1)) / span,
        seed,
    )


def _fixed(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
    """Makes what draws classes as often as the user has told it."""
    if op.get_attr("vocab_file"):
        raise CannotRebuild(op, CLASSES_IN_FILE)
    weights = _weights(op)
    least = op.get_attr("num_sampled") if op.get_attr("unique") else 1
    if len(weights) != op.get_attr("range_max") or np.count_nonzero(weights) < least:
        raise CannotRebuild(op)  # TensorFlow fails then, or never ends
    shares = weights / weights.sum()
    ends = np.cumsum(shares)
    ends /= ends[-1]  # rounded, the last one may be less than 1

    def probability(of: tf.Tensor) -> tf.Tensor:
        known = (of >= 0) & (of < len(shares))
        return tf.where(known, tf.gather(shares, tf.cast(tf.where(known, of, 0), tf.int64)), 0)

    return _with_counts(op, inputs[0], lambda u: tf.searchsorted(ends, u, "right", tf.int64), probability, seed)


def _weights(op: tf.Operation) -> np.ndarray:
    """Returns how often the classes are to be drawn, of which the first ones may be reserved, and others elsewhere."""
    shards, shard, reserved = (op.get_attr(name) for name in ("num_shards", "shard", "num_reserved_ids"))
    zeros = [0.0 for i in range(reserved) if i % shards == shard]
    given = np.array(op.get_attr("unigrams"), np.float32) ** np.float32(op.get_attr("distortion"))
    of_here = [weight for i, weight in enumerate(given, len(zeros)) if i % shards == shard]
    return np.array([*zeros, *of_here], np.float64)


def _all(op: tf.Operation, inputs: Sequence[tf.Tensor], seed: tf.Tensor) -> list[tf.Tensor]:
    """Makes all classes, which are no draw at all, though TensorFlow gives that a seed."""
    del seed
    count = op.get_attr("num_sampled")
    return [tf.range(count, dtype=tf.int64), tf.ones_like(inputs[0], tf.float32), tf.ones([count])]


SAMPLERS: Mapping[str, Callable[[tf.Operation, Sequence[tf.Tensor], tf.Tensor], list[tf.Tensor]]] = {
    "UniformCandidateSampler": _uniform,
    "LogUniformCandidateSampler": _log_uniform,
    "FixedUnigramCandidateSampler": _fixed,
    "AllCandidateSampler": _all,
}
