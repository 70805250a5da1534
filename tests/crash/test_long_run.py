"""A run of thousands of epochs with all hooks, in which nothing may pile up."""

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import rich.console
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping, Preemption, Progress, TensorBoard
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST = 5_000_000  # bytes


class Sizes(Hook):
    """Notes what the process holds: bytes in memory, descriptors, threads; the least of ten epochs in a row.

    A save that is under way has a buffer of 8 MB.
    """

    def __init__(self, apart: int) -> None:
        super().__init__()
        self.every, self._apart = Every(epochs=1), apart
        self.found: list[tuple[int, int, int]] = []

    def least(self) -> list[tuple[int, ...]]:
        return [tuple(map(min, zip(*self.found[i : i + 10], strict=True))) for i in range(0, len(self.found), 10)]

    def on_step_end(self, moment: Moment) -> None:
        if moment.epoch % self._apart < self._apart - 10:
            return
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        self.found.append((resident, len(os.listdir("/proc/self/fd")), threading.active_count()))


@pytest.mark.crash
def test_five_thousand_epochs_with_all_hooks_hold_no_more_than_five_hundred(tmp_path: Path) -> None:
    weight, sizes = tf.Variable([0.0]), Sizes(apart=500)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_sum(weight.assign_add(tf.reduce_mean(x, axis=0)))}

    x = np.ones([4, 1], np.float32)
    evaluation = Evaluation(lambda x: {"loss": weight[0] * x[0, 0]}, ArrayData(x, batch_size=2))
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 (until the test is over)
    hooks = [
        sizes,
        EarlyStopping("val_loss", mode="max", patience=10_000),
        Checkpoint(tmp_path / "checkpoints", best="val_loss", mode="max"),
        TensorBoard(tmp_path / "tensorboard"),
        Progress(console=rich.console.Console(file=nowhere)),
        Preemption(),
    ]
    loop = Loop(step, ArrayData(x, batch_size=2, seed=1), state={"w": weight}, evaluate=evaluation, hooks=hooks)
    loop.run(epochs=5000)
    nowhere.close()
    resident, descriptors, threads = zip(*sizes.least(), strict=True)
    assert resident[-1] - resident[0] < MOST, resident
    assert max(descriptors) - min(descriptors) <= 3, descriptors  # a save that is under way has some
    assert max(threads) - min(threads) <= 1, threads
