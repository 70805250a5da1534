"""Pipelines that call functions of TensorFlow, and what these may use."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import AUTOTUNE, BATCH, NOT_SAVED, RESOURCE, ROWS, Source, pipeline, rows


@pipeline("map")
def _(files: Path) -> Source:
    return rows().map(lambda x: x * x).batch(BATCH)


@pipeline("map, parallel")
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).map(lambda x: x * x, num_parallel_calls=AUTOTUNE).batch(BATCH).prefetch(2)


@pipeline("map, parallel, in any order")
def _(files: Path) -> Source:
    return rows().map(lambda x: x * x, num_parallel_calls=4, deterministic=False).batch(BATCH)


@pipeline("options that allow any order")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.deterministic = False
    return rows().map(lambda x: x * x, num_parallel_calls=4).batch(BATCH).with_options(options)


@pipeline("options that allow any order, before other stages")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.deterministic = False
    return rows().map(lambda x: x * x, num_parallel_calls=4).with_options(options).batch(BATCH)


@pipeline("parallel batches in any order")
def _(files: Path) -> Source:
    return rows().batch(BATCH, num_parallel_calls=2, deterministic=False)


@pipeline("random numbers of each element")
def _(files: Path) -> Source:
    return rows().enumerate().map(lambda i, x: tf.random.stateless_uniform([2], seed=[x, i])).batch(BATCH)


@pipeline("random numbers of a stream")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.random.uniform([2], seed=1)).batch(BATCH)


@pipeline("random numbers of a generator")
def _(files: Path) -> Source:
    generator = tf.random.Generator.from_seed(1)
    return rows().map(lambda x: generator.uniform([2])).batch(BATCH)


@pipeline("a variable that is read")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().shuffle(ROWS, seed=1).map(lambda x: x * variable).batch(BATCH)


@pipeline("a variable that is read, saved", NOT_SAVED, resume="state")
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().map(lambda x: x * variable).batch(BATCH)


@pipeline("a variable that is counted up", RESOURCE)
def _(files: Path) -> Source:
    variable = tf.Variable(3, dtype=tf.int64)
    return rows().map(lambda x: x * variable.assign_add(1)).batch(BATCH)


@pipeline("a table of constants")
def _(files: Path) -> Source:
    keys = tf.range(ROWS, dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, 2 * keys), -1)
    return rows().map(table.lookup).batch(BATCH)


@pipeline("a table that changes", RESOURCE)
def _(files: Path) -> Source:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)

    def count(x: tf.Tensor) -> tf.Tensor:
        before = table.lookup(x % 3)
        table.insert(x % 3, before + 1)
        return before

    return rows().map(count).batch(BATCH)


@pipeline(
    "a table that could change, and does not", r"in a table that can change.*pipelines/\w+\.py:\d+.*StaticHashTable"
)
def _(files: Path) -> Source:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1)
    table.insert(tf.range(3, dtype=tf.int64), tf.range(3, dtype=tf.int64))
    return rows().map(lambda x: table.lookup(x % 3)).batch(BATCH)


@pipeline("a function with a condition and a loop")
def _(files: Path) -> Source:
    def collatz(x: tf.Tensor) -> tf.Tensor:
        steps = tf.constant(0)
        while x > 1:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
            steps += 1
        return steps

    return rows().map(collatz).batch(BATCH)


@pipeline("random numbers in a loop in a function")
def _(files: Path) -> Source:
    def drawn(x: tf.Tensor) -> tf.Tensor:
        total = 0.0
        for _ in tf.range(3):
            total += tf.random.uniform([])
        return total

    return rows().map(drawn).batch(BATCH)


@pipeline("an assertion in a function")
def _(files: Path) -> Source:
    def checked(x: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less(x, tf.constant(99, tf.int64))
        return x

    return rows().map(checked).batch(BATCH)


@pipeline("one of several branches that check something")
def _(files: Path) -> Source:
    def checked(x: tf.Tensor, factor: int) -> tf.Tensor:
        tf.debugging.assert_less(x, tf.constant(99, tf.int64))
        return x * factor

    def chosen(x: tf.Tensor) -> tf.Tensor:
        return tf.switch_case(tf.cast(x % 4, tf.int32), [lambda n=n: checked(x, n) for n in range(4)])

    return rows().map(chosen).batch(BATCH)


@pipeline("one of several branches, drawn, that draw")
def _(files: Path) -> Source:
    def chosen(x: tf.Tensor) -> tf.Tensor:
        picture = tf.reshape(tf.cast(x, tf.float32) + tf.range(4.0), [2, 2, 1])
        ways = [tf.image.random_flip_left_right, tf.image.random_flip_up_down, lambda x: x + tf.random.normal([])]
        which = tf.random.uniform([], 0, len(ways), tf.int32)
        return tf.switch_case(which, [lambda way=way: way(picture) for way in ways])

    return rows().shuffle(ROWS).map(chosen, num_parallel_calls=2).batch(BATCH)
