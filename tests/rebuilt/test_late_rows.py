"""Where rows of arrays are shuffled, their numbers are: batches stay what they are, and iterators are small."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from loop.data.pipelines.iterators import begun, state_of
from loop.rebuilt import late_rows
from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import restore_iterator

Dataset = tf.data.Dataset
ROWS = 20
X, Y = np.arange(ROWS * 32, dtype=np.float32).reshape([ROWS, 4, 8]), np.arange(ROWS)


class Pair(NamedTuple):
    x: tf.Tensor
    y: tf.Tensor


def pairs() -> Dataset:
    return Dataset.from_tensor_slices((X, Y))


def alone() -> Dataset:
    return Dataset.from_tensor_slices(X)


def any_order() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = False
    return options


def uses_two(rows: Dataset) -> Dataset:
    return Dataset.zip((rows.batch(4), rows.map(lambda x, y: y)))


LATE: dict[str, Callable[[], Dataset]] = {
    "batch": lambda: pairs().shuffle(ROWS, seed=1).batch(3),
    "whole batches of arrays alone": lambda: alone().shuffle(9, seed=1).batch(3, drop_remainder=True),
    "batch in parallel": lambda: pairs().shuffle(ROWS, seed=1).batch(3, num_parallel_calls=2, deterministic=False),
    "repeat": lambda: pairs().shuffle(ROWS, seed=1).repeat(2).batch(3),
    "repeat, then shuffle": lambda: pairs().repeat(2).shuffle(ROWS, seed=1).batch(3),
    "shuffle and repeat": lambda: pairs().apply(tf.data.experimental.shuffle_and_repeat(7, 2, seed=1)).batch(3),
    "cache": lambda: pairs().cache().repeat(2).cache().shuffle(9, seed=1).batch(3),
    "cached orders": lambda: pairs().shuffle(9, seed=1).cache().batch(3),
    "one order": lambda: pairs().shuffle(ROWS, seed=1, reshuffle_each_iteration=False).take(9).batch(3),
    "two": lambda: pairs().shuffle(ROWS, seed=1).shuffle(3, seed=2).batch(3),
    "two, repeated in between": lambda: pairs().shuffle(9, seed=1).repeat(2).shuffle(50, seed=2).map(lambda x, y: y),
    "repeat, then map": lambda: pairs().shuffle(ROWS, seed=1).repeat(2).map(lambda x, y: x + 1),
    "no end": lambda: pairs().repeat().shuffle(9, seed=1).map(lambda x, y: y).take(50),
    "repeat without end": lambda: pairs().shuffle(9, seed=1).repeat().map(lambda x, y: y).take(50),
    "shuffle and repeat, alone": lambda: alone().apply(tf.data.experimental.shuffle_and_repeat(7, 2, seed=1)),
    "alone": lambda: alone().shuffle(ROWS, seed=1),
    "take, skip, shard": lambda: pairs().take(18).shuffle(ROWS, seed=1).skip(2).shard(2, 1).prefetch(2).batch(3),
    "options": lambda: pairs().with_options(any_order()).shuffle(ROWS, seed=1).batch(3).prefetch(1),
    "a dict": lambda: Dataset.from_tensor_slices({"a": (X, Y), "b": Y}).shuffle(9, seed=1).batch(3),
    "a named tuple": lambda: Dataset.from_tensor_slices(Pair(X, Y)).shuffle(9, seed=1).map(lambda p: p.x[0]).batch(3),
    "a tuple of one": lambda: Dataset.from_tensor_slices((X,)).shuffle(9, seed=1).map(lambda x: (x + 1,)).batch(3),
    "map": lambda: pairs().shuffle(ROWS, seed=1).map(lambda x, y: (x * 2, y)).batch(3),
    "map in parallel": lambda: alone().shuffle(ROWS, seed=1).map(lambda x: x * 2, tf.data.AUTOTUNE).batch(3),
    "map of Python": lambda: alone().shuffle(9, seed=1).map(lambda x: tf.numpy_function(np.sin, [x], tf.float32)),
    "filter": lambda: pairs().shuffle(ROWS, seed=1).filter(lambda x, y: y > 3).batch(3),
    "no more": lambda: pairs().batch(4).unbatch().batch(2).unbatch().concatenate(pairs().shuffle(9, seed=1)),
    "whole numbers": lambda: Dataset.range(3, 90, 4, output_type=tf.int32).shuffle(99, seed=1).batch(3),
    "bytes": lambda: Dataset.range(250, 270, 3, output_type=tf.uint8).shuffle(99, seed=1).batch(3),
    "beyond 24 bits": lambda: Dataset.range(2**24 - 5, 2**24 + 5, output_type=tf.float32).shuffle(99, seed=1).batch(3),
    "in step": lambda: Dataset.zip((alone(), {"y": Dataset.from_tensor_slices(Y[:15])})).shuffle(9, seed=1).batch(3),
    "two uses": lambda: uses_two(pairs().shuffle(ROWS, seed=1)),
    "texts": lambda: Dataset.from_tensor_slices([f"file {i}" for i in Y]).shuffle(9, seed=1).map(tf.strings.length),
    "a small buffer": lambda: pairs().repeat(2).shuffle(2, seed=1).batch(3),
    "all fit": lambda: pairs().shuffle(99, seed=1).batch(3),
    "half precision": lambda: Dataset.from_tensor_slices(X.astype(np.float16)).shuffle(9, seed=1).batch(3),
}
EARLY: dict[str, Callable[[], Dataset]] = {
    "too many numbers": lambda: Dataset.range(10**12).shuffle(9, seed=1).take(20),
    "in step with others": lambda: Dataset.zip((alone(), Dataset.from_generator(lambda: range(9), tf.int64))).shuffle(
        9, 1
    ),
    "not shuffled": lambda: pairs().batch(3).map(lambda x, y: (x + tf.random.uniform([], seed=1), y)),
    "ragged rows": lambda: Dataset.from_tensor_slices(tf.ragged.range(Y * 9)).shuffle(9, seed=1).ragged_batch(3),
}


PASSES = {"not shuffled": 0, "repeat without end": 1}  # that are as they were written


def read(dataset: Dataset) -> list[list[np.ndarray]]:
    return [[*map(np.asarray, tf.nest.flatten(element, expand_composites=True))] for element in dataset]


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_rows, "LEAST", 0)


@pytest.mark.parametrize(("name", "late"), [*((name, True) for name in LATE), *((name, False) for name in EARLY)])
def test_the_order_and_the_structure_are_those_that_were_written(name: str, late: bool) -> None:
    dataset = (LATE if late else EARLY)[name]()
    made = ByPass(dataset)
    assert made.reads_late is late
    assert any("rows of arrays" in change for change in (made.trace(), made.changes)[1]) is late
    for number in range(PASSES.get(name, 3)):
        again = made.of(7, number)
        assert again.element_spec == dataset.element_spec
        repeated = "repeat" in name and "then shuffle" not in name
        assert int(again.cardinality()) == (tf.data.UNKNOWN_CARDINALITY if repeated else int(dataset.cardinality()))
        found, written = read(again), read(dataset)
        assert len(found) == len(written)
        for batch, as_written in zip(found, written, strict=True):
            for one, other in zip(batch, as_written, strict=True):
                np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("then", [lambda rows: rows.batch(8), lambda rows: rows.map(tf.image.flip_left_right).batch(8)])
def test_a_checkpoint_holds_numbers_in_the_place_of_rows(then: Callable[[Dataset], Dataset], tmp_path: Path) -> None:
    images = np.random.default_rng(1).random([256, 32, 32, 1], np.float32)
    source, sizes = then(Dataset.from_tensor_slices(images).shuffle(256, seed=1)), []
    for dataset in (ByPass(source).of(7, 0), source):
        iterator = begun(dataset)
        next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / str(len(sizes))))
        sizes.append(Path(f"{path}.data-00000-of-00001").stat().st_size)
    assert sizes[0] * 5 < sizes[1]


@pytest.mark.parametrize(("then", "now"), [(90, 100), (100, 90)])
@pytest.mark.parametrize("make", [Dataset.range, lambda count: Dataset.from_tensor_slices(np.arange(count))])
def test_the_iterator_is_that_of_the_rows_that_are_read(make: Callable[[int], Dataset], then: int, now: int) -> None:
    sources = {count: make(count) for count in (then, now)}
    of = {count: rows.shuffle(12, seed=1).batch(4) for count, rows in sources.items()}  # 90 / 8 < 12 < 100 / 8
    saved = begun(ByPass(of[then]).of(7, 0))
    next(saved)
    restored = begun(ByPass(of[now], {sources[now]: sources[then]}).of(7, 0))
    restore_iterator(restored, state_of(saved))
    np.testing.assert_array_equal(np.concatenate([*saved]), np.concatenate([*restored]))


def test_few_rows_are_shuffled_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not ByPass(pairs().shuffle(ROWS, seed=1).batch(3)).reads_late
    assert ByPass(Dataset.range(20_000).shuffle(20_000, seed=1).batch(3)).reads_late
    assert ByPass(Dataset.from_tensor_slices(tf.zeros([5, 2**20])).shuffle(5, seed=1).batch(3)).reads_late
