"""The order of rows that a program without a seed has shuffled before it made a dataset of them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Evaluation, Every, Loop
from loop.data.lists import MOST, as_noted, noted
from loop.state import randomness


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    held = random.getstate()
    random.seed()
    yield
    random.setstate(held)


def test_the_order_of_an_evaluation_is_put_back_too(tmp_path: Path) -> None:
    assert not randomness.is_seeded()

    def start(directory: Path, order: list[int]) -> Loop:
        rows = tf.Variable(np.zeros(0, np.int64), shape=[None], trainable=False)
        data = tf.data.Dataset.from_tensor_slices(np.array(order))

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            rows.assign(tf.concat([rows, batch], axis=0))
            return {"x": tf.constant(0)}

        def measured(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"sum": tf.reduce_sum(batch)}

        hooks = [Checkpoint(directory, Every(epochs=1), background=False)]
        evaluation = Evaluation(measured, data.skip(4).batch(2))
        return Loop(step, data.take(4).batch(2), state={"rows": rows}, evaluate=evaluation, hooks=hooks)

    start(tmp_path, [5, 2, 4, 0, 1, 3]).run(epochs=1)
    loop = start(tmp_path, [3, 1, 0, 4, 2, 5])
    result = loop.run(epochs=2)
    assert result.logs["val_sum"] == 4
    loop = start(tmp_path, [3, 1, 0, 4, 2, 6])
    with pytest.raises(ValueError, match=r"data of evaluation 'val': .* TensorSlice"):
        loop.run(epochs=3)


def test_rows_of_which_columns_run_into_one_another_are_told_apart() -> None:
    def dataset(rows: list[tuple[str, str]]) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*rows, strict=True))))

    rows = [("a1", "1"), ("a", "11"), ("b", "2")]
    before, now = dataset(rows), dataset(rows[::-1])
    (again,) = as_noted(now, noted(before)).values()
    assert [tuple(x.decode() for x in row) for row in again.as_numpy_iterator()] == rows


@pytest.mark.parametrize(
    ("make", "is_said"),
    [
        (lambda i: f"data/{i}.png", True),
        (lambda i: f"{i}.png", True),
        (lambda i: i, True),
        (lambda i: i % 10, False),
        (lambda i: f"It was {i}", False),
        (lambda i: i / 2, False),
    ],
)
def test_more_rows_than_are_noted_are_said_to_be_shuffled(
    make: Callable[[int], object], is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [make(i) for i in range(MOST + 1)]
    assert not noted(tf.data.Dataset.from_tensor_slices(rows))
    assert not noted(tf.data.Dataset.from_tensor_slices(rows[::-1]))
    assert not caplog.records
    random.Random(1).shuffle(rows)
    assert not noted(tf.data.Dataset.from_tensor_slices(rows))
    assert ["keras.utils.set_random_seed(1)" in record.getMessage() for record in caplog.records] == [True] * is_said
