"""What several processes do in tests: each case takes the workers and texts, and returns what it has found, in JSON."""

import random
import threading
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import loop
from hooks import Checkpoint, Preemption
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Step, average, total


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


def small(step_of: Callable | None = None, rate: float = 0.2) -> tuple[Step, dict]:
    """Returns a step with one variable, dropout and momentum, and its state."""
    weights, draws = tf.Variable(tf.zeros([3, 1]), name="weights"), keras.random.SeedGenerator(5)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            x = keras.random.dropout(x, rate, seed=draws)
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
    evaluation = Evaluation(lambda batch: {"error": tf.reduce_mean(batch[0] @ state["weights"] - batch[1])}, data_of(7))
    trained = Loop(step, data_of(23), state=state, evaluate=evaluation, eval_every=Every(steps=8), hooks=hooks)
    return found(trained, listening, trained.run(steps=int(steps)))


def data_of(count: int) -> ArrayData:
    return ArrayData(rows(count), batch_size=4, seed=3)


def forgotten(workers: loop.workers.cluster.Workers, *directory: str) -> dict:
    """A step that applies its gradients by hand, and forgets to average them."""
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - y))
        weights.assign_sub(0.1 * tape.gradient(loss, weights))
        return {"loss": loss}

    data = ArrayData(rows(8), batch_size=4, seed=3)
    Loop(step, data, state={"weights": weights}, hooks=[Checkpoint(each, Every(steps=3)) for each in directory]).run(
        steps=9
    )
    return {}


def unaveraged(workers: loop.workers.cluster.Workers) -> dict:
    """A step whose optimizer applies gradients that were not averaged."""
    step, state = small(step_of=lambda gradients: gradients)
    Loop(step, ArrayData(rows(8), batch_size=4, seed=3), state=state).run(steps=9)
    return {}


