"""Each kind of stage, made anew over what shuffles by a seed, yields in each pass what TensorFlow's own yields."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset
ROWS, PASSES = 12, 3


class Pair(NamedTuple):
    x: tf.Tensor | Dataset
    y: tf.Tensor | Dataset


def rows(seed: int = 1) -> Dataset:
    return Dataset.range(ROWS).shuffle(ROWS, seed=seed)


def pairs() -> Dataset:
    return rows().map(lambda x: {"a": x, "b": (tf.cast(x, tf.float32), tf.strings.as_string(x))})


def lists() -> Dataset:
    return rows().map(lambda x: tf.range(x))


def table() -> tf.lookup.StaticHashTable:
    keys = tf.range(ROWS, dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, keys * 7), -1)


TABLE = table()
STAGES: dict[str, Callable[[], Dataset]] = {
    "batch": lambda: rows().batch(5),
    "batch, whole ones": lambda: rows().batch(5, drop_remainder=True),
    "batch in parallel": lambda: rows().batch(5, num_parallel_calls=2),
    "padded batch": lambda: lists().padded_batch(4, padding_values=tf.constant(-1, tf.int64)),
    "ragged batch": lambda: lists().ragged_batch(4),
    "ragged tensors, batched": lambda: rows().map(lambda x: tf.ragged.range([x, 2])).batch(4),
    "sparse tensors": lambda: rows().map(lambda x: tf.sparse.from_dense([x, 0, 1])).batch(4),
    "sparse batch": lambda: lists().apply(tf.data.experimental.dense_to_sparse_batch(4, [ROWS])),
    "unbatch": lambda: rows().batch(4).unbatch(),
    "rebatch": lambda: rows().batch(4).rebatch(3),
    "structures": lambda: pairs().batch(4),
    "map": lambda: rows().map(lambda x: x * 2),
    "map in parallel": lambda: rows().map(lambda x: x * 2, num_parallel_calls=tf.data.AUTOTUNE),
    "map in any order": lambda: rows().map(lambda x: x * 2, num_parallel_calls=1, deterministic=False),
    "map that looks up": lambda: rows().map(TABLE.lookup),
    "map over structures": lambda: pairs().map(lambda e: (e["a"] + 1, e["b"][1])),
    "map over named tuples": lambda: Dataset.zip(Pair(rows(1), rows(2))).map(lambda p: Pair(p.x + p.y, p.x)),
    "map with a condition and a loop": lambda: rows().map(
        lambda x: tf.cond(x > 5, lambda: tf.while_loop(lambda i: i < 20, lambda i: [i + x], [x])[0], lambda: -x)
    ),
    "map with a py_function": lambda: rows().map(lambda x: tf.py_function(lambda v: v + 1, [x], tf.int64)),
    "map with a numpy_function": lambda: rows().map(lambda x: tf.numpy_function(np.square, [x], tf.int64)),
    "filter": lambda: rows().filter(lambda x: x % 3 > 0),
    "take while": lambda: rows().take_while(lambda x: x != 4),
    "flat_map": lambda: rows().flat_map(lambda x: Dataset.range(x)),
    "flat_map that shuffles": lambda: rows().flat_map(lambda x: Dataset.range(x).shuffle(4, seed=2)),
    "interleave": lambda: rows().interleave(lambda x: Dataset.range(x), cycle_length=3, block_length=2),
    "interleave in parallel": lambda: rows().interleave(
        lambda x: Dataset.range(x), cycle_length=3, num_parallel_calls=2, deterministic=False
    ),
    "interleave of what shuffles": lambda: rows().interleave(
        lambda x: Dataset.range(x).shuffle(4, seed=2), cycle_length=2, num_parallel_calls=2
    ),
    "window": lambda: rows().window(4, shift=2, drop_remainder=True).flat_map(lambda w: w.batch(4)),
    "windows of structures": lambda: pairs().window(4).flat_map(lambda w: w["b"][0].batch(4)),
    "groups": lambda: rows().group_by_window(lambda x: x % 2, lambda _, w: w.batch(3), window_size=3),
    "groups that shuffle": lambda: rows().group_by_window(
        lambda x: x % 2, lambda _, w: w.shuffle(3, seed=4).batch(3), window_size=3
    ),
    "buckets": lambda: lists().bucket_by_sequence_length(tf.size, [4, 8], [2, 2, 2]),
    "scan": lambda: rows().scan(tf.constant(0, tf.int64), lambda s, x: (s + x, s)),
    "enumerate": lambda: rows().enumerate(),
    "zip": lambda: Dataset.zip((rows(1), {"b": rows(2)})),
    "concatenate": lambda: rows(1).concatenate(rows(2)),
    "map and batch at once": lambda: rows().apply(
        tf.data.experimental.map_and_batch(lambda x: 2 * x, 2, num_parallel_calls=2)
    ),
    "groups that are reduced": lambda: rows().apply(
        tf.data.experimental.group_by_reducer(
            lambda x: x % 2,
            tf.data.experimental.Reducer(lambda key: key, lambda state, x: 3 * state + x, lambda state: state + 1),
        )
    ),
    "choose": lambda: Dataset.choose_from_datasets([rows(1), rows(2)], Dataset.range(2).repeat(4)),
    "sample": lambda: Dataset.sample_from_datasets([rows(1), rows(2)], [0.3, 0.7], seed=3, stop_on_empty_dataset=True),
    "sample by weights that change": lambda: Dataset.sample_from_datasets(
        [rows(1), rows(2)], Dataset.from_tensors([0.3, 0.7]).repeat(), seed=3, stop_on_empty_dataset=True
    ),
    "random": lambda: Dataset.random(seed=5, rerandomize_each_iteration=True).take(6),
    "repeat": lambda: rows().repeat(2),
    "shuffle twice": lambda: rows().batch(2).shuffle(3, seed=4),
    "take and skip": lambda: rows().skip(2).take(7),
    "shard": lambda: rows().shard(3, 1),
    "prefetch": lambda: rows().prefetch(2),
    "unique": lambda: rows().map(lambda x: x // 2).unique(),
    "options": lambda: rows().with_options(_any_order()),
    "cardinality": lambda: rows().apply(tf.data.experimental.assert_cardinality(ROWS)),
    "ignored errors": lambda: rows().map(lambda x: tf.debugging.check_numerics(1 / (x - 3), "")).ignore_errors(),
    "the same one twice": lambda: _twice(rows()),
    "one from outside": lambda: rows().flat_map(lambda x, d=Dataset.range(3): d.map(lambda y: y + x)),
}


def _any_order() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = False
    options.threading.private_threadpool_size = 1
    return options


def _twice(dataset: Dataset) -> Dataset:
    return Dataset.zip((dataset.batch(2), dataset.map(lambda x: -x).batch(2)))


def elements(dataset: Dataset, most: int = 100) -> list[object]:
    return [
        [np.asarray(tensor).tolist() for tensor in tf.nest.flatten(element, expand_composites=True)]
        for element in dataset.take(most)
    ]


@pytest.mark.filterwarnings("ignore:.*(deterministic|shuffle_and_repeat|ignore_errors)")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_yields_what_tensorflows_own_yields(name: str) -> None:
    once, by_pass = STAGES[name](), ByPass(STAGES[name]())
    expected = [elements(once) for _ in range(PASSES)]
    assert by_pass.changed
    assert [elements(by_pass.of(7, number)) for number in range(PASSES)] == expected
    made = by_pass.of(7, 0)
    assert made.element_spec == once.element_spec
    assert int(made.cardinality()) in (int(once.cardinality()), tf.data.UNKNOWN_CARDINALITY)


@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_a_buffer_larger_than_all_there_is_gives_the_order_of_tensorflows_own(rows: int) -> None:
    for size in (rows, rows + 1, 1_000):
        dataset = Dataset.range(rows).shuffle(size, seed=1)
        wanted = [list(dataset.as_numpy_iterator()) for _ in range(PASSES)]
        by_pass = ByPass(Dataset.range(rows).shuffle(size, seed=1))
        assert [list(by_pass.of(0, number).as_numpy_iterator()) for number in range(PASSES)] == wanted


def test_such_a_buffer_takes_no_room_in_a_checkpoint(tmp_path: Path) -> None:
    sizes = []
    for size in (ROWS, 100_000):
        iterator = iter(ByPass(Dataset.range(ROWS).shuffle(size, seed=1).repeat()).of(0, 0))
        next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / str(size)))
        sizes.append(Path(f"{path}.data-00000-of-00001").stat().st_size)
    assert sizes[1] < 2 * sizes[0]  # of each empty place, TensorFlow saves some hundred bytes


@pytest.mark.more
def test_stages_that_read_files_are_made_anew(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("".join(f"{number},{line}\n" for line in range(4)))
        with tf.io.TFRecordWriter(str(tmp_path / f"{number}.tfrecord")) as writer:
            for line in range(4):
                writer.write(f"{number} {line}".encode())
    texts, records = str(tmp_path / "*.txt"), sorted(map(str, tmp_path.glob("*.tfrecord")))
    names = Dataset.from_tensor_slices(records).shuffle(3, seed=1)
    for make in (
        lambda: Dataset.list_files(texts, seed=1).flat_map(tf.data.TextLineDataset),
        lambda: tf.data.TextLineDataset(Dataset.list_files(texts, seed=1)),
        lambda: tf.data.TFRecordDataset(names, num_parallel_reads=2),
        lambda: tf.data.FixedLengthRecordDataset(Dataset.list_files(texts, seed=1), 4),
        lambda: Dataset.list_files(texts, seed=1).interleave(
            lambda name: tf.data.experimental.CsvDataset(name, [tf.int32, tf.int32]), cycle_length=2
        ),
    ):
        once, by_pass = make(), ByPass(make())
        assert [elements(by_pass.of(7, number)) for number in range(2)] == [elements(once) for _ in range(2)]
