"""Prints the CPU seconds from a built model to the end of its first step, evaluation included.

    python benchmarks/first_step.py [ROUNDS]

Each figure is a median over processes of their own, interleaved: of this loop, of plain `tf.function`s of the same two
steps, which is the least that tracing them costs, and of Keras' `fit`. CPU seconds, because a start is work and no
waiting; threads of TensorFlow count, so what other programs do on the machine makes them vary by a tenth.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from loop import ArrayData, Evaluation, Every, Loop, supervised

BATCH, ROWS = 8, 16


def cnn() -> tuple[keras.Model, np.ndarray]:
    inner = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(16, 3, activation="relu")]
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), *inner, layers.Flatten(), layers.Dropout(0.2), layers.Dense(10)]
    )
    return model, np.zeros((ROWS, 28, 28, 1), "float32")


def gpt() -> tuple[keras.Model, np.ndarray]:
    tokens = keras.Input((32,), dtype="int32")
    x = layers.Embedding(100, 64)(tokens)
    for _ in range(6):
        inner = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(4, 16, dropout=0.1)(inner, inner, use_causal_mask=True)
        inner = layers.Dense(256, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(64)(inner)
    return keras.Model(tokens, layers.Dense(10)(layers.Flatten()(x))), np.zeros((ROWS, 32), "int32")


def resnet50() -> tuple[keras.Model, np.ndarray]:
    size = (32, 32, 3)
    model = keras.applications.ResNet50(weights=None, input_shape=size, classes=10, classifier_activation=None)
    return model, np.zeros((ROWS, *size), "float32")


MODELS: dict[str, Callable[[], tuple[keras.Model, np.ndarray]]] = {"cnn": cnn, "gpt": gpt, "resnet50": resnet50}


def exactloop(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    optimizer, loss = parts()
    accuracy = {"accuracy": keras.metrics.SparseCategoricalAccuracy()}
    train_step, eval_step = supervised(model, optimizer, loss, metrics=accuracy)
    evaluation = Evaluation(eval_step, ArrayData((x, y), batch_size=BATCH), steps=1)
    state = {"model": model, "optimizer": optimizer}
    data = ArrayData((x, y), batch_size=BATCH, seed=0)
    Loop(train_step, data, state=state, evaluate=evaluation, eval_every=Every(steps=1)).run(steps=1)


def plain(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    optimizer, loss = parts()
    optimizer.build(model.trainable_variables)
    accuracy, val_accuracy = keras.metrics.SparseCategoricalAccuracy(), keras.metrics.SparseCategoricalAccuracy()

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            prediction = model(x, training=True)
            value = loss(y, prediction)
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        accuracy.update_state(y, prediction)
        return value

    @tf.function
    def eval_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        prediction = model(x, training=False)
        val_accuracy.update_state(y, prediction)
        return loss(y, prediction)

    batch = tf.constant(x[:BATCH]), tf.constant(y[:BATCH])
    train_step(*batch)
    eval_step(*batch)


def fit(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    optimizer, loss = parts()
    model.compile(optimizer, loss, metrics=["accuracy"])
    x, y = x[:BATCH], y[:BATCH]
    model.fit(x, y, batch_size=BATCH, validation_data=(x, y), validation_batch_size=BATCH, verbose=0)


WHO: dict[str, Callable[[keras.Model, np.ndarray, np.ndarray], None]] = {
    "exactloop": exactloop,
    "plain": plain,
    "fit": fit,
}


def parts() -> tuple[keras.optimizers.Optimizer, keras.losses.Loss]:
    return keras.optimizers.AdamW(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def child(what: str, who: str) -> None:
    model, x = MODELS[what]()
    began = time.process_time()
    WHO[who](model, x, np.zeros(ROWS, "int32"))
    print(time.process_time() - began)


def main(rounds: int) -> None:
    for what in MODELS:
        taken: dict[str, list[float]] = {who: [] for who in WHO}
        for _ in range(rounds):
            for who, times in taken.items():
                command = [sys.executable, __file__, "--child", what, who]
                times.append(float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
        seconds = {who: statistics.median(times) for who, times in taken.items()}
        listed = ", ".join(f"{who} {each:.2f} s" for who, each in seconds.items())
        ratios = ", ".join(f"{seconds['exactloop'] / seconds[who]:.2f} x {who}" for who in ("plain", "fit"))
        print(f"first step of {what}: {listed}: {ratios}", flush=True)


if __name__ == "__main__":
    child(*sys.argv[2:]) if "--child" in sys.argv else main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