def scaled(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """Loss scaling, averages of the weights, and gradients of several batches applied at once."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    inner = keras.optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=5, global_clipnorm=1.0)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=4)
    train_step, _ = loop.supervised(model, optimizer, "mse", accumulate=3)
    data, listening = ArrayData(rows(int(count)), batch_size=int(batch), seed=3), Steps()
    trained = Loop(train_step, data, state={"model": model, "optimizer": optimizer}, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def normalized(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """A compiled model with synchronized batch normalization, trained by its own step."""
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(synchronized=True), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([3]), *layers])
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0), "mse", metrics=["mae"], jit_compile=False)
    train_step, eval_step = loop.keras_steps(model)
    evaluation = Evaluation(eval_step, ArrayData(rows(5), batch_size=3, shuffle=False))
    data, listening = ArrayData(rows(int(count)), batch_size=int(batch), seed=3), Steps()
    trained = Loop(train_step, data, state={"model": model}, evaluate=evaluation, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def masked(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """A loss that is a mean over what a mask leaves, and regularised; from a pipeline whose length nobody knows."""
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y = batch
        mask = tf.cast(x[:, :1] > 0, tf.float32)
        with tf.GradientTape() as tape:
            loss = total(tf.reduce_sum(mask * tf.square(x @ weights - y))) / (0.5 + total(tf.reduce_sum(mask)))
            loss += 0.1 * tf.reduce_sum(tf.square(weights))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss, "kept": total(tf.reduce_sum(tf.cast(mask, tf.int32))), "step": optimizer.iterations + 0}

    x, y = rows(int(count))
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda x, y: x[0] < 9.0).shuffle(50, seed=1)
    listening = Steps()
    data = loop.StreamData(dataset.batch(int(batch)))
    trained = Loop(step, data, state={"weights": weights, "optimizer": optimizer}, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def reduced(workers: loop.workers.cluster.Workers, reduction: str, count: str, batch: str, steps: str) -> dict:
    """A loss of Keras over what a mask and weights leave of an embedding's outputs, reduced in one of its ways."""
    layers = [keras.layers.Embedding(5, 2, mask_zero=True), keras.layers.Dense(1)]
    model, optimizer = keras.Sequential([keras.Input([4], dtype="int32"), *layers]), keras.optimizers.SGD(0.02)
    tokens = np.random.default_rng(0).integers(0, 5, [int(count), 4])
    weights = np.linspace(0.1, 3, tokens.size).reshape(tokens.shape)
    arrays = tokens, tokens[..., None].astype("float32") / 5, weights.astype("float32")
    train_step, eval_step = loop.supervised(model, optimizer, keras.losses.MeanSquaredError(reduction=reduction))
    evaluation = Evaluation(eval_step, ArrayData(arrays, batch_size=4, shuffle=False))
    data, listening = ArrayData(arrays, batch_size=int(batch), seed=3), Steps()
    state = {"model": model, "optimizer": optimizer}
    trained = Loop(train_step, data, state=state, evaluate=evaluation, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def measured(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """A step that counts each batch once, in a mean of losses, and returns its result so far."""
    step, state = small(rate=0.0)
    mean = keras.metrics.Mean()

    def measuring(batch: tuple) -> dict:
        mean.update_state(step(batch)["loss"])
        return {"so_far": mean.result()}

    listening = Steps()
    data = ArrayData(rows(int(count)), batch_size=int(batch), seed=3)
    trained = Loop(Step(measuring, metrics={"so_far": mean}), data, state=state, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


class Items:
    """Rows of arrays, and which of them were read."""

    def __init__(self, arrays: tuple[np.ndarray, ...]) -> None:
        self.arrays, self.read = arrays, set[int]()

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        self.read.add(number)
        return tuple(each[number] for each in self.arrays)


def indexed(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """Items that are found by their numbers."""
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - y))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss}

    data, listening = loop.IndexedData(Items(rows(int(count))), batch_size=int(batch), seed=3), Steps()
    trained = Loop(step, data, state={"weights": weights, "optimizer": optimizer}, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def generated(workers: loop.workers.cluster.Workers, steps: str) -> dict:
    """Draws of TensorFlow's generators and of Keras', which differ from worker to worker, out of one state."""
    mean = tf.Variable(0.0, name="mean")
    numbers, draws = tf.random.Generator.from_seed(3), keras.random.SeedGenerator(5)

    def step(batch: tf.Tensor) -> dict:
        drawn = numbers.normal(tf.shape(batch)) + keras.random.normal(tf.shape(batch), seed=draws)
        mean.assign(average(tf.reduce_mean(drawn)))
        return {"mean": mean + 0.0, "here": tf.reduce_mean(drawn)}

    listening, state = Steps(), {"mean": mean, "numbers": numbers, "draws": draws}
    data = ArrayData(rows(7)[0], batch_size=4, seed=3)
    trained = Loop(step, data, state=state, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def halted(workers: loop.workers.cluster.Workers, steps: str) -> dict:
    """The same as `saved`, without a file, and asked to halt at random by all workers from threads of their own."""
    step, state = small()
    listening, over = Steps(), threading.Event()
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state, hooks=[listening])
    halts = 0

    def ask() -> None:
        nonlocal halts
        rng = random.Random(workers.rank)
        while not over.wait(rng.random() * 0.002):
            trained._bound.pull_in()
            halts += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        result = trained.run(steps=int(steps))
    finally:
        over.set()
        thread.join()
    return {**found(trained, listening, result), "halts": halts}


def by_time(workers: loop.workers.cluster.Workers, steps: str) -> dict:
    """A hook that wants to be called by the clock: in all workers after the same steps."""
    step, state = small()
    at: list[int] = []
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state)
    trained.on(Event.STEP_END, Every(seconds=0.05))(lambda moment: at.append(moment.step))
    return {**found(trained, Steps(), trained.run(steps=int(steps))), "at": at}


def raises(workers: loop.workers.cluster.Workers, where: str) -> dict:
    """One worker's hook raises."""
    step, state = small()
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state, hooks=[Marks(5)])

    @trained.on(Event(where), *([Every(steps=20)] if where == "step_end" else []))
    def fail(moment: loop.Moment) -> None:
        if workers.rank == 1 and moment.step >= 20:
            raise ValueError("no more of this")

    return found(trained, Steps(), trained.run(steps=1000))


def unlike(workers: loop.workers.cluster.Workers) -> dict:
    """Workers with other weights, other data and another seed."""
    step, state = small()
    state["weights"].assign_add(tf.fill([3, 1], float(workers.rank)))
    Loop(step, ArrayData(rows(23 + workers.rank), batch_size=4, seed=workers.rank), state=state).run(steps=5)
    return {}


def waiting(workers: loop.workers.cluster.Workers) -> dict:
    """A script that does something else for a while."""
    print("waiting.", flush=True)
    time.sleep(200)
    return {}


CASES: dict[str, Callable[..., dict]] = {
    each.__name__: each
    for each in (
        *(dense, saved, forgotten, unaveraged, scaled, normalized, masked, reduced, measured, indexed, generated),
        *(halted, by_time, raises, unlike, waiting),
    )
}
