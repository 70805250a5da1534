"""A shuffle of one order, split into data for training and for an evaluation: no example is in both."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import Evaluation, Every, Loop

Dataset = tf.data.Dataset
COUNT, HELD_OUT, EPOCHS = 40, 8, 3


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    disable_op_determinism()  # which demands a seed
    tf.random.set_seed(None)
    held = random.getstate()
    random.seed()
    yield
    random.setstate(held)
    tf.config.experimental.enable_op_determinism()


def numbers() -> tuple[Dataset, Dataset]:
    rows = Dataset.range(COUNT).shuffle(COUNT, reshuffle_each_iteration=False)
    return rows.skip(HELD_OUT).shuffle(COUNT), rows.take(HELD_OUT)


def files() -> tuple[Dataset, Dataset]:
    """As TensorFlow's tutorial of pictures does it; the names are in another order each time."""
    names = [f"{i}.png" for i in range(COUNT)]
    random.shuffle(names)
    listed = Dataset.from_tensor_slices(names).shuffle(COUNT, reshuffle_each_iteration=False)

    def number(name: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_number(tf.strings.split(name, ".")[0], tf.int64)

    train, held_out = listed.skip(HELD_OUT), listed.take(HELD_OUT)
    return train.map(number).cache().shuffle(COUNT), held_out.map(number).cache()


def mapped() -> tuple[Dataset, Dataset]:
    """Stages before and behind it, other ones in each of the two."""
    rows = Dataset.range(2 * COUNT).filter(lambda x: x % 2 == 0).map(lambda x: x // 2)
    rows = rows.shuffle(COUNT, reshuffle_each_iteration=False).map(lambda x: x)
    other = Dataset.range(COUNT).shuffle(COUNT)
    train = Dataset.zip((other, rows.skip(HELD_OUT))).map(lambda _, x: x + tf.cast(tf.random.uniform([]), tf.int64))
    return train, rows.take(HELD_OUT).repeat(1)


SPLITS: dict[str, Callable[[], tuple[Dataset, Dataset]]] = {"numbers": numbers, "files": files, "mapped": mapped}


class Life:
    """A run that keeps what it has trained on and evaluated."""

    def __init__(self, directory: Path, name: str) -> None:
        train, held_out = SPLITS[name]()
        self.seen = tf.Variable(np.zeros(0, np.int64), shape=[None], trainable=False)
        hooks = [Checkpoint(directory, Every(steps=1), keep=99, background=False)]
        evaluation = Evaluation(self.measured, held_out.batch(HELD_OUT))
        self.loop = Loop(self.step, train.batch(8), state={"seen": self.seen}, evaluate=evaluation, hooks=hooks)

    def step(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        self.seen.assign(tf.concat([self.seen, rows], axis=0))
        return {"x": tf.constant(0)}

    def measured(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {str(i): rows[i] for i in range(HELD_OUT)}

    def run(self, **until: int) -> tuple[list[int], list[int]]:
        logs = self.loop.run(**until).logs
        return self.seen.numpy().tolist(), [int(logs[f"val_{i}"]) for i in range(HELD_OUT) if f"val_{i}" in logs]


@pytest.mark.more
@pytest.mark.parametrize("name", SPLITS)
def test_no_example_of_an_evaluation_is_trained_on_and_all_go_on_so(name: str, tmp_path: Path) -> None:
    seen, held_out = Life(tmp_path / "whole", name).run(epochs=EPOCHS)
    assert sorted([*seen, *EPOCHS * held_out]) == sorted(EPOCHS * [*range(COUNT)])
    for step in (2, 4, 7):
        cut = tmp_path / f"cut-{step}"
        cut.mkdir()
        for file in (tmp_path / "whole").glob(f"ckpt-{step}.*"):
            (cut / file.name).hardlink_to(file)
        assert Life(cut, name).run(epochs=EPOCHS) == (seen, held_out)


@pytest.mark.more
def test_each_run_has_another_order(tmp_path: Path) -> None:
    runs = [Life(tmp_path / f"{i}", "numbers").run(epochs=1)[1] for i in range(3)]
    assert len({*map(tuple, runs)}) == 3
