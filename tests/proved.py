"""A training script that is proved, and what can be wrong with it.

    PYTHONPATH=. python tests/proved.py [WHAT]

Without WHAT all is well, and with "XLA", which compiles it. With another, something is in no checkpoint: see `WRONG`.
"""

import os
import random
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint, TensorBoard
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment, StreamData

WRONG = ("tf.random", "unsaved variable", "unsaved optimizer", "unsaved seeds", "unsaved metric", "python callback") + (
    "global counter", "attribute", "no seed", "time", "generator", "refused", "fails", "slow evaluation",
)  # fmt: skip
ROWS = 30  # in batches of 8: four steps an epoch, of which the last one has six rows
count = 0


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Returns features, float32 [30, 6], and classes, int64 [30] in 0..1."""
    x = np.random.default_rng(7).normal(size=[ROWS, 6]).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int64)


class Warmer(Hook):
    """Raises the learning rate, and counts in an attribute how often."""

    every = Every(steps=3)

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        super().__init__()
        self.times, self._optimizer = 0, optimizer

    def on_step_end(self, moment: Moment) -> None:
        self.times += 1
        self._optimizer.learning_rate.assign(0.01 * self.times)


def stream() -> StreamData:
    """Yields batches in an order that Python's random numbers decide from the sixth batch on."""
    x, y = arrays()

    def batches() -> object:
        for i in range(12):
            at = i if i < 6 else random.randrange(ROWS)
            yield x[at : at + 4], y[at : at + 4]

    spec = (tf.TensorSpec([None, 6]), tf.TensorSpec([None], tf.int64))
    return StreamData(tf.data.Dataset.from_generator(batches, output_signature=spec), resume="replay")


def make_loop(wrong: str = "") -> Loop:
    """Returns a loop over a network with dropout and Adam."""
    keras.utils.set_random_seed(int.from_bytes(os.urandom(3), "big") if wrong == "no seed" else 1)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3), keras.layers.Dense(2)]
    model, optimizer = keras.Sequential([keras.Input([6]), *layers]), keras.optimizers.Adam(1e-2)
    optimizer.build(model.trainable_variables)
    measure = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    hidden, seeds = tf.Variable(0.0, name="hidden"), keras.random.SeedGenerator(3)
    moving = keras.metrics.Mean(name="moving")

    def train_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        x, y = batch
        if wrong in ("tf.random", "refused"):
            x += 0.1 * tf.raw_ops.RandomStandardNormal(shape=tf.shape(x), dtype=tf.float32, seed=1)
        if wrong == "unsaved seeds":
            x += 0.1 * keras.random.normal(tf.shape(x), seed=seeds)
        if wrong == "time":
            x += 0.1 * tf.cast(tf.timestamp() % 1.0, tf.float32)
        if wrong == "python callback":
            x += 0.1 * tf.ensure_shape(tf.numpy_function(lambda: np.float32(_counted()), [], tf.float32), [])
        with tf.GradientTape() as tape:
            loss = measure(y, model(x, training=True))
            if wrong == "unsaved variable":
                loss += hidden.assign_add(0.1) * tf.reduce_sum(model.trainable_variables[0] ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        if wrong == "unsaved metric":
            moving.update_state(loss)
            return {"loss": loss, "moving": moving.result()}
        return {"loss": loss}

    def eval_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        loss = measure(batch[1], model(batch[0]))
        if wrong == "slow evaluation":
            large = tf.fill([1500, 1500], loss)
            loss += 1e-12 * tf.reduce_mean(large @ large)
        return {"loss": loss}

    state = {"model": model} if wrong == "unsaved optimizer" else {"model": model, "optimizer": optimizer}
    data = ArrayData(arrays(), batch_size=8, seed=3)
    directory = f"{tempfile.gettempdir()}/exactloop-not-made"  # below another one, when it is proved
    checkpoint = Checkpoint(f"{directory}/checkpoints", Every(steps=3), resume_changed="warn")
    hooks = [TensorBoard(f"{directory}/tensorboard", Every(steps=2)), checkpoint]
    if wrong == "attribute":
        hooks.append(Warmer(optimizer))
    loop = Loop(
        train_step,
        stream() if wrong == "generator" else data,
        state=state,
        evaluate=Evaluation(eval_step, ArrayData(arrays(), batch_size=ROWS)),
        hooks=hooks,
        jit_compile=wrong == "XLA",
        exact=wrong in ("", "XLA", "refused", "slow evaluation"),
    )
    if wrong == "global counter":

        @loop.on(Event.EPOCH_END)
        def decay(moment: Moment) -> None:
            optimizer.learning_rate.assign(0.01 / _counted())

    return loop


def _counted() -> int:
    global count
    count += 1
    return count


def good_loop() -> Loop:
    return make_loop()


def small_loop() -> Loop:
    """Returns a loop over one variable."""
    weight = tf.Variable(1.0)
    return Loop(
        lambda batch: {"loss": weight.assign_add(tf.reduce_mean(batch[0]))},
        ArrayData(arrays(), batch_size=8, seed=3),
        state={"weight": weight},
        hooks=[Checkpoint(f"{tempfile.gettempdir()}/exactloop-not-made/checkpoints", Every(steps=3))],
    )


def slow_loop() -> Loop:
    return make_loop("slow evaluation")


def forgetful_loop() -> Loop:
    return make_loop("global counter")


if __name__ == "__main__":
    what = " ".join(sys.argv[1:])
    loop = make_loop(what)
    if what == "fails":
        raise RuntimeError("no data today")
    print(f"Training, with {what or 'nothing wrong'}.", time.monotonic())
    loop.run(epochs=3)
