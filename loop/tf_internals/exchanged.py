"""What takes the place of something of theirs, for as long as a function is traced, say."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.losses import loss as keras_loss
from keras.src.losses import losses as keras_losses
from tensorflow.python.eager import context
from tensorflow.python.ops import random_ops_util

_explicit = threading.local()
_key_counter_alg = random_ops_util.get_key_counter_alg


def _get_key_counter_alg(seed: tf.Tensor, alg: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Takes the place of TensorFlow's own, which says for every function that draws where its numbers come from."""
    is_open = alg is None or random_ops_util.convert_alg_to_int(alg) == tf.random.Algorithm.AUTO_SELECT.value
    return _key_counter_alg(seed, "philox" if is_open and vars(_explicit).get("chosen") else alg)


@contextlib.contextmanager
def explicit_algorithm() -> Iterator[None]:
    """Has what this thread traces for XLA say how random numbers are made where it leaves that to TensorFlow.

    As all of Keras does; public is only an argument of each call. Left open, XLA makes the key of Philox from the seed
    again for each number: twenty times as slow. Threefry would be faster still, but only XLA has it, and initializers
    of layers that are built late do not run in XLA.
    """
    # Left in place: what this thread has chosen decides, so that others, and this one later, have theirs.
    random_ops_util.get_key_counter_alg = _get_key_counter_alg
    before, _explicit.chosen = vars(_explicit).get("chosen", False), True
    try:
        yield
    finally:
        _explicit.chosen = before


@contextlib.contextmanager
def drawing_apart(rank: int) -> Iterator[None]:
    """Has what is traced draw, in each process of a cluster, other numbers out of one state, which stays the same.

    A generator of TensorFlow goes on by as many numbers as were drawn; here by a number that no batch changes. In
    public, only each call that draws can be given another seed.
    """
    drawn, skipped = keras.random.SeedGenerator.next, tf.random.Generator.skip

    def next_seed(generator: keras.random.SeedGenerator, ordered: bool = True) -> tf.Tensor:
        seed = drawn(generator, ordered)
        # The chief, of rank 0, draws from the state as it is.
        return seed + tf.cast(tf.constant([rank * 0x9E3779B9 % 2**31, 0]), seed.dtype)

    def skip(generator: tf.random.Generator, delta: tf.types.experimental.TensorLike) -> tf.Tensor:
        # By 2^32 numbers, whatever was drawn: more than a draw takes, and the same in all workers.
        counter_and_key = skipped(generator, tf.constant(2**32, tf.uint64))
        return tf.concat([counter_and_key[:-1], counter_and_key[-1:] + (rank * 0x9E3779B97F4A7C15) % 2**63], 0)

    keras.random.SeedGenerator.next, tf.random.Generator.skip = next_seed, skip
    try:
        yield
    finally:
        keras.random.SeedGenerator.next, tf.random.Generator.skip = drawn, skipped


@contextlib.contextmanager
def moments_from(function: Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> Iterator[None]:
    """Has synchronized layers take mean and variance from a function; they ask a strategy, or nobody."""
    # Of the process, not of the thread: what another thread traces meanwhile has it, too.
    kept = keras_nn._compute_moments_sync
    keras_nn._compute_moments_sync = function
    try:
        yield
    finally:
        keras_nn._compute_moments_sync = kept


@contextlib.contextmanager
def losses_through(
    function: Callable[[Callable[..., tf.Tensor], Callable[..., Any]], Callable[..., tf.Tensor]],
) -> Iterator[None]:
    """Has losses be reduced to a number by what a function returns that is called with how Keras reduces and weighs.

    In public, only what a loss returns can be reduced, and not that of a model that is compiled with it.
    """
    kept = keras_loss.reduce_weighted_values
    keras_loss.reduce_weighted_values = function(kept, keras_loss.apply_mask)
    try:
        yield
    finally:
        keras_loss.reduce_weighted_values = kept


class _Summing:
    """The operations of Keras, of which sums over the rows of a batch are handed on."""

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._function = function

    def __getattr__(self, name: str) -> Any:
        return getattr(keras.ops, name)

    def sum(self, x: tf.Tensor, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> tf.Tensor:
        found, rank = keras.ops.sum(x, axis=axis, keepdims=keepdims), len(x.shape)
        axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        # Only sums over the rows, which are dimension 0: others are of one row.
        return self._function(found) if 0 in [each % rank for each in axes] else found


@contextlib.contextmanager
def rows_of_losses_through(added: Callable[[tf.Tensor], tf.Tensor], compared: Callable[[], object]) -> Iterator[None]:
    """Has functions be told of what Keras' losses do across the rows of a batch, as Dice, Tversky and Circle do.

    In public, only what they return can be changed.

    Args:
        added: Called with a sum over rows; returns what to take instead.
        compared: Called before all rows are compared with one another.
    """
    operations, masks = keras_losses.ops, keras_losses.build_pos_neg_masks

    def of_pairs(labels: tf.Tensor, others: tf.Tensor, *args: object, **kwargs: object) -> object:
        # Rows with themselves; with references, which all workers have, each row is by itself.
        if others is labels:
            compared()
        return masks(labels, others, *args, **kwargs)

    keras_losses.ops, keras_losses.build_pos_neg_masks = _Summing(added), of_pairs
    try:
        yield
    finally:
        keras_losses.ops, keras_losses.build_pos_neg_masks = operations, masks


@contextlib.contextmanager
def gradients_through(function: Callable[[keras.optimizers.Optimizer, list], list]) -> Iterator[None]:
    """Has optimizers apply what a function returns that is called with them and the gradients; the outermost does so.

    Public is only to override the method in a class of one's own.
    """
    kinds = (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer)
    kept, within = [kind.apply for kind in kinds], list[object]()

    def through(apply: Callable[..., None]) -> Callable[..., None]:
        def applied(
            self: keras.optimizers.Optimizer, grads: Sequence[object], trainable_variables: object = None
        ) -> None:
            # A LossScaleOptimizer applies by its inner optimizer, whose gradients are added up already.
            given = list(grads) if within else function(self, list(grads))
            within.append(self)
            try:
                apply(self, given, trainable_variables)
            finally:
                within.pop()

        return applied

    for kind, apply in zip(kinds, kept, strict=True):
        kind.apply = through(apply)
    try:
        yield
    finally:
        for kind, apply in zip(kinds, kept, strict=True):
            kind.apply = apply


@contextlib.contextmanager
def op_seeds_from(seed: int) -> Iterator[None]:
    """Lets the seeds begin anew that TensorFlow draws, under one of the process, for what is given none.

    They are taken back to where they were when it ends. In public, setting the seed of the process begins them anew.
    """
    eager = context.context()
    kept, eager._rng = eager._rng, random.Random(seed)
    try:
        yield
    finally:
        eager._rng = kept
