"""Compares the step of two workers with TensorFlow's own way, `MultiWorkerMirroredStrategy.run`, on the same network.

    python benchmarks/workers.py [ROUNDS]

Two processes on this machine train by either in turns, many steps in one compiled call, a tiny network and one of two
million parameters. Printed are the medians of the seconds of a step, and of the ratios within a round. The machine's
processors are shared by the two, so a step costs what two steps do, and the sums between them.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import logging

import numpy as np

import loop
from exactloop.launching.launcher import Launcher
from exactloop.launching.places import on_loopback
from loop.workers.cluster import Workers

GOAL = 1.0  # times as fast as the strategy, at least
logging.getLogger("tensorflow").setLevel(logging.ERROR)


class Task(NamedTuple):
    """What is trained: a network of dense layers.

    Attributes:
        width: Of its layers.
        depth: How many.
        batch: Rows of a batch, of both workers.
        steps: In a round.
    """

    width: int
    depth: int
    batch: int
    steps: int


TASKS = {"a tiny network": Task(16, 1, 32, 2000), "two million parameters": Task(1000, 2, 64, 40)}
FEATURES, ROWS = 16, 4096


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).normal(size=[ROWS, FEATURES]).astype(np.float32)
    return x, x[:, :1]


def parts(task: Task) -> tuple:
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(task.width, activation="relu") for _ in range(task.depth + 1)]
    model = keras.Sequential([keras.Input([FEATURES]), *layers, keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def exactloop(task: Task) -> Callable[[], object]:
    model, optimizer = parts(task)
    step, _ = loop.supervised(model, optimizer, "mse")
    source = loop.ArrayData(data(), batch_size=task.batch, seed=1)
    trained = loop.Loop(step, source, state={"model": model, "optimizer": optimizer})
    return lambda: trained.run(steps=trained.step + task.steps)


def strategy(task: Task, workers: Workers) -> Callable[[], object]:
    import tensorflow as tf

    way = tf.distribute.MultiWorkerMirroredStrategy()
    with way.scope():
        model, optimizer = parts(task)

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    def rows(context: tf.distribute.InputContext) -> tf.data.Dataset:
        whole = tf.data.Dataset.from_tensor_slices(data()).shard(workers.count, workers.rank)
        batches = whole.cache().shuffle(ROWS).repeat().batch(task.batch // workers.count, drop_remainder=True)
        return batches.prefetch(tf.data.AUTOTUNE)

    batches = iter(way.distribute_datasets_from_function(rows))

    @tf.function
    def train(steps: tf.Tensor) -> tf.Tensor:
        loss = tf.constant(0.0)
        for _ in tf.range(steps):
            loss = way.reduce("MEAN", way.run(step, args=(next(batches),)), axis=None)
        return loss

    return lambda: float(train(tf.constant(task.steps)))


def child(rounds: int) -> None:
    workers = loop.connect()
    for name, task in TASKS.items():
        ways = {"exactloop": exactloop(task), "strategy": strategy(task, workers)}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 1):  # the first one warms up
            for way in [*ways][:: 1 if number % 2 else -1]:
                began = time.perf_counter()
                ways[way]()
                if number:
                    times[way].append((time.perf_counter() - began) / task.steps)
        ratio = statistics.median(b / a for a, b in zip(times["exactloop"], times["strategy"], strict=True))
        said = ", ".join(f"{way} {1000 * statistics.median(each):.2f} ms" for way, each in times.items())
        if workers.is_chief:
            verdict = "met" if ratio >= GOAL else "missed"
            print(f"{name}, a step of 2 workers: {said}: {ratio:.2f} times as fast ({verdict}: {GOAL:.2f})", flush=True)


def main(rounds: int) -> None:
    with on_loopback(2) as places:
        sys.exit(Launcher([sys.executable, __file__, "--child", str(rounds)], places).run())


if __name__ == "__main__":
    child(int(sys.argv[2])) if "--child" in sys.argv else main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
