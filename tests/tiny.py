"""A small real network with everything in it that is hard to resume, and data of 7 batches an epoch."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from loop import ArrayData, Evaluation, Every, Hook, Loop, StreamData, Trigger, supervised

ROWS, BATCH, STEPS_PER_EPOCH = 50, 8, 7  # the last batch has two rows


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Returns features, float32 [50, 6], and classes, int64 [50] in 0..2."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=[ROWS, 6]).astype(np.float32)
    return x, (x @ rng.normal(size=[6, 3])).argmax(axis=1)


def array_data() -> ArrayData:
    return ArrayData(arrays(), batch_size=BATCH, seed=3)


def dataset() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays()).shuffle(ROWS, seed=3).batch(BATCH)


def unknown_length() -> StreamData:
    return StreamData(dataset().filter(lambda x, y: True))


def by_epoch() -> StreamData:
    slices = tf.data.Dataset.from_tensor_slices(arrays())
    return StreamData(lambda epoch: slices.shuffle(ROWS, seed=100 + epoch).batch(BATCH))


def endless() -> StreamData:
    slices = tf.data.Dataset.from_tensor_slices(arrays())
    return StreamData(slices.repeat().shuffle(ROWS, seed=3).batch(BATCH), steps_per_epoch=STEPS_PER_EPOCH)


def replayed() -> StreamData:
    return StreamData(dataset().shuffle(3, seed=4), resume="replay")


DATA: dict[str, Callable[[], ArrayData | StreamData | tf.data.Dataset]] = {
    "arrays": array_data,
    "dataset": dataset,
    "unknown length": unknown_length,
    "function of epoch": by_epoch,
    "endless": endless,
    "replayed": replayed,
}


def model() -> keras.Model:
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.4)]
    return keras.Sequential([keras.Input([6]), *layers, keras.layers.Dense(3)])


def make_loop(
    hooks: Sequence[Hook] = (),
    data: ArrayData | StreamData | tf.data.Dataset | None = None,
    *,
    evaluate: bool = True,
    eval_every: Trigger = Every(epochs=1),
    jit_compile: bool = False,
) -> Loop:
    """Returns a loop over a network with dropout, batch normalisation and gradients accumulated over three steps."""
    keras.utils.set_random_seed(1)
    network = model()
    optimizer = keras.optimizers.Adam(1e-2, gradient_accumulation_steps=3)
    train_step, eval_step = supervised(
        network,
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics={"accuracy": keras.metrics.SparseCategoricalAccuracy()},
    )
    val_data = tf.data.Dataset.from_tensor_slices(arrays()).batch(16)
    return Loop(
        train_step,
        array_data() if data is None else data,
        state={"model": network, "optimizer": optimizer},
        evaluate=Evaluation(eval_step, val_data) if evaluate else None,
        eval_every=eval_every,
        hooks=hooks,
        jit_compile=jit_compile,
    )


def make_counter(
    hooks: Sequence[Hook] = (),
    data: ArrayData | StreamData | tf.data.Dataset | None = None,
    *,
    evaluate: bool = True,
    eval_every: Trigger = Every(epochs=1),
) -> Loop:
    """Returns a loop over the same data that adds them up: a tenth of the tracing, for order, errors and stops."""
    total, seen = tf.Variable(0.0), tf.Variable(0)

    def train_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        seen.assign_add(1)
        return {"loss": total.assign_add(tf.reduce_mean(batch[0]) + 1.0)}

    def eval_step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": total + tf.reduce_mean(batch[0]), "accuracy": tf.cast(tf.reduce_mean(batch[1]), tf.float32)}

    val_data = tf.data.Dataset.from_tensor_slices(arrays()).batch(16)
    return Loop(
        train_step,
        array_data() if data is None else data,
        state={"total": total, "seen": seen},
        evaluate=Evaluation(eval_step, val_data) if evaluate else None,
        eval_every=eval_every,
        hooks=hooks,
    )


def bits(loop: Loop) -> dict[str, bytes]:
    """Returns every variable of the training state as bytes, by path; without the wall time that was spent."""
    return {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds"}
