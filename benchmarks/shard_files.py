"""What `StreamData(shard="files")` costs a step, on two workers on loopback: beside reading all, in turns.

The same rows in a step, and the same tiny model, in the same two processes.

    python benchmarks/shard_files.py [--quick]
"""

import pathlib
import statistics
import sys
import tempfile
import time

import workers

import loop

FILES, ROWS, WIDTH, BATCH, ROUNDS = 8, 2048, 64, 64, 15


def worker(directory: str, *, quick: bool) -> None:
    """Measures both, in turns."""
    count = loop.connect().count
    steps = 200 if quick else 500
    runs = {"rows": of_files(directory, None, BATCH), "files": of_files(directory, "files", BATCH // count)}
    spent: dict[str, list[tuple[float, float]]] = {each: [] for each in runs}
    for trained in runs.values():
        workers.run(trained, 10)
    for _ in range(2 if quick else ROUNDS):
        for each, trained in runs.items():
            began, before = time.perf_counter(), time.process_time()
            workers.run(trained, steps)
            ended, after = time.perf_counter(), time.process_time()
            spent[each].append((1e6 * (ended - began) / steps, 1e6 * (after - before) / steps))
    print(f"{'':12}microseconds a step (of processors, in this one of {count} workers)")
    for each, times in spent.items():
        wall, used = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{each:12}{wall:8.0f} ({used:6.0f})", flush=True)
    pairs = zip(spent["files"], spent["rows"], strict=True)
    more = [(files[0] - rows[0], files[1] - rows[1]) for files, rows in pairs]
    wall, used = (statistics.median(column) for column in zip(*more, strict=True))
    print(f"{'more':12}{wall:8.0f} ({used:6.0f})")


def write(directory: str) -> None:
    """Writes files of rows of 32-bit numbers."""
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(FILES):
        pathlib.Path(directory, f"{i}.bin").write_bytes(rng.normal(size=[ROWS, WIDTH]).astype("float32").tobytes())


def of_files(directory: str, shard: str | None, batch: int) -> loop.Loop:
    """Returns what trains on these files."""
    import tensorflow as tf

    weights, optimizer, computed = workers.model_of(0)

    def step(x: tf.Tensor) -> dict:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(computed(x) - 1.0))
        optimizer.apply(loop.average(tape.gradient(loss, weights)), weights)
        return {"loss": loss}

    def read(name: tf.Tensor) -> tf.data.Dataset:
        return tf.data.FixedLengthRecordDataset(name, 4 * WIDTH)

    names = tf.data.Dataset.list_files(f"{directory}/*.bin", shuffle=False)
    rows = names.interleave(read, cycle_length=2).batch(batch, drop_remainder=True)
    dataset = rows.map(lambda raw: tf.ensure_shape(tf.io.decode_raw(raw, tf.float32), [batch, WIDTH])).repeat()
    data = loop.StreamData(dataset, shard=shard, steps_per_epoch=10**9)
    return loop.Loop(step, data, state={"weights": weights, "optimizer": optimizer})


if __name__ == "__main__":
    if "--worker" in sys.argv:
        worker(sys.argv[-1], quick="--quick" in sys.argv)
    else:
        with tempfile.TemporaryDirectory() as made:
            write(made)
            workers.on_two(__file__, made)
