"""Trains one network twice, by Keras' `fit` and by a loop, with the same callbacks, and compares the numbers.

    python examples/from_keras.py --run_dir runs/from_keras

The network, its `compile`, the pipeline with its shuffle and the callbacks are those of a program for `fit`, unchanged.
What changes is `fit` itself, of which the last function shows both forms. After 8 epochs on scikit-learn's handwritten
digits, no value of any epoch differs by more than 0.0001, and both tell 90 % of what other people have written.

Kill it when you like and start it again: `fit` begins anew, the loop goes on where it was, and ends with the same bits.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from absl import logging as absl_logging
from keras import layers
from sklearn.datasets import load_digits

from hooks import Checkpoint, Preemption
from loop import Evaluation, Every, Loop, keras_steps

RUN_DIR = flags.DEFINE_string("run_dir", "runs/from_keras", "Where the logs of both and the checkpoints go.")
EPOCHS = flags.DEFINE_integer("epochs", 8, "Epochs to train in all.", lower_bound=1)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Scans in a batch.", lower_bound=1)
FRESH = flags.DEFINE_bool("fresh", False, "Remove what an earlier run left in run_dir.")
TRAINED = 1_438  # scans to learn from; 359 are left

History = Mapping[str, Sequence[float]]


def load() -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Returns batches of scans, float32 [batch, 8, 8, 1] in 0..1, and of what they show; to train, and to validate."""
    digits = load_digits()
    scans = (digits.images / 16).astype(np.float32)[..., None]
    rows = tf.data.Dataset.from_tensor_slices((scans, digits.target))
    train = rows.take(TRAINED).shuffle(TRAINED, seed=1).repeat()
    return train.batch(BATCH_SIZE.value).prefetch(tf.data.AUTOTUNE), rows.skip(TRAINED).batch(256)


def build() -> keras.Model:
    """Returns the network, compiled."""
    model = keras.Sequential(
        [
            keras.Input([8, 8, 1]),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def callbacks(directory: Path) -> list[keras.callbacks.Callback]:
    """Returns the callbacks, which write below a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.8 if epoch else rate),
        keras.callbacks.CSVLogger(directory / "log.csv"),
    ]


def by_fit(directory: Path) -> History:
    """Trains by `fit`."""
    keras.utils.set_random_seed(1)
    train, val = load()
    model = build()
    fitted = model.fit(
        train,
        epochs=EPOCHS.value,
        steps_per_epoch=TRAINED // BATCH_SIZE.value,
        validation_data=val,
        callbacks=callbacks(directory),
        verbose=0,
    )
    return fitted.history


def by_loop(directory: Path) -> History:
    """Trains by a loop, which can be killed."""
    keras.utils.set_random_seed(1)
    train, val = load()
    model = build()
    train_step, eval_step = keras_steps(model)
    loop = Loop(
        train_step,
        train,
        state={"model": model},
        steps_per_epoch=TRAINED // BATCH_SIZE.value,
        evaluate=Evaluation(eval_step, val),
        hooks=[*callbacks(directory), Checkpoint(directory / "checkpoints", Every(steps=10)), Preemption()],
    )
    return loop.run(epochs=EPOCHS.value).history


def main(_: list[str]) -> None:
    """Trains both ways, and prints the values of the epochs side by side."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # TensorFlow's; the loop has a logger of its own
    logging.getLogger("exactloop").setLevel(logging.INFO)
    run_dir = Path(RUN_DIR.value)
    if FRESH.value:
        shutil.rmtree(run_dir, ignore_errors=True)
    theirs, ours = by_fit(run_dir / "fit"), by_loop(run_dir / "loop")
    for name in sorted(theirs):
        for epoch, pair in enumerate(zip(theirs[name], ours[name], strict=True), 1):
            print(f"epoch {epoch}  {name:<14}  fit {pair[0]:.6f}  loop {pair[1]:.6f}")
    apart = max(abs(a - b) for name in theirs for a, b in zip(theirs[name], ours[name], strict=True))
    accuracy = 100 * min(history["val_accuracy"][-1] for history in (theirs, ours))
    print(f"Both tell {accuracy:.1f}% of the others; the values of {EPOCHS.value} epochs differ by {apart:.6f} at most")


if __name__ == "__main__":
    app.run(main)
