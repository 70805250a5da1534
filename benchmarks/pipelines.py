"""Prints what it costs that pipelines are made anew: batches a second, the first batch, the state, resuming far on.

    python benchmarks/pipelines.py [--quick]

Each pipeline as it was written and as it is made anew are read in turn; the medians of the ratios are printed.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Loop, StreamData
from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import iterator_handle

ROUNDS, BATCHES, FAR, AUTO = 9, 150, 10_000, tf.data.AUTOTUNE
FILLED = 1.0  # seconds
IMAGES = np.random.default_rng(1).integers(0, 255, [10_000, 32, 32, 3]).astype("uint8")
LABELS = np.arange(10_000)
LAYERS = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.1, 0.1)])
Dataset = tf.data.Dataset


def rows() -> Dataset:
    return Dataset.from_tensor_slices((IMAGES, LABELS))


def augmented(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.pad(tf.cast(image, tf.float32) / 255, [[4, 4], [4, 4], [0, 0]])
    image = tf.image.random_flip_left_right(tf.image.random_crop(image, [32, 32, 3]))
    return tf.image.random_contrast(tf.image.random_brightness(image, 0.2), 0.8, 1.2), label


PIPELINES: dict[str, Callable[[], Dataset]] = {
    "tf.image in map": lambda: rows().shuffle(5_000).map(augmented, AUTO).batch(64).prefetch(AUTO),
    "Keras' layers in map": lambda: (
        rows().shuffle(5_000).batch(64).map(lambda x, y: (LAYERS(x, training=True), y), AUTO).prefetch(AUTO)
    ),
    "repeat, then tf.image": lambda: rows().shuffle(5_000).repeat(2).map(augmented, AUTO).batch(64).prefetch(AUTO),
    "cache, shuffle, repeat": lambda: rows().cache().shuffle(2_000).repeat(2).batch(64).prefetch(AUTO),
}
FAR_ON: dict[str, Callable[[], Dataset]] = {
    "cache, shuffle, repeat": lambda: Dataset.range(1_000).cache().shuffle(500).repeat().batch(4),
    "interleave, tf.random in map": lambda: (
        Dataset.range(100)
        .repeat()
        .interleave(lambda x: Dataset.range(20), cycle_length=4)
        .map(lambda x: x + tf.random.uniform([], 0, 9, tf.int64))
        .batch(4)
    ),
}


def rate(dataset: Dataset, count: int) -> float:
    """Returns the batches a second of the first ones, read in the graph."""

    @tf.function(reduce_retracing=True)
    def read(iterator: tf.data.Iterator) -> tf.Tensor:
        total = tf.constant(0, tf.int64)
        for _ in tf.range(count):
            total += next(iterator)[1][0]
        return total

    iterator, begun = iter(dataset), time.perf_counter()
    int(read(iterator))
    return count / (time.perf_counter() - begun)


def throughput(rounds: int, count: int) -> None:
    for name, make in PIPELINES.items():
        written, begun = make(), time.perf_counter()
        anew = ByPass(make())
        anew.trace()
        built, ratios = time.perf_counter() - begun, list[float]()
        for number in range(rounds):
            before = rate(written, count)
            ratios.append(rate(anew.of(1, number), count) / before)
        size = state(ByPass(make()).of(1, 0)) / state(make())
        print(f"{name:<28} {statistics.median(ratios):5.2f} of the original's batches a second, made in {built:.2f} s,")
        print(f"{'':<28} {size:5.2f} of the size of its iterator's state")


def state(dataset: Dataset) -> int:
    """Returns the bytes of the state of an iterator after one batch, also of one that TensorFlow would not restore.

    When all that is read ahead is there: until then it is a matter of chance.
    """
    iterator = iter(dataset)
    next(iterator)
    time.sleep(FILLED)
    saved = tf.raw_ops.SerializeIterator(resource_handle=iterator_handle(iterator), external_state_policy=1)
    return len(tf.io.serialize_tensor(saved).numpy())


def resumed(rounds: int, far: int) -> None:
    for name, make in FAR_ON.items():
        with tempfile.TemporaryDirectory() as directory:

            def loop(step: int, make: Callable[[], Dataset] = make, directory: str = directory) -> Loop:
                total = tf.Variable(0, dtype=tf.int64)
                data = StreamData(make(), steps_per_epoch=2 * far)
                return Loop(
                    lambda batch: {"x": total.assign_add(batch[0])},
                    data,
                    state={"total": total},
                    hooks=[Checkpoint(f"{directory}/{step}", At(step), keep=1)],
                )

            for step in (10, far):
                loop(step).run(steps=step)

            def seconds(step: int, loop: Callable[[int], Loop] = loop) -> float:
                again, begun = loop(step), time.perf_counter()
                again.run(steps=step + 1)
                return time.perf_counter() - begun

            ratios = [seconds(far) / seconds(10) for _ in range(rounds)]
            print(f"{name:<28} {statistics.median(ratios):5.2f} x the time to resume at batch {far:,} against batch 10")


def main() -> None:
    quick = "--quick" in sys.argv[1:]
    throughput(3 if quick else ROUNDS, BATCHES)
    resumed(3 if quick else ROUNDS, 1_000 if quick else FAR)


if __name__ == "__main__":
    main()
