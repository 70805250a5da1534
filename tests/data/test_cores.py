"""What `interleave` yields if it is left to TensorFlow depends on the cores: never resumed with others in silence."""

import os
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Every, Loop, StreamData

Dataset = tf.data.Dataset


def run(directory: Path, steps: int, **arguments: object) -> None:
    data = Dataset.range(6).interleave(lambda i: Dataset.from_tensors(i).repeat(3), **arguments)
    count = tf.Variable(0, trainable=False, name="count")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"count": count.assign_add(1)}

    checkpoint = Checkpoint(directory, Every(steps=1), background=False)
    Loop(step, StreamData(data.batch(3)), state={"count": count}, hooks=[checkpoint]).run(steps=steps)


@pytest.mark.parametrize(("arguments", "by_cores"), [({}, True), ({"cycle_length": 2}, False)])
def test_an_order_by_the_number_of_cores_is_refused_with_others(
    arguments: dict[str, object], by_cores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, 1, **arguments)
    cores = len(os.sched_getaffinity(0))
    run(tmp_path, 2, **arguments)
    monkeypatch.setattr("loop.data.epochs.cores", lambda: cores + 1)
    if not by_cores:
        run(tmp_path, 3, **arguments)
        return
    with pytest.raises(ValueError, match=f"there were {cores} cores when the checkpoint was made, and are "):
        run(tmp_path, 3, **arguments)
