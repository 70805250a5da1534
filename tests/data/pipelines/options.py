"""Options, promises, and what else a pipeline may use."""

from pathlib import Path

import tensorflow as tf

from pipelines.cases import BATCH, CLOCK, RESOURCE, ROWS, Source, pipeline, rows, tripled


@pipeline("the time of day", CLOCK)
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.timestamp()).batch(BATCH)


@pipeline("the time of day after shuffle", CLOCK)
def _(files: Path) -> Source:
    return rows().shuffle(ROWS, seed=1).map(lambda x: tf.timestamp()).batch(BATCH)


@pipeline("the time of day in a dataset from outside", r"read the clock.*Measure time in a hook")
def _(files: Path) -> Source:
    timed = rows(4).map(lambda x: tf.timestamp())
    return rows(4).interleave(lambda i: timed, cycle_length=2).batch(BATCH)


@pipeline("numbers that are checked")
def _(files: Path) -> Source:
    return rows().map(lambda x: tf.debugging.check_numerics(tf.cast(x, tf.float32), "wrong")).batch(BATCH)


@pipeline("numbers that are checked on a condition, and files that are written")
def _(files: Path) -> Source:
    def written(x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file(str(files / "latest"), tf.strings.as_string(x))
        number = tf.cast(x, tf.float32)
        return tf.cond(x > 2, lambda: tf.debugging.check_numerics(number, "wrong"), lambda: number)

    return rows().shuffle(ROWS).map(written).batch(BATCH)


@pipeline("an iterator of another dataset", RESOURCE)
def _(files: Path) -> Source:
    others = iter(rows(99))
    return rows().map(lambda x: x + next(others)).batch(BATCH)


@pipeline("options that save another kind of state")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_symbolic_checkpoint = True
    return rows().shuffle(ROWS, seed=1).map(lambda x: 2 * x).batch(BATCH).with_options(options)


@pipeline("options that leave the state of Python aside")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return rows().map(lambda x: tf.numpy_function(tripled, [x], tf.int64)).batch(BATCH).with_options(options)


@pipeline("options without optimizations")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return rows().shuffle(ROWS, seed=1).map(lambda x: 2 * x).batch(BATCH).with_options(options)


@pipeline("a length that is promised after a filter")
def _(files: Path) -> Source:
    kept = rows(20).shuffle(20, seed=1).filter(lambda x: x % 5 != 0).batch(BATCH)
    return kept.apply(tf.data.experimental.assert_cardinality(4))


@pipeline("slack")
def _(files: Path) -> Source:
    options = tf.data.Options()
    options.experimental_slack = True
    return rows().map(lambda x: x + 1).batch(BATCH).prefetch(2).with_options(options)
