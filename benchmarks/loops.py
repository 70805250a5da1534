"""The same training by different loops."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import rich.console
import tensorflow as tf
from workloads import Workload

from hooks import (
    Checkpoint,
    EarlyStopping,
    LearningRate,
    NaNGuard,
    Preemption,
    Progress,
    TensorBoard,
    TimeBudget,
    WeightAverage,
)
from loop import ArrayData, Every, Hook, Loop, Moment, StreamData
from loop.tf_internals import explicit_algorithm

Round = Callable[[], object]  # trains for one more round


try:
    import orbit
except ImportError:
    orbit = None


def limit(task: Workload) -> Round:
    """The step on one constant batch, over and over: what a loop could cost at least."""
    step, steps = task.parts().step(), tf.constant(task.steps)
    batch = tuple(tf.constant(array[: task.batch]) for array in task.arrays)

    @tf.function
    def run(count: tf.Tensor) -> tf.Tensor:
        done, loss = tf.constant(0), tf.constant(0.0)
        while done < count:
            loss = step(batch)["loss"]
            done += 1
        return loss

    return lambda: float(run(steps))


def limit_xla(task: Workload) -> Round:
    """The step on batches gathered from arrays, an epoch in one `tf.while`, all of it one program of XLA."""
    step, steps = task.parts().step(), tf.constant(task.steps_per_epoch)
    arrays = [tf.Variable(array, trainable=False) for array in task.arrays]
    rows = tf.random.shuffle(tf.range(task.steps_per_epoch * task.batch), seed=1)
    order = tf.Variable(tf.reshape(rows, [-1, task.batch]), trainable=False)

    @tf.function(jit_compile=True)
    def run(count: tf.Tensor) -> tf.Tensor:
        done, loss = tf.constant(0), tf.constant(0.0)
        while done < count:
            chosen = tf.gather(order, done)
            loss = step(tuple(tf.gather(array, chosen) for array in arrays))["loss"]
            done += 1
        return loss

    def train() -> None:
        for _ in range(task.epochs):
            float(run(steps))

    with explicit_algorithm():
        run(tf.constant(0))
    return train


def by_hand(task: Workload) -> Round:
    """A loop in the graph over the dataset, called once an epoch."""
    step, dataset = task.parts().step(), task.dataset()

    @tf.function
    def epoch(batches: tf.data.Iterator, count: tf.Tensor) -> tf.Tensor:
        loss = tf.constant(0.0)
        for _ in tf.range(count):
            loss = step(next(batches))["loss"]
        return loss

    def run() -> None:
        for _ in range(task.epochs):
            float(epoch(iter(dataset), tf.constant(task.steps_per_epoch)))

    return run


def by_hand_each_step(task: Workload) -> Round:
    """A loop in Python over the dataset, with one call a step."""
    step, dataset = tf.function(task.parts().step().function), task.dataset()

    def run() -> None:
        for _ in range(task.epochs):
            for batch in dataset:
                loss = step(batch)["loss"]
        float(loss)

    return run


def keras_fit(
    task: Workload, *, arrays: bool, steps_per_execution: int = 1, callbacks: int = 0, jit_compile: bool = False
) -> Round:
    """Keras' `fit`."""
    parts, dataset = task.parts(), task.dataset()
    parts.model.compile(parts.optimizer, parts.loss, steps_per_execution=steps_per_execution, jit_compile=jit_compile)
    listening = [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None) for _ in range(callbacks)]

    def run() -> None:
        x, y = task.arrays if arrays else (dataset, None)
        size = task.batch if arrays else None
        parts.model.fit(x, y, batch_size=size, epochs=task.epochs, verbose=0, callbacks=listening)

    return run


def orbit_loop(task: Workload, steps_per_loop: int) -> Round:
    """Orbit's `Controller` over its `StandardTrainer`."""
    step, global_step = task.parts().step(), tf.Variable(0, dtype=tf.int64, trainable=False)

    class Trainer(orbit.StandardTrainer):
        def train_loop_begin(self) -> None:
            self.loss = None

        def train_step(self, iterator: tf.data.Iterator) -> None:
            step(next(iterator))
            global_step.assign_add(1)

        def train_loop_end(self) -> dict[str, float]:
            return {}

    options = orbit.StandardTrainerOptions(use_tf_while_loop=steps_per_loop > 1)
    controller = orbit.Controller(
        global_step=global_step,
        trainer=Trainer(task.dataset().repeat(), options=options),
        steps_per_loop=steps_per_loop,
    )

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line for each loop
            controller.train(int(global_step) + task.steps, checkpoint_at_completion=False)

    return run


class Idle(Hook):
    """Waits for a step that does not come."""

    every = Every(steps=10**9)

    def on_step_end(self, moment: Moment) -> None:
        raise AssertionError("It came.")


class EachStep(Hook):
    """Is called at every step."""

    every = Every(steps=1)

    def on_step_end(self, moment: Moment) -> None:
        pass


def exactloop(
    task: Workload,
    *,
    stream: bool = False,
    hooks: Sequence[Hook] = (),
    averages: bool = False,
    jit_compile: bool = False,
) -> Round:
    """This toolkit."""
    parts = task.parts(averages=averages)
    data = StreamData(task.dataset()) if stream else ArrayData(task.arrays, batch_size=task.batch, seed=1)
    state = {"model": parts.model, "optimizer": parts.optimizer}
    loop = Loop(parts.step(), data, state=state, hooks=hooks, jit_compile=jit_compile)
    loop.audit()
    return lambda: loop.run(steps=loop.step + task.steps)


def full_set(directory: Path) -> list[Hook]:
    """Returns all that a long run would have."""
    return [
        Progress(console=rich.console.Console(file=io.StringIO(), force_terminal=True)),
        TensorBoard(directory / "tensorboard", Every(steps=100)),
        EarlyStopping("loss", mode="min", patience=10**9, restore_best=None),
        Checkpoint(directory / "checkpoints", Every(steps=1000), background=True),
        Preemption(),
        LearningRate(lambda step: 1e-3 * 0.9999**step, warmup=100),
        NaNGuard(limits={"loss": 1e9}),
        WeightAverage("optimizer"),
        TimeBudget(hours=10),
    ]


def jax_scan(task: Workload) -> Round:
    """JAX, in a process of its own, which trains when it is asked to and ends with this one."""
    rows, width = task.arrays[0].shape
    of_task = {"rows": rows, "width": width, "hidden": task.hidden, "batch": task.batch, "epochs": task.epochs}
    command = [sys.executable, str(Path(__file__).with_name("jax_scan.py")), json.dumps(of_task)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked, answers = process.stdin, process.stdout
    if asked is None or answers is None:
        raise RuntimeError("A process has no pipes.")

    def run() -> None:
        asked.write("\n")
        asked.flush()
        if not answers.readline():
            raise RuntimeError(f"JAX has failed, with status {process.wait()}.")

    return run
