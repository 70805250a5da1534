"""A run with all hooks at once, on which everything happens: rollbacks, averages, exports, reports, two rates."""

import io
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import rich.console
import tensorflow as tf
from lives import Recorder

from hooks import (
    Checkpoint,
    EarlyStopping,
    Export,
    KerasCallbacks,
    LearningRate,
    NaNGuard,
    Preemption,
    Progress,
    ReduceLROnPlateau,
    TensorBoard,
    TimeBudget,
    WeightAverage,
)
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment

EPOCHS, STEPS = 4, 5
EXPORTS = ("best", "each", "end")


class Probe(Hook):
    """Reports something, and sends an event of its own."""

    reports = ("probe",)
    events = ("probed",)

    def __init__(self, loop: list[Loop]) -> None:
        super().__init__()
        self._loops = lambda: loop
        self.times = tf.Variable(0, dtype=tf.int64)

    def on_epoch_end(self, moment: Moment) -> None:
        self.times.assign_add(1)
        moment.report(probe=abs(3 - int(self.times)))
        self._loops()[0].hooks.emit("probed", times=int(self.times))


class Listens(Recorder):
    """Writes down the own event, too."""

    events = ("probed",)

    def on_probed(self, moment: Moment) -> None:
        self.write("events", "probed", moment.step, dict(moment.logs))

    def on_report(self, moment: Moment) -> None:
        self.write("events", "report", moment.step, dict(moment.logs))


class Counts(keras.callbacks.Callback):
    """Keeps what it has seen in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.seen.append(float((logs or {})["loss"]))


def make_loop(directory: Path, killer: Sequence[Hook]) -> Loop:
    """Returns a loop of four epochs of five steps, the seventh batch of which is not finite."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    fast, slow = keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.SGD(0.1)
    kernel, bias = model.trainable_variables
    fast.build([kernel])
    slow.build([bias])

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - 3.0 * x) ** 2)
        by_kernel, by_bias = tape.gradient(loss, [kernel, bias])
        fast.apply([by_kernel], [kernel])
        slow.apply([by_bias], [bias])
        return {"loss": loss}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.reduce_mean((model(x) - 3.0 * x) ** 2)}

    x = np.linspace(-1.0, 1.0, 2 * STEPS, dtype=np.float32)[:, None]
    broken = np.where(np.arange(2 * STEPS)[:, None] == 5, np.nan, x)
    average = WeightAverage(0.7, start=2, every=Every(steps=2))
    within = {"format": "weights", "within": average.exchanged}
    loops: list[Loop] = []
    board = TensorBoard(directory / "tensorboard", Every(steps=1))
    loop = Loop(
        train_step,
        ArrayData(broken, batch_size=2, seed=3),
        state={"model": model, "fast": fast, "slow": slow},
        evaluate=[
            Evaluation(eval_step, ArrayData(x, batch_size=2, shuffle=False), every=Every(steps=3)),
            Evaluation(eval_step, ArrayData(x, batch_size=2, shuffle=False), name="mean", within=average.exchanged),
        ],
        hooks=[
            Progress(console=rich.console.Console(file=io.StringIO())),
            NaNGuard("rollback", max_rollbacks=9),
            average,
            Probe(loops),
            board,
            LearningRate(lambda step: 0.1 * 0.9**step, warmup=3, optimizer="fast"),
            ReduceLROnPlateau("val_loss", mode="min", patience=1, min_delta=0.5, optimizer="slow"),
            KerasCallbacks([keras.callbacks.CSVLogger(str(directory / "log.csv")), Counts()], optimizer=slow),
            EarlyStopping("mean_loss", mode="min", patience=99, restore_best="weights"),
            Listens(directory),
            TimeBudget(hours=10),
            Preemption(),
            Export(directory / "best", model, "best", monitor="mean_loss", mode="min", keep=2, name="best", **within),
            Checkpoint(directory / "checkpoints", Every(steps=2), keep=2, best="probe", mode="min"),
            Export(directory / "each", model, Every(steps=3), keep=2, name="each", **within),
            Export(directory / "end", model, "end", format="weights", name="end"),
            *killer,
        ],
    )
    loops.append(loop)

    @loop.on("step_end", every=Every(steps=4))
    def draw(moment: Moment) -> None:
        board.text("step", f"step {moment.step}", moment)

    return loop
