"""What takes the place of something of theirs, for as long as a function is traced, say."""

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.losses import loss as keras_loss
from keras.src.losses import losses as keras_losses
from tensorflow.python.eager import context
from tensorflow.python.ops import random_ops_util
from tensorflow.python.ops.control_flow_ops import XLAControlFlowContext

from loop.tf_internals.place import Attribute

ALGORITHM = Attribute(
    random_ops_util, "get_key_counter_alg"
)  # says for every function that draws where numbers come from
SEEDS = Attribute(keras.random.SeedGenerator, "next")
SKIPPED = Attribute(tf.random.Generator, "skip")
MOMENTS = Attribute(keras_nn, "_compute_moments_sync")
OF_MASKED = Attribute(keras.layers.BatchNormalization, "_moments")
REDUCED = Attribute(keras_loss, "reduce_weighted_values")
COMPARED = Attribute(keras_losses, "build_pos_neg_masks")
APPLIED = tuple(Attribute(kind, "apply") for kind in (keras.optimizers.Optimizer, keras.optimizers.LossScaleOptimizer))


@contextlib.contextmanager
def explicit_algorithm() -> Iterator[None]:
    """Has what this thread traces for XLA say how random numbers are made where it leaves that to TensorFlow.

    As all of Keras does; public is only an argument of each call. Left open, XLA makes the key of Philox from the seed
    again for each number: twenty times as slow. Threefry would be faster still, but only XLA has it, and initializers
    of layers that are built late do not run in XLA.
    """

    def said(usual: Callable[..., Any]) -> Callable[..., Any]:
        def get_key_counter_alg(seed: tf.Tensor, alg: Any) -> tuple[tf.Tensor, tf.Tensor, Any]:
            is_open = alg is None or random_ops_util.convert_alg_to_int(alg) == tf.random.Algorithm.AUTO_SELECT.value
            return usual(seed, "philox" if is_open else alg)

        return get_key_counter_alg

    with ALGORITHM.filled(said):
        yield


@contextlib.contextmanager
def within_xla() -> Iterator[None]:
    """Has the gradients of conditions and loops that are traced within be such as XLA can compile.

    So does TensorFlow within a function that has jit_compile=True itself; what is traced before, and called in one, has
    them otherwise. To be entered within the trace.
    """
    within = XLAControlFlowContext()
    within.Enter()
    try:
        yield
    finally:
        within.Exit()


APART = "drawn_apart"  # in the names of the numbers by which each process draws others


