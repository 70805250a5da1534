"""Trains one small convolutional network on handwritten digits on several workers, with a step of its own.

    exactloop launch --workers 2 examples/distributed.py
    exactloop launch --workers 2 --max-restarts 1 examples/distributed.py -- --kill_after 200

The second command kills worker 1 after step 200, in mid-epoch; the others end, all are started anew, and go on from the
last checkpoint. It ends with the same bits as the first, and prints the same digest of its weights. After 20 epochs
more than 98 % of the scans that it was not trained on are told right, whoever was killed.

Each worker is the same script, and trains on its own rows of every batch. What makes that one training:

- `connect()`, before anything else, joins them. Without `exactloop launch` it does nothing: the script trains alone.
- `average(gradients)`, before gradients are clipped and applied, is the gradient of the whole batch, in all workers.
- `synchronized=True` takes the moments of batch normalization over the whole batch, not over the rows of one worker.
- The seeds are shared; what dropout draws is other in each worker.
- Checkpoints and TensorBoard files are written by worker 0, which also shows the progress.

Saved by two workers, it goes on with one or four: they take the same batches apart in another way.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import loop

WORKERS = loop.connect()

import hashlib
import logging
import signal

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging
from sklearn.datasets import load_digits

from hooks import Checkpoint, Preemption, Progress, TensorBoard
from loop import ArrayData, At, Evaluation, Every, Hook, Loop, Moment, Step, average

RUN_DIR = flags.DEFINE_string("run_dir", "runs/distributed", "Where checkpoints and TensorBoard files go.")
EPOCHS = flags.DEFINE_integer("epochs", 20, "Epochs to train in all.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Scans in a batch, of all workers together.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Seed of weights, dropout, split and order.")
KILL_AFTER = flags.DEFINE_integer(
    "kill_after", None, "After which step the last worker is killed, unless it goes on from a checkpoint."
)


def load(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Returns 1,438 scans for training and 359 for validation: float32 [n, 8, 8, 1] in 0..1, and int64 [n] in 0..9."""
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[..., None]
    order = np.random.default_rng(seed).permutation(len(images))
    train, val = np.split(order, [round(0.8 * len(images))])
    return (images[train], digits.target[train]), (images[val], digits.target[val])


def build() -> keras.Model:
    """Returns the network: scans to logits, float32 [n, 10]."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9, synchronized=True),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9, synchronized=True),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def steps(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> tuple[Step, Step]:
    """Returns the train step and the step of an evaluation."""
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = {name: keras.metrics.SparseCategoricalAccuracy() for name in ("train", "val")}

    def train_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        scans, digits = batch  # of this worker
        with tf.GradientTape() as tape:
            logits = model(scans, training=True)
            loss = loss_of(digits, logits)
        gradients = average(tape.gradient(loss, model.trainable_variables))
        gradients, norm = tf.clip_by_global_norm(gradients, 5.0)  # of the whole batch
        optimizer.apply(gradients, model.trainable_variables)
        accuracy["train"].update_state(digits, logits)
        return {"loss": loss, "gradient_norm": norm}

    def eval_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        scans, digits = batch
        logits = model(scans, training=False)
        accuracy["val"].update_state(digits, logits)
        return {"loss": loss_of(digits, logits)}

    return (
        Step(train_step, metrics={"accuracy": accuracy["train"]}),
        Step(eval_step, metrics={"accuracy": accuracy["val"]}),
    )


class Killing(Hook):
    """Kills the last worker after a step, as a machine that breaks would; not one that has been started again."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.every = At(step)

    def on_run_begin(self, moment: Moment) -> None:
        self._is_fresh = not moment.resumed

    def on_step_end(self, moment: Moment) -> None:
        if self._is_fresh and WORKERS.rank == WORKERS.count - 1:
            os.kill(os.getpid(), signal.SIGKILL)


def main(_: list[str]) -> None:
    """Trains, or goes on training, and prints the validation accuracy and a digest of the weights."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # TensorFlow's; the loop has a logger of its own
    logging.getLogger("exactloop").setLevel(logging.INFO if WORKERS.is_chief else logging.WARNING)
    keras.utils.set_random_seed(SEED.value)
    train, val = load(SEED.value)
    model, optimizer = build(), keras.optimizers.Adam(2e-3)
    optimizer.build(model.trainable_variables)
    train_step, eval_step = steps(model, optimizer)
    training = Loop(
        train_step,
        ArrayData(train, batch_size=BATCH_SIZE.value, seed=SEED.value),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, ArrayData(val, batch_size=256, shuffle=False)),
        hooks=[
            Progress(),
            TensorBoard(f"{RUN_DIR.value}/tensorboard", every=Every(steps=10)),
            Checkpoint(f"{RUN_DIR.value}/checkpoints", Every(steps=50), keep=3, best="val_accuracy", mode="max"),
            Preemption(),
            *([Killing(KILL_AFTER.value)] if KILL_AFTER.value else []),
        ],
    )
    result = training.run(epochs=EPOCHS.value)
    if WORKERS.is_chief:
        weights = hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in model.weights)).hexdigest()[:16]
        accuracy = result.logs["val_accuracy"]
        print(f"Validation accuracy {accuracy:.2%} after {result.step} steps: {result.reason}. Weights {weights}.")


if __name__ == "__main__":
    app.run(main)
