"""Fewer batches than there are: `limit_batches` and `overfit`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, IndexedData, Loop, StreamData

Make = Callable[[], object]


def make(data: object, directory: Path | None = None, **given: object) -> tuple[Loop, tf.Variable]:
    seen = tf.Variable(tf.zeros([0], tf.int64), shape=[None], name="seen")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        seen.assign(tf.concat([seen, tf.cast(batch, tf.int64)], axis=0))
        return {"x": tf.cast(batch[0], tf.float32)}

    hooks = [Checkpoint(directory, Every(steps=1))] if directory else []
    evaluation = Evaluation(lambda batch: {"x": tf.cast(batch[0], tf.float32)}, tf.data.Dataset.range(9).batch(1))
    return Loop(step, data, state={"seen": seen}, evaluate=evaluation, hooks=hooks, **given), seen


DATA: dict[str, tuple[Make, dict[str, object]]] = {
    "arrays": (lambda: ArrayData(np.arange(12), batch_size=2, seed=1), {}),
    "dataset": (lambda: tf.data.Dataset.range(12).shuffle(12).batch(2), {}),
    "unknown length": (lambda: tf.data.Dataset.range(12).filter(lambda x: x >= 0).shuffle(12).batch(2), {}),
    "replayed": (lambda: StreamData(tf.data.Dataset.range(12).shuffle(12, seed=3).batch(2), resume="replay"), {}),
    "endless": (lambda: tf.data.Dataset.range(12).shuffle(12).repeat().batch(2), {"steps_per_epoch": 5}),
    "items": (lambda: IndexedData(range(12), batch_size=2, seed=1), {}),
}


@pytest.mark.parametrize("name", DATA)
def test_an_epoch_and_an_evaluation_end_early_and_a_resumed_run_is_the_same(name: str, tmp_path: Path) -> None:
    data, more = DATA[name]
    loop, seen = make(data(), tmp_path / "whole", limit_batches=2, **more)
    assert loop.steps_per_epoch == 2
    result = loop.run(epochs=3)
    assert (result.step, result.epoch, result.logs["val_x"]) == (6, 3, 0.5)
    rows = seen.numpy().reshape(3, 4).tolist()
    assert all(len({*epoch}) == 4 for epoch in rows)
    assert len({tuple(epoch) for epoch in rows}) == 3  # the next epochs are others
    for steps in (1, 2, 3, 5):
        make(data(), tmp_path / "cut", limit_batches=2, **more)[0].run(steps=steps)
    loop, seen = make(data(), tmp_path / "cut", limit_batches=2, **more)
    again = loop.run(epochs=3)
    if name in ("arrays", "replayed", "items"):  # the others draw a seed of their own at each first start
        assert seen.numpy().reshape(3, 4).tolist() == rows
        assert again.history == result.history
    assert all(len({*epoch}) == 4 for epoch in seen.numpy().reshape(3, 4).tolist())


@pytest.mark.more
@pytest.mark.parametrize("name", ["arrays", "dataset"])
def test_the_first_batches_are_the_same_in_each_epoch(name: str, tmp_path: Path) -> None:
    make(DATA[name][0](), tmp_path, overfit=2)[0].run(steps=3)
    loop, seen = make(DATA[name][0](), tmp_path, overfit=2)
    result = loop.run(epochs=3)
    first, *others = seen.numpy().reshape(3, 4).tolist()
    assert others == [first, first]
    assert result.logs["val_x"] == 0.5
    assert name != "arrays" or first == [0, 1, 2, 3]


@pytest.mark.more
def test_another_limit_is_refused_on_resuming(tmp_path: Path) -> None:
    make(DATA["arrays"][0](), tmp_path, limit_batches=2)[0].run(epochs=1)
    with pytest.raises(ValueError, match=r"limit_batches 3 is missing|limit_batches.*2.*3"):
        make(DATA["arrays"][0](), tmp_path, limit_batches=3)[0].run(epochs=2)
    with pytest.raises(ValueError, match=r"limit_batches 2 is in the checkpoint only"):
        make(DATA["arrays"][0](), tmp_path)[0].run(epochs=2)


def test_limits_are_positive_and_overfitting_needs_data_that_have_first_batches() -> None:
    for argument in ("limit_batches", "overfit"):
        with pytest.raises(ValueError, match=rf"Loop\({argument}=...\) needs a number of batches.*Received: 0"):
            make(DATA["arrays"][0](), **{argument: 0})
    with pytest.raises(TypeError, match=r"takes the first batches of ArrayData or a tf.data.Dataset.*Indexed"):
        make(DATA["items"][0](), overfit=1)
