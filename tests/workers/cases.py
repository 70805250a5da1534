"""What several processes do in tests: each case takes the workers and texts, and returns what it has found, in JSON."""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import loop
from hooks import Checkpoint, Preemption
from loop import ArrayData, Evaluation, Every, Hook, Loop, Step, average


class Steps(Hook):
    """Keeps the values of all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[float]] = {}

    def on_steps(self, first_step: int, values: dict) -> None:
        for name, column in values.items():
            self.rows.setdefault(name, []).extend(column.tolist())


def rows(count: int, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=[count, width]).astype("float32")
    return x, (x.sum(1, keepdims=True) + 0.1 * rng.normal(size=[count, 1])).astype("float32")


def found(trained: Loop, steps: Steps, result: loop.RunResult) -> dict:
    variables = {path: v for path, v in trained.state.variables.items() if path != "clock/seconds"}
    return {
        "steps": steps.rows,
        "logs": result.logs,
        "reason": result.reason,
        "step": result.step,
        "digests": {path: loop.digest(v.read_value()) for path, v in variables.items()},
        "values": {
            path: np.asarray(v).astype("float64").ravel().tolist()
            for path, v in variables.items()
            if v.dtype.is_floating
        },
    }


def dense(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """A dense layer with a metric, trained by `supervised` with Adam, evaluated at the end of each epoch."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.05)
    train_step, eval_step = loop.supervised(model, optimizer, "mse", metrics={"mae": "mae"}, clip_norm=0.5)
    data = ArrayData(rows(int(count)), batch_size=int(batch), seed=3)
    evaluation = Evaluation(eval_step, ArrayData(rows(7), batch_size=4, shuffle=False))
    listening = Steps()
    trained = Loop(
        train_step, data, state={"model": model, "optimizer": optimizer}, evaluate=evaluation, hooks=[listening]
    )
    return found(trained, listening, trained.run(steps=int(steps)))


class Marks(Hook):
    """Writes a line after each step of a trigger, and may be slow."""

    def __init__(self, every: int, seconds: float = 0.0) -> None:
        super().__init__()
        self.every, self._seconds = Every(steps=every), seconds

    def on_step_end(self, moment: loop.Moment) -> None:
        print(f"step {moment.step}.", flush=True)
        time.sleep(self._seconds)


def small(step_of: Callable | None = None) -> tuple[Step, dict]:
    """Returns a step with one variable, dropout and momentum, and its state."""
    weights, draws = tf.Variable(tf.zeros([3, 1]), name="weights"), keras.random.SeedGenerator(5)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            x = keras.random.dropout(x, 0.2, seed=draws)
            loss = tf.reduce_mean(tf.square(x @ weights - y))
        gradients = tape.gradient(loss, [weights])
        optimizer.apply(gradients if step_of else average(gradients), [weights])
        return {"loss": loss}

    return Step(step), {"weights": weights, "optimizer": optimizer, "draws": draws}


def saved(workers: loop.workers.cluster.Workers, directory: str, steps: str, every: str, slow: str = "0") -> dict:
    """One variable, saved now and then; goes on where it was."""
    step, state = small()
    listening = Steps()
    hooks = [Checkpoint(directory, Every(steps=int(every))), Preemption(), Marks(10, float(slow)), listening]
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state, hooks=hooks)
    return found(trained, listening, trained.run(steps=int(steps)))


def forgotten(workers: loop.workers.cluster.Workers, directory: str) -> dict:
    """A step that applies its gradients by hand, and forgets to average them."""
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - y))
        weights.assign_sub(0.1 * tape.gradient(loss, weights))
        return {"loss": loss}

    data = ArrayData(rows(8), batch_size=4, seed=3)
    Loop(step, data, state={"weights": weights}, hooks=[Checkpoint(directory, Every(steps=3))]).run(steps=9)
    return {}


def unaveraged(workers: loop.workers.cluster.Workers) -> dict:
    """A step whose optimizer applies gradients that were not averaged."""
    step, state = small(step_of=lambda gradients: gradients)
    Loop(step, ArrayData(rows(8), batch_size=4, seed=3), state=state).run(steps=9)
    return {}


CASES: dict[str, Callable[..., dict]] = {
    "dense": dense,
    "saved": saved,
    "forgotten": forgotten,
    "unaveraged": unaveraged,
}
