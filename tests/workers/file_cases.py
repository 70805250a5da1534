"""What several processes do in tests that read files of their own: as in `worker_cases`."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from worker_cases import Marks, Steps, found

import loop
from hooks import Checkpoint, NaNGuard, Preemption
from loop import Evaluation, Every, Loop, Step, StreamData, average, total

LENGTHS = (7, 2, 5, 1, 4)  # of the files, in rows
ROWS = sum(LENGTHS)
Workers = loop.workers.cluster.Workers


def write(directory: Path) -> None:
    """Writes files of unequal lengths, in which each row has a number."""
    directory.mkdir(parents=True, exist_ok=True)
    numbers = iter(range(ROWS))
    for i, length in enumerate(LENGTHS):
        (directory / f"{i}.txt").write_text("".join(f"{next(numbers)}\n" for _ in range(length)))


def names(directory: str) -> tf.data.Dataset:
    return tf.data.Dataset.list_files(f"{directory}/*.txt", shuffle=False).shuffle(10, seed=3)


def lines(directory: str) -> tf.data.Dataset:
    """Returns the rows in a shuffled order, each with something that is drawn for it."""
    read = names(directory).interleave(tf.data.TextLineDataset, cycle_length=2).shuffle(4, seed=5)
    return read.map(lambda line: (tf.strings.to_number(line, tf.int32), keras.random.uniform([2], seed=DRAWS)))


DRAWS = keras.random.SeedGenerator(11)


class Written:
    """Which rows this worker has trained, in each step."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def take(self, numbers: np.ndarray) -> np.int32:
        self.steps.append(numbers.tolist())
        return np.int32(0)


def numbered(written: Written) -> tuple[Step, dict]:
    """Returns a step with one variable, which writes down the rows of this worker, and its state."""
    weights = tf.Variable(tf.zeros([2, 1]), name="weights")
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        numbers, x = batch
        seen = tf.numpy_function(written.take, [numbers], tf.int32, stateful=False)
        wanted = tf.cast(numbers + tf.ensure_shape(seen, []), tf.float32)[:, tf.newaxis] / ROWS
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - wanted))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss, "number": tf.reduce_mean(tf.cast(numbers, tf.float32)), "rows": total(tf.size(numbers))}

    return Step(step), {"weights": weights, "optimizer": optimizer}


def filed(
    workers: Workers, files: str, directory: str, steps: str, every: str = "1000", slow: str = "0", shard: str = "files"
) -> dict:
    """Trains on files, saved now and then; goes on where it was."""
    written = Written()
    step, state = numbered(written)
    data = StreamData(lines(files).batch(2), shard=shard or None)
    listening = Steps()
    hooks = [Checkpoint(directory, Every(steps=int(every))), Preemption(), Marks(1, float(slow)), listening]
    trained = Loop(step, data, state=state, hooks=hooks)
    return {**found(trained, listening, trained.run(steps=int(steps))), "written": written.steps}


CASES: dict[str, Callable[..., dict]] = {each.__name__: each for each in (filed,)}
