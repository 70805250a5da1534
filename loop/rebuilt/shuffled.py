"""The order in which `shuffle` yields what it reads, all of it at once: a buffer takes a microsecond for each element.

As in tensorflow/core/kernels/data/shuffle_dataset_op.cc, which yields one of those in its buffer, and puts the one that
came first in the place of that.
"""

import tensorflow as tf

ALL_IN_ONE = "all.in.one"  # is in the names of what shuffles vectors of numbers, and not one number after the other


def philox(seed: tf.Tensor, seed2: tf.Tensor, block: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Returns the random numbers that TensorFlow's own stages draw with two seeds, from a block of four on.

    Args:
        seed: The first seed: int64 `[]`.
        seed2: The second one, likewise.
        block: The number of the first block: int64 `[]`.
        count: How many numbers there are to be.

    Returns:
        uint32 `[count]`.
    """
    counter = tf.bitcast(tf.stack([tf.cast(block, tf.int64), seed2]), tf.uint64)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[count], key=tf.bitcast(tf.reshape(seed, [1]), tf.uint64), counter=counter, alg=1, dtype=tf.uint32
    )


def shuffled(count: tf.Tensor, buffer_size: tf.Tensor, seed: tf.Tensor, seed2: tf.Tensor) -> tf.Tensor:
    """Returns the numbers below `count` as `shuffle(buffer_size)` yields them: int64 `[count]`.

    Step i takes what is in place p, one of the `buffer_size` from i on, and puts what is in place i there.

    Args:
        count: How many there are: int64 `[]`.
        buffer_size: int64 `[]`; negative: room for all.
        seed: The first seed of the stage, which is not zero with the second one: int64 `[]`.
        seed2: The second one, likewise.
    """
    step = tf.range(count)
    room = tf.where(buffer_size < 0, count, buffer_size)
    place = step + tf.cast(philox(seed, seed2, 0, count), tf.int64) % tf.minimum(count - step, room)
    # What place i has in step i was put there by the last step before it that took from there, if there is one, and
    # that had it from another one: back to the number that was in the first of these from the beginning.
    nobody = tf.constant(-1, tf.int64)
    last = tf.math.unsorted_segment_max(tf.where(place == step, nobody, step), place, count)
    has = tf.where(last < 0, step, last)
    _, has = tf.while_loop(
        lambda before, now: tf.reduce_any(before != now), lambda _, now: (now, tf.gather(now, now)), (step - 1, has)
    )
    # Each step takes what the last one before it has put into the place that both take from.
    order = tf.cast(tf.argsort(place, stable=True), tf.int64)
    by_place = tf.gather(place, order)
    put = tf.where(by_place[1:] == by_place[:-1], tf.gather(has, order[:-1]), nobody)
    put = tf.concat([nobody[tf.newaxis], put], axis=0)[:count]
    taken = tf.where(put < 0, by_place, put)
    return tf.scatter_nd(order[:, tf.newaxis], taken, [count])
