"""What a run leaves behind in memory with each epoch, to the byte."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from heap import in_use

from hooks import Checkpoint, EarlyStopping, TensorBoard, WeightAverage
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

EPOCHS = 150


class Sizes(Hook):
    """Notes what is in use."""

    every = Every(epochs=EPOCHS)
    reports = ("probe",)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[int] = []

    def on_epoch_end(self, moment: Moment) -> None:
        moment.report(probe=1.0 / moment.step)

    def on_step_end(self, moment: Moment) -> None:
        self.found.append(in_use())


@pytest.mark.long
def test_numbers_that_are_written_in_each_epoch_are_not_kept(tmp_path: Path) -> None:
    weight, sizes = tf.Variable([0.0]), Sizes()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_sum(weight.assign_add(tf.reduce_mean(x, axis=0)))}

    x = np.ones([2, 1], np.float32)
    hooks = [
        sizes,
        EarlyStopping("val_loss", mode="max", patience=10_000, restore_best=None),
        WeightAverage(decay=0.9, every=Every(epochs=1)),
        TensorBoard(tmp_path / "tensorboard"),
        Checkpoint(tmp_path / "checkpoints", best="val_loss", mode="max", background=False),
    ]
    evaluation = Evaluation(lambda x: {"loss": weight[0] * x[0, 0]}, ArrayData(x, batch_size=2))
    loop = Loop(step, ArrayData(x, batch_size=2, seed=1), state={"w": weight}, evaluate=evaluation, hooks=hooks)
    loop.run(epochs=4 * EPOCHS)
    # A number of Python that TensorFlow is given stays for good: 700 bytes for each variable that is written.
    assert sizes.found[-1] - sizes.found[-3] < 2 * EPOCHS * 500, sizes.found
