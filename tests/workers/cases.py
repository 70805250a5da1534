"""What several processes do in tests: each case takes the workers and texts, and returns what it has found, in JSON."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import loop
from loop import ArrayData, Evaluation, Hook, Loop, Step


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


CASES: dict[str, Callable[..., dict]] = {"dense": dense}
