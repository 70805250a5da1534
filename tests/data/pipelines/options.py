"""Options, promises, and what else a pipeline may use."""

import functools
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from pipelines.cases import AUTOTUNE, BATCH, CLOCK, RESOURCE, ROWS, Source, pipeline, rows, tripled


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


def option(name: str, value: object, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset with one option set, of a name such as "autotune.enabled"."""
    options = tf.data.Options()
    *above, last = name.split(".")
    setattr(functools.reduce(getattr, above, options), last, value)
    return dataset.with_options(options)


# All that TensorFlow has, each with what is not its default.
OPTIONS: dict[str, object] = {
    "autotune.enabled": False,
    "autotune.cpu_budget": 2,
    "autotune.ram_budget": 2**28,
    "autotune.autotune_algorithm": tf.data.experimental.AutotuneAlgorithm.GRADIENT_DESCENT,
    "autotune.initial_parallelism": 1,
    "autotune.min_parallelism": 2,
    "dataset_name": "rows",
    "deterministic": False,
    "experimental_deterministic": False,
    "experimental_distribute.auto_shard_policy": tf.data.experimental.AutoShardPolicy.DATA,
    "experimental_distribute.num_devices": 2,
    "experimental_external_state_policy": tf.data.experimental.ExternalStatePolicy.FAIL,
    "experimental_optimization.apply_default_optimizations": False,
    **dict.fromkeys(
        (
            f"experimental_optimization.{name}"
            for name in (
                *("filter_fusion", "filter_parallelization", "map_and_filter_fusion", "map_fusion", "parallel_batch"),
                *("map_parallelization", "shuffle_and_repeat_fusion", "seq_interleave_prefetch"),
            )
        ),
        True,
    ),
    **dict.fromkeys(
        (f"experimental_optimization.{name}" for name in ("inject_prefetch", "map_and_batch_fusion")), False
    ),
    "experimental_optimization.noop_elimination": True,
    "experimental_service.pinned": True,
    "experimental_slack": True,
    "experimental_symbolic_checkpoint": True,
    "experimental_threading.private_threadpool_size": 2,
    "experimental_warm_start": True,
    "framework_type": ["keras"],
    "threading.max_intra_op_parallelism": 1,
    "threading.private_threadpool_size": 2,
}


def stages_of_all_kinds(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns what the options of a dataset may say something about."""
    added = dataset.map(lambda x: x + 1, num_parallel_calls=AUTOTUNE).map(lambda x: x * 2)
    kept = added.filter(lambda x: x > 0).filter(lambda x: x < 99)
    pairs = kept.interleave(lambda x: rows(2).map(lambda y: x + y), cycle_length=2, num_parallel_calls=AUTOTUNE)
    return pairs.batch(BATCH).prefetch(AUTOTUNE)


def optioned(names: Sequence[str], dataset: tf.data.Dataset) -> tf.data.Dataset:
    for name in names:
        dataset = option(name, OPTIONS[name], dataset)
    return dataset


# The others say how fast, and where.
THAT_MAKE_OTHER_STAGES = ("optimization", "symbolic", "warm_start", "slack", "deterministic", "policy")


def with_options(title: str, *names: str) -> None:
    @pipeline(f"options: {title}")
    def _(files: Path) -> Source:
        return stages_of_all_kinds(optioned(names, rows(8)))


for name in OPTIONS:
    if any(each in name for each in THAT_MAKE_OTHER_STAGES):
        with_options(name, name)
with_options("all", *OPTIONS)


@pipeline("options: all, below what is shuffled and repeated")
def _(files: Path) -> Source:
    return stages_of_all_kinds(optioned([*OPTIONS], rows(4)).shuffle(ROWS).repeat(2))
