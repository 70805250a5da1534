"""What is trained in the benchmarks: small to compute-bound, in epochs short and long."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from loop import Step, supervised

layers = keras.layers
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Parts:
    """A network of its own, and what it is trained with."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    loss: keras.losses.Loss
    measured: bool

    def step(self) -> Step:
        """Returns the train step that all hand-written loops and this toolkit have in common."""
        metrics = {"error": keras.metrics.MeanAbsoluteError()} if self.measured else None
        return supervised(self.model, self.optimizer, self.loss, metrics=metrics)[0]


@dataclass(frozen=True)
class Workload:
    """A task.

    Attributes:
        name: What to call it.
        arrays: Features and targets.
        network: Makes the network.
        loss: Of targets and what the network says.
        batch: Rows in a batch.
        epochs: Epochs in a round of the benchmark; a quarter of them for slow loops.
        measured: Whether the step updates a metric.
        xla: Whether to compile it with XLA as well, which on a CPU makes convolutions ten times as slow.
        hooked: How many times as many epochs there are in a round of those that show what hooks cost.
        hidden: The widths of the hidden layers, of a network that JAX can have as well; of others, none.
    """

    name: str
    arrays: Arrays
    network: Callable[[], keras.Model]
    loss: keras.losses.Loss
    batch: int
    epochs: int
    measured: bool = False
    xla: bool = True
    hooked: int = 1
    hidden: tuple[int, ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        return len(self.arrays[0]) // self.batch

    @property
    def steps(self) -> int:
        """Steps in a round."""
        return self.epochs * self.steps_per_epoch

    def parts(self, *, averages: bool = False) -> Parts:
        """Returns new parts, with the same weights each time; with an optimizer that averages them, if wanted."""
        keras.utils.set_random_seed(1)
        model, optimizer = self.network(), keras.optimizers.Adam(use_ema=averages)
        optimizer.build(model.trainable_variables)
        return Parts(model, optimizer, self.loss, self.measured)

    def dataset(self) -> tf.data.Dataset:
        """Returns the same batches as a pipeline that shuffles anew in each epoch."""
        slices = tf.data.Dataset.from_tensor_slices(self.arrays).shuffle(len(self.arrays[0]), seed=1)
        return slices.batch(self.batch, drop_remainder=True).prefetch(4)


def _regression(rows: int, width: int) -> Arrays:
    rng = np.random.default_rng(1)
    x = rng.normal(size=[rows, width]).astype(np.float32)
    return x, np.sin(x.sum(axis=1, keepdims=True)).astype(np.float32)


def _digits(steps: int, batch: int) -> Arrays:
    digits = load_digits()
    rows = np.arange(steps * batch) % len(digits.target)
    return (digits.images[rows, ..., None] / 16).astype(np.float32), digits.target[rows]


def _sequences(rows: int) -> Arrays:
    rng = np.random.default_rng(1)
    x = rng.normal(size=[rows, 16, 8]).astype(np.float32)
    return x, x.mean(axis=(1, 2))[:, None]


def _mlp(width: int, *hidden: int) -> keras.Model:
    dense = [layers.Dense(units, activation="relu") for units in hidden]
    return keras.Sequential([keras.Input([width]), *dense, layers.Dense(1)])


def _regularized() -> keras.Model:
    first = [layers.Dense(64, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2)]
    return keras.Sequential([keras.Input([16]), *first, layers.Dense(64, activation="relu"), layers.Dense(1)])


def _cnn() -> keras.Model:
    convolutions = [layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu")]
    return keras.Sequential([keras.Input([8, 8, 1]), *convolutions, layers.Flatten(), layers.Dense(10)])


def _lstm() -> keras.Model:
    return keras.Sequential([keras.Input([16, 8]), layers.LSTM(32), layers.Dense(1)])


def workloads() -> dict[str, Workload]:
    """Returns all by a short name."""
    squared = keras.losses.MeanSquaredError()
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def tiny() -> keras.Model:
        return _mlp(16, 64, 64)

    return {
        "tiny-long": Workload(
            "tiny MLP, 2,000 steps an epoch", _regression(64_000, 16), tiny, squared, 32, 4, hooked=4, hidden=(64, 64)
        ),
        "tiny-short": Workload(
            "tiny MLP, 128 steps an epoch", _regression(4_096, 16), tiny, squared, 32, 64, hooked=4, hidden=(64, 64)
        ),
        "regularized": Workload(
            "tiny MLP with dropout, batch normalisation and a metric, 2,000 steps an epoch",
            *(_regression(64_000, 16), _regularized, squared, 32, 4),
            measured=True,
        ),
        "digits": Workload("digits CNN, batch 64", _digits(200, 64), _cnn, classes, 64, 4, xla=False),
        "lstm": Workload("LSTM over 16 steps, batch 32", _sequences(6_400), _lstm, squared, 32, 4),
        "compute": Workload(
            "MLP 1024 wide, batch 256",
            _regression(256 * 20, 64),
            lambda: _mlp(64, 1024, 1024),
            squared,
            256,
            4,
            hidden=(1024, 1024),
        ),
    }