@contextlib.contextmanager
def drawing_apart(rank: int) -> Iterator[None]:
    """Has what is traced draw, in each process of a cluster, other numbers out of one state, which stays the same.

    A generator of TensorFlow goes on by as many numbers as were drawn; here by a number that no batch changes. In
    public, only each call that draws can be given another seed.
    """

    def seeds(drawn: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def next_seed(generator: keras.random.SeedGenerator, ordered: bool = True) -> tf.Tensor:
            seed = drawn(generator, ordered)
            # The chief, of rank 0, draws from the state as it is.
            return seed + tf.cast(tf.constant([rank * 0x9E3779B9 % 2**31, 0], name=APART), seed.dtype)

        return next_seed

    def skips(skipped: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def skip(generator: tf.random.Generator, delta: tf.types.experimental.TensorLike) -> tf.Tensor:
            # By 2^32 numbers, whatever was drawn: more than a draw takes, and the same in all workers.
            counter_and_key = skipped(generator, tf.constant(2**32, tf.uint64))
            other = tf.constant((rank * 0x9E3779B97F4A7C15) % 2**63, counter_and_key.dtype, name=APART)
            return tf.concat([counter_and_key[:-1], counter_and_key[-1:] + other], 0)

        return skip

    with SEEDS.filled(seeds), SKIPPED.filled(skips):
        yield


@contextlib.contextmanager
def moments_from(
    function: Callable[..., tuple[tf.Tensor, tf.Tensor]], masked: Callable[..., tuple[tf.Tensor, tf.Tensor]]
) -> Iterator[None]:
    """Has synchronized layers take mean and variance from functions; they ask a strategy, or nobody.

    Args:
        function: Called with a tensor, the axes of the mean, and whether to keep these.
        masked: Called with a tensor, a mask that has one dimension less, and the axes: Keras asks nobody for these.
    """

    def moments(usual: Callable[..., tuple[tf.Tensor, tf.Tensor]]) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        def of_layer(
            self: keras.layers.BatchNormalization, x: tf.Tensor, mask: tf.Tensor | None
        ) -> tuple[tf.Tensor, tf.Tensor]:
            is_own = mask is None or not self.synchronized
            return usual(self, x, mask) if is_own else masked(x, mask, self._reduction_axes)

        return of_layer

    with MOMENTS.filled(lambda usual: function), OF_MASKED.filled(moments):
        yield


@contextlib.contextmanager
def losses_through(
    function: Callable[[Callable[..., tf.Tensor], Callable[..., Any]], Callable[..., tf.Tensor]],
) -> Iterator[None]:
    """Has losses be reduced to a number by what a function returns that is called with how Keras reduces and weighs.

    In public, only what a loss returns can be reduced, and not that of a model that is compiled with it.
    """
    with REDUCED.filled(lambda usual: function(usual, keras_loss.apply_mask)):
        yield


class _Operations:
    """The operations of Keras, with a sum of its own."""

    def __init__(self) -> None:
        self.sum = keras.ops.sum

    def __getattr__(self, name: str) -> Any:
        return getattr(keras.ops, name)


OF_LOSSES = _Operations()
ADDED = Attribute(OF_LOSSES, "sum")


@contextlib.contextmanager
def rows_of_losses_through(added: Callable[[tf.Tensor], tf.Tensor], compared: Callable[[], object]) -> Iterator[None]:
    """Has functions be told of what Keras' losses do across the rows of a batch, as Dice, Tversky and Circle do.

    In public, only what they return can be changed.

    Args:
        added: Called with a sum over rows; returns what to take instead.
        compared: Called before all rows are compared with one another.
    """

    def sums(usual: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        def of_rows(x: tf.Tensor, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> tf.Tensor:
            found, rank = usual(x, axis=axis, keepdims=keepdims), len(x.shape)
            axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
            # Only sums over the rows, which are dimension 0: others are of one row.
            return added(found) if 0 in [each % rank for each in axes] else found

        return of_rows

    def masks(usual: Callable[..., object]) -> Callable[..., object]:
        def of_pairs(labels: tf.Tensor, others: tf.Tensor, *args: object, **kwargs: object) -> object:
            # Rows with themselves; with references, which all workers have, each row is by itself.
            if others is labels:
                compared()
            return usual(labels, others, *args, **kwargs)

        return of_pairs

    keras_losses.ops = OF_LOSSES  # left there: they are those of Keras where no thread has other sums
    with ADDED.filled(sums), COMPARED.filled(masks):
        yield


@contextlib.contextmanager
def gradients_through(function: Callable[[keras.optimizers.Optimizer, list], list]) -> Iterator[None]:
    """Has optimizers apply what a function returns that is called with them and the gradients; the outermost does so.

    Public is only to override the method in a class of one's own.
    """
    within = list[object]()

    def through(usual: Callable[..., None]) -> Callable[..., None]:
        def apply(
            self: keras.optimizers.Optimizer, grads: Sequence[object], trainable_variables: object = None
        ) -> None:
            # A LossScaleOptimizer applies by its inner optimizer, whose gradients are added up already.
            given = list(grads) if within else function(self, list(grads))
            within.append(self)
            try:
                usual(self, given, trainable_variables)
            finally:
                within.pop()

        return apply

    with contextlib.ExitStack() as stack:
        for place in APPLIED:
            stack.enter_context(place.filled(through))
        yield


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


def op_seeds() -> tuple[Any, ...] | None:
    """Returns where the seeds are that functions such as `tf.random.normal` take outside of graphs; None without a seed
    of the process: then nobody could draw the same once more.

    In public, setting the seed of the process begins them anew, and nothing says where they are.
    """
    eager = context.context()
    return None if eager._seed is None else eager._rng.getstate()


def put_op_seeds(state: tuple[Any, ...] | None) -> None:
    """Has them go on from where `op_seeds` has found them."""
    eager = context.context()
    if eager._seed is not None and state is not None and state != eager._rng.getstate():
        eager._rng.setstate(state)
        eager.clear_kernel_cache()  # or what is drawn with a seed once more would go on behind what was drawn with it
