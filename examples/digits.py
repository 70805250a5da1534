"""Trains a small convolutional network on scikit-learn's handwritten digits: 1,797 real scans of 8 x 8 pixels.

    python examples/digits.py --run_dir runs/digits

Kill it when you like and start it again: it goes on where it was, and ends with the same bits.
"""

import logging
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging
from sklearn.datasets import load_digits

from hooks import Checkpoint, EarlyStopping, Preemption, Progress, TensorBoard
from loop import ArrayData, Evaluation, Every, Loop, supervised

RUN_DIR = flags.DEFINE_string("run_dir", "runs/digits", "Where checkpoints and TensorBoard files go.")
EPOCHS = flags.DEFINE_integer("epochs", 30, "Epochs to train in all.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Scans in a batch.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 1, "Seed of weights, dropout, split and order.")
FRESH = flags.DEFINE_bool("fresh", False, "Remove what an earlier run left in run_dir.")


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
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10),
        ]
    )


def main(_: list[str]) -> None:
    """Trains, or goes on training, and prints the validation accuracy."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # TensorFlow's; the loop has a logger of its own
    logging.getLogger("exactloop").setLevel(logging.INFO)
    if FRESH.value:
        shutil.rmtree(RUN_DIR.value, ignore_errors=True)
    keras.utils.set_random_seed(SEED.value)
    train, val = load(SEED.value)
    model, optimizer = build(), keras.optimizers.Adam(2e-3)
    train_step, eval_step = supervised(
        model,
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics={"accuracy": keras.metrics.SparseCategoricalAccuracy()},
    )
    loop = Loop(
        train_step,
        ArrayData(train, batch_size=BATCH_SIZE.value, seed=SEED.value),
        state={"model": model, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, tf.data.Dataset.from_tensor_slices(val).batch(256)),
        hooks=[
            Progress(),
            TensorBoard(f"{RUN_DIR.value}/tensorboard", every=Every(steps=10)),
            EarlyStopping("val_loss", mode="min", patience=8),
            Checkpoint(f"{RUN_DIR.value}/checkpoints", Every(steps=20), keep=3, best="val_accuracy", mode="max"),
            Preemption(),
        ],
    )
    result = loop.run(epochs=EPOCHS.value)
    accuracy = result.logs["val_accuracy"]
    print(f"Validation accuracy {accuracy:.2%} after {result.step} steps, {result.seconds:.1f} s: {result.reason}.")


if __name__ == "__main__":
    app.run(main)
