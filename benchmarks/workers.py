"""What a step costs on two workers, on loopback: this loop, and `MultiWorkerMirroredStrategy.run` on the same model.

Both go over the same cluster, in the same two processes, in turns. Each step reads a batch from a dataset, and adds up
the gradients and the loss.

    python benchmarks/workers.py [--quick]
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import loop

if TYPE_CHECKING:
    import tensorflow as tf

    from loop.workers.cluster import Workers

MODELS = {"1 variable": 0, "2 million parameters": 2_000_000}
BATCH, WIDTH, ROUNDS = 64, 64, 5


def main() -> None:
    if "--worker" in sys.argv:
        worker(quick="--quick" in sys.argv)
    else:
        on_two(__file__)


def on_two(script: str, *arguments: str) -> None:
    """Starts a script in two processes, with --worker and arguments; what the first one prints is seen."""
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    processes = []
    for rank in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        out = None if rank == 0 else subprocess.DEVNULL
        processes.append(
            subprocess.Popen(
                [sys.executable, script, "--worker", *sys.argv[1:], *arguments], env=environment, stdout=out
            )
        )
    try:
        codes = [process.wait(900) for process in processes]
    finally:
        for process in processes:
            process.kill()
    sys.exit(max(map(abs, codes)))


def worker(*, quick: bool) -> None:
    """Measures both, in turns."""
    workers, strategy = joined()
    said = f"microseconds a step, and of processors, on {workers.count} workers"
    print(f"{'':24}{'this loop':>20}{'strategy.run':>20}   {said}")
    for name, parameters in MODELS.items():
        # As many as make little of what a run begins and ends with: both times, workers compare all that they hold.
        steps = (200 if quick else 2000) if not parameters else (60 if quick else 300)
        runs = {"ours": of_loop(parameters), "theirs": of_strategy(strategy, parameters)}
        spent: dict[str, list[float]] = {each: [] for each in runs}
        used: dict[str, list[float]] = {each: [] for each in runs}
        for each in runs.values():
            each(10)
        for _ in range(2 if quick else ROUNDS):
            for each, run in runs.items():
                began, before = time.perf_counter(), time.process_time()
                run(steps)
                spent[each].append(1e6 * (time.perf_counter() - began) / steps)
                used[each].append(1e6 * (time.process_time() - before) / steps)
        columns = [f"{statistics.median(spent[each]):11.0f} ({statistics.median(used[each]):6.0f})" for each in runs]
        print(f"{name:24}{''.join(columns)}", flush=True)


def joined() -> "tuple[Workers, tf.distribute.Strategy]":
    """Returns the workers, and the strategy by which they were brought together: another one would be a second cluster,
    in whose scope making a variable hangs, once in a few times."""
    import tensorflow as tf

    made, kind = list[tf.distribute.Strategy](), tf.distribute.MultiWorkerMirroredStrategy
    usual = kind.__init__

    def kept(self: tf.distribute.Strategy, *args: object, **named: object) -> None:
        usual(self, *args, **named)
        made.append(self)

    kind.__init__ = kept
    return loop.connect(), made[0]


def weights_of(parameters: int) -> list[tuple[int, int]]:
    """Returns the shapes of dense layers that have about so many parameters."""
    if not parameters:
        return [(WIDTH, 1)]
    inner = int(parameters**0.5)
    return [(WIDTH, inner), (inner, inner), (inner, 1)]


def of_loop(parameters: int) -> Callable[[int], None]:
    """Returns what trains so many steps by this loop."""
    import tensorflow as tf

    weights, optimizer, computed = model_of(parameters)
    x, y = tf.random.stateless_normal([BATCH, WIDTH], (1, 2)), tf.ones([BATCH, 1])

    def step(batch: tuple) -> dict:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(computed(batch[0]) - batch[1]))
        optimizer.apply(loop.average(tape.gradient(loss, weights)), weights)
        return {"loss": loss}

    dataset = tf.data.Dataset.from_tensors((x, y)).repeat()
    data = loop.StreamData(dataset, steps_per_epoch=10**9)
    trained = loop.Loop(step, data, state={"weights": weights, "optimizer": optimizer})
    return lambda count: run(trained, count)


def run(trained: loop.Loop, count: int) -> None:
    trained.run(steps=trained.step + count)


def model_of(parameters: int) -> tuple:
    """Returns weights, an optimizer, and the function of a batch that they make."""
    import keras
    import tensorflow as tf

    weights = [
        tf.Variable(tf.random.stateless_normal(shape, (3, i)) / shape[0] ** 0.5)
        for i, shape in enumerate(weights_of(parameters))
    ]
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(weights)

    def computed(x: tf.Tensor) -> tf.Tensor:
        for each in weights[:-1]:
            x = tf.nn.relu(x @ each)
        return x @ weights[-1]

    return weights, optimizer, computed


def of_strategy(strategy: "tf.distribute.Strategy", parameters: int) -> Callable[[int], None]:
    """Returns what trains so many steps by `strategy.run`, in one compiled loop."""
    import tensorflow as tf

    with strategy.scope():
        weights, optimizer, computed = model_of(parameters)
    own = BATCH // strategy.num_replicas_in_sync
    x, y = tf.random.stateless_normal([own, WIDTH], (1, 2)), tf.ones([own, 1])
    batches = iter(tf.data.Dataset.from_tensors((x, y)).repeat())

    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(computed(x) - y)) / strategy.num_replicas_in_sync
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    @tf.function
    def train(count: tf.Tensor, batches: tf.data.Iterator) -> tf.Tensor:
        loss = tf.constant(0.0)
        for _ in tf.range(count):
            loss = strategy.reduce("sum", strategy.run(step, next(batches)), axis=None)
        return loss

    return lambda count: float(train(tf.constant(count), batches))


if __name__ == "__main__":
    main()
