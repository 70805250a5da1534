"""The order in which a pass visits what has numbers."""

import tensorflow as tf


def order_of(count: int, seed_and_epoch: tf.Tensor, *, shuffled: bool) -> tf.Tensor:
    """Returns the numbers below `count` as a pass visits them, int32 `[count]`: a function of (seed, epoch) alone.

    Args:
        count: How many there are.
        seed_and_epoch: int64 `[2]`.
        shuffled: Whether they are permuted; else they come as they are.
    """
    numbers = tf.range(count)
    # Not index_shuffle: that one is no bijection for every n and repeats itself every 256 epochs.
    shuffle = tf.random.experimental.stateless_shuffle
    return shuffle(numbers, seed=seed_and_epoch, alg="philox") if shuffled else numbers
