"""Prints how long a run takes to stop when it is told to, in the middle of one chunk of unlimited length.

    python benchmarks/sigterm.py [ROUNDS]

Each round is a process of its own that trains a tiny network without asking for any step, with XLA and without. It is
sent SIGTERM, and the time is taken until its state is whole, and until it is saved and has exited with status 143.
"""

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from hooks import Checkpoint, Preemption
from loop import ArrayData, Hook, Loop, Moment, StreamData, supervised

WAYS = ("ArrayData", "ArrayData, XLA", "StreamData, XLA")


class Stopwatch(Hook):
    """Prints the clock when training begins, when the last step is over, and when everything has ended."""

    def on_run_begin(self, moment: Moment) -> None:
        print("begun", flush=True)

    def on_settled(self, moment: Moment) -> None:
        if moment.last:
            print(f"settled {time.monotonic()} at step {moment.step}", flush=True)


def train(directory: str, way: str) -> None:
    """Trains until it is told to stop."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam()
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    rows = 32 * 2**20  # an epoch of a million steps: the data never makes the compiled loop halt
    arrays = np.zeros([rows, 2], np.float16), np.zeros([rows, 1], np.float16)
    data = ArrayData(arrays, batch_size=32, shuffle=False)
    if way.startswith("StreamData"):
        data = StreamData(tf.data.Dataset.from_tensor_slices(arrays).batch(32, drop_remainder=True).prefetch(4))
    hooks = [Stopwatch(), Checkpoint(directory), Preemption()]
    state = {"model": model, "optimizer": optimizer}
    Loop(step, data, state=state, hooks=hooks, jit_compile=way.endswith("XLA")).run(steps=10**9)


def stop_once(way: str) -> tuple[float, float]:
    """Returns the seconds from SIGTERM to the last step's end and to the process's exit."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "--train", directory, way]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None  # noqa: S101 (for the type checker)
            process.stdout.readline()
            time.sleep(1.0 + np.random.default_rng().random())
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output = process.communicate()[0]
            exited = time.monotonic()
        if process.returncode != 143:
            sys.exit(f"Expected exit status 143. Received: {process.returncode}.")
    settled = re.search(r"settled ([\d.]+) at step (\d+)", output)
    if settled is None:
        sys.exit(f"The run did not say when it settled: {output!r}")
    return float(settled[1]) - sent, exited - sent


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    print(f"SIGTERM during one chunk of unlimited length, {rounds} processes each, milliseconds (median, range):")
    for way in WAYS:
        stopped, exited = zip(*(stop_once(way) for _ in range(rounds)), strict=True)
        print(f"  {way}")
        for what, seconds in {"until the step in progress is over": stopped, "until saved and exited": exited}.items():
            times = sorted(1000 * second for second in seconds)
            print(f"    {what:36} {statistics.median(times):8.1f}   {times[0]:.1f} .. {times[-1]:.1f}")


if __name__ == "__main__":
    train(*sys.argv[2:]) if "--train" in sys.argv else main()
