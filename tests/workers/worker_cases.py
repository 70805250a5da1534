"""What several processes do in tests: each case takes the workers and texts, and returns what it has found, in JSON."""

import contextlib
import json
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

import loop
from hooks import (
    Checkpoint,
    EarlyStopping,
    Export,
    LearningRate,
    MetricsLog,
    NaNGuard,
    Preemption,
    Profile,
    Progress,
    ReduceLROnPlateau,
    TensorBoard,
    TimeBudget,
    Tracker,
    WeightAverage,
)
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Step, average, total
from loop.workers import failures
from loop.workers.store import WorkerFailed


class Steps(Hook):
    """Keeps the values of all steps.

    Attributes:
        nudged: Whether the first weights begin a rounding step higher.
    """

    nudged: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[float]] = {}

    def on_setup(self, loop: Loop, moment: loop.Moment) -> None:
        if self.nudged:
            first = next(v for v in loop.state.variables.values() if v.trainable and v.dtype.is_floating)
            # Of those that begin at 0, one as of what they will be.
            first.assign_add(np.spacing(np.maximum(np.abs(first), 0.1)))

    def on_steps(self, first_step: int, values: dict) -> None:
        for name, column in values.items():
            self.rows.setdefault(name, []).extend(column.tolist())


def rows(count: int, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=[count, width]).astype("float32")
    return x, (x.sum(1, keepdims=True) + 0.1 * rng.normal(size=[count, 1])).astype("float32")


def found(trained: Loop, steps: Steps, result: loop.RunResult) -> dict:
    apart = trained.hooks.apart()
    variables = {path: v for path, v in trained.state.variables.items() if not path.startswith(apart)}
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


def dense(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str, rate: str = "0.05") -> dict:
    """A dense layer with a metric, trained by `supervised` with Adam, evaluated at the end of each epoch."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(float(rate))
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


def prepared(workers: loop.workers.cluster.Workers, path: str) -> dict:
    """The first one writes a file that all read, or fails to."""
    if workers.rank == 0:
        time.sleep(1.0)
        if path.endswith("never"):
            raise OSError("no network")
        Path(path).write_text("of it")
    workers.wait("the file is there")
    print(f"worker {workers.rank} has read {Path(path).read_text()}.", flush=True)
    return {}


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


def normalized(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str, rate: str = "0.05") -> dict:
    """A compiled model with synchronized batch normalization, trained by its own step."""
    layers = [
        keras.layers.Dense(4, use_bias=False),
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input([3]), *layers])
    optimizer = keras.optimizers.SGD(float(rate), momentum=0.9, clipnorm=1.0)
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
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


def padded(workers: loop.workers.cluster.Workers, count: str, batch: str, steps: str) -> dict:
    """Series of unequal lengths, with a sum over all workers at each of their steps in time."""
    weights = tf.Variable([0.5, -0.3], name="weights")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build([weights])

    def step(series: tf.Tensor) -> dict:
        with tf.GradientTape() as tape:
            expected, error = tf.zeros_like(series[:, 0]), tf.constant(0.0)
            for i in tf.range(tf.shape(series)[1]):
                error += total(tf.reduce_sum(tf.square(series[:, i] - expected)))
                expected = tf.tanh(weights[0] * expected + weights[1] * series[:, i])
            loss = error / total(tf.cast(tf.size(series), tf.float32))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss}

    lengths = 2 + np.arange(int(count)) % 5
    dataset = tf.data.Dataset.from_tensor_slices((rows(int(count), 6)[0], lengths)).map(lambda row, n: row[:n])
    listening, state = Steps(), {"weights": weights, "optimizer": optimizer}
    trained = Loop(step, dataset.shuffle(9, seed=1).padded_batch(int(batch)), state=state, hooks=[listening])
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


def across(workers: loop.workers.cluster.Workers, kind: str, count: str, batch: str, steps: str) -> dict:
    """A loss of Keras that adds up over rows by itself, and compares these sums."""
    weights = tf.Variable(tf.zeros([3, 2]), name="weights")
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build([weights])
    of_rows = {"dice": keras.losses.Dice(), "tversky": keras.losses.Tversky(alpha=0.3, beta=0.7, axis=0)}[kind]

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = of_rows(tf.cast(tf.concat([y > 0, y > 1], 1), tf.float32), tf.sigmoid(x @ weights))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss}

    data, listening = ArrayData(rows(int(count)), batch_size=int(batch), seed=3), Steps()
    trained = Loop(step, data, state={"weights": weights, "optimizer": optimizer}, hooks=[listening])
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

    def __init__(self, arrays: tuple[np.ndarray, ...], *, is_evaluated: bool = False) -> None:
        self.arrays, self.read, self.is_evaluated = arrays, set[int](), is_evaluated

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
    """Draws by generators and functions, which differ from worker to worker, out of one state."""
    mean = tf.Variable(0.0, name="mean")
    numbers, draws = tf.random.Generator.from_seed(3), keras.random.SeedGenerator(5)

    def step(batch: tf.Tensor) -> dict:
        drawn = numbers.normal(tf.shape(batch)) + keras.random.normal(tf.shape(batch), seed=draws)
        drawn += tf.random.normal(tf.shape(batch))
        mean.assign(average(tf.reduce_mean(drawn)))
        return {"mean": mean + 0.0, "here": tf.reduce_mean(drawn)}

    listening, state = Steps(), {"mean": mean, "numbers": numbers, "draws": draws}
    data = ArrayData(rows(7)[0], batch_size=4, seed=3)
    trained = Loop(step, data, state=state, hooks=[listening])
    return found(trained, listening, trained.run(steps=int(steps)))


def halted(workers: loop.workers.cluster.Workers, steps: str, asked: str = "") -> dict:
    """The same as `saved`, without a file, and may be asked to halt at random by all workers from their own threads,
    or halt at each step."""
    step, state = small()
    listening, over = Steps(), threading.Event()
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state, hooks=[listening])
    if asked == "each":
        trained.on(Event.STEP_END, Every(steps=1))(lambda moment: None)
    halts = 0

    def ask() -> None:
        nonlocal halts
        rng = random.Random(workers.rank)
        while not over.wait(rng.random() * 0.002):
            trained._parts.bound.pull_in()
            halts += 1

    thread = threading.Thread(target=ask if asked == "at random" else over.wait)
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


class Probe(Hook):
    """Reports a value in each epoch."""

    reports = ("probe",)

    def on_epoch_end(self, moment: loop.Moment) -> None:
        moment.report(probe=2 * moment.logs["val_loss"])


def crowded(workers: loop.workers.cluster.Workers, directory: str, kind: str, steps: str, slow: str = "0") -> dict:
    """As many hooks as go together: of this package, or of Keras. One row is such that its batch is left out."""
    where = Path(directory)
    where.mkdir(parents=True, exist_ok=True)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1, name="only")], name="model")
    optimizer = keras.optimizers.SGD(0.05, name="sgd")  # what names itself is written into files
    train_step, eval_step = loop.supervised(model, optimizer, "mse", metrics={"mae": "mae"})
    x, y = rows(23)
    y[4] += 100.0 * (kind == "ours")
    average = WeightAverage(0.9, every=Every(steps=2))
    evaluations = [
        Evaluation(eval_step, data_of(7)),
        Evaluation(eval_step, data_of(7), name="average", within=average.exchanged),
    ]
    sent = where / "sent.jsonl"
    hooks: list[Hook | keras.callbacks.Callback] = [Probe(), average]
    if kind == "ours":
        hooks += [
            MetricsLog(where / "values.jsonl", Every(steps=5)),
            Tracker(lambda values, step: send(sent, values, step), where / "tracked.jsonl", Every(steps=5),
                    latest=lambda: latest(sent)),
            LearningRate(lambda step: 0.05 / (1 + step), warmup=5),
            EarlyStopping("val_loss", mode="min", patience=100, restore_best="weights"),
            NaNGuard("rollback", limits={"loss": 500.0}, max_rollbacks=99),
            TimeBudget(hours=1),
            Export(where / "exports", model, on="best", monitor="val_loss", mode="min", format="weights", keep=2),
            Checkpoint(where / "first", Every(steps=1), best="probe", mode="min", name="first"),
        ]  # fmt: skip
    else:
        hooks += [
            keras.callbacks.EarlyStopping("val_loss", patience=6, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.01),
            keras.callbacks.CSVLogger(where / "values.csv"),
            keras.callbacks.ModelCheckpoint(where / "best.weights.h5", "val_mae", 0, True, True, "min"),
            ReduceLROnPlateau("probe", mode="min", factor=0.9, patience=1),
            EarlyStopping("probe", mode="min", patience=9),
        ]
    hooks += [Checkpoint(where / "second", Every(steps=7), best="val_loss", mode="min", name="second"), Preemption()]
    hooks += [Marks(5, float(slow)), listening := Steps()]
    data = ArrayData((x, y), batch_size=4, seed=3)
    trained = Loop(train_step, data, state={"model": model, "optimizer": optimizer}, evaluate=evaluations, hooks=hooks)
    result = trained.run(steps=int(steps))
    return {**found(trained, listening, result), "evaluated": trained.evaluate(), "history": result.history}


def send(path: Path, values: dict[str, float], step: int) -> None:
    with open(path, "a") as file:
        file.write(json.dumps([step, values]) + "\n")


def latest(path: Path) -> int | None:
    return json.loads(path.read_text().splitlines()[-1])[0] if path.exists() else None


def numbered(workers: loop.workers.cluster.Workers, directory: str, steps: str) -> dict:
    """Says which rows each step was trained on, of all workers together, and what was warned of."""
    weights = tf.Variable(tf.zeros([3, 1]), name="weights")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y, number = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - y))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss, "rows": total(tf.reduce_sum(tf.bitwise.left_shift(tf.ones_like(number), number)))}

    listening = Steps()
    data = ArrayData((*rows(23), np.arange(23)), batch_size=4, seed=3)
    state = {"weights": weights, "optimizer": optimizer}
    hooks = [Checkpoint(directory, Every(steps=1000)), listening]
    trained = Loop(step, data, state=state, hooks=hooks)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = trained.run(steps=int(steps))
    return {**found(trained, listening, result), "warned": [str(each.message) for each in warned]}


def dying(workers: loop.workers.cluster.Workers, directory: str, steps: str) -> dict:
    """As `saved`, evaluated with items that are read in Python."""
    step, state = small()
    data = loop.IndexedData(Items(rows(7), is_evaluated=True), batch_size=4, shuffle=False)
    evaluation = Evaluation(lambda batch: {"error": tf.reduce_mean(batch[0] @ state["weights"] - batch[1])}, data)
    listening = Steps()
    hooks = [Checkpoint(directory, Every(steps=4)), Preemption(), listening]
    trained = Loop(step, data_of(23), state=state, evaluate=evaluation, eval_every=Every(steps=8), hooks=hooks)
    return found(trained, listening, trained.run(steps=int(steps)))


def alone(workers: loop.workers.cluster.Workers, what: str) -> dict:
    """A hook in one worker alone does what needs all of them."""
    step, state = small()
    evaluation = Evaluation(lambda batch: {"error": tf.reduce_mean(batch[0] @ state["weights"] - batch[1])}, data_of(7))
    hooks = [Checkpoint("checkpoints", Every(steps=3))]
    trained = Loop(step, data_of(23), state=state, evaluate=evaluation, hooks=hooks)

    @trained.on(Event.STEP_END, Every(steps=5))
    def lonely(moment: loop.Moment) -> None:
        if workers.rank == 0:
            trained.evaluate() if what == "evaluate" else trained.roll_back("it has to be")

    if what == "evaluate before" and workers.rank == 0:
        trained.evaluate()
    return found(trained, Steps(), trained.run(steps=60))


class Windows:
    """Rows of arrays, four at a time, from where it is in them; drawn from NumPy's stream by whoever asks for it."""

    def __init__(self, arrays: tuple[np.ndarray, ...], *, draws: bool) -> None:
        self.arrays, self.at, self._draws = arrays, 0, draws

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return self

    def __next__(self) -> tuple[np.ndarray, ...]:
        self.at = (self.at + 1) % 9
        begin = np.random.randint(9) if self._draws else self.at
        return tuple(each[begin : begin + 4] for each in self.arrays)

    def get_state(self) -> int:
        return self.at

    def set_state(self, state: int) -> None:
        self.at = state


def drifts(workers: loop.workers.cluster.Workers, what: str, directory: str) -> dict:
    """What workers do in Python is alike at first, and not for ever."""
    step, state = small()
    source = Windows(rows(23), draws=what == "stream")
    data: loop.StatefulData | loop.StreamData = loop.StatefulData(source, steps_per_epoch=6)
    if what == "stages":
        whole = tf.data.Dataset.from_tensor_slices(rows(23))
        data = loop.StreamData(lambda epoch: whole.shuffle(23, seed=epoch + workers.rank * (epoch > 4)).batch(4))
    trained = Loop(step, data, state=state, hooks=[Checkpoint(directory, Every(steps=4))])

    @trained.on(Event.EPOCH_END)
    def drift(moment: loop.Moment) -> None:
        if moment.epoch == 2 and workers.rank == 1:
            np.random.random()
            source.at += 1

    return found(trained, Steps(), trained.run(steps=60))


def longer(workers: loop.workers.cluster.Workers, rank: str) -> dict:
    """One worker's data has a batch more, behind all that is read to compare them."""
    step, state = small()
    count = 2000 + 4 * (workers.rank == int(rank))
    kinds = tuple(tf.TensorSpec(each.shape[1:]) for each in rows(1))
    whole = list(zip(*rows(2004), strict=True))
    dataset = tf.data.Dataset.from_generator(lambda: iter(whole[:count]), output_signature=kinds)
    Loop(step, loop.StreamData(dataset.batch(4)), state=state).run(epochs=2)
    return {}


def late(workers: loop.workers.cluster.Workers, rank: str) -> dict:
    """One worker goes on for long when the others are done, who say so often."""
    failures.PATIENCE = 0.5
    time.sleep(4.0 * (workers.rank == int(rank)))
    return {"worked": "to the end"}


class Exiting(Hook):
    """Ends the script of the first worker, when a run begins."""

    def on_setup(self, loop: Loop, moment: loop.Moment) -> None:
        if loop.workers.rank == 0:
            raise SystemExit(5)


def exits(workers: loop.workers.cluster.Workers, directory: str) -> dict:
    """The first worker exits before it has said what the others are to restore."""
    step, state = small()
    Loop(step, data_of(23), state=state, hooks=[Exiting(), Checkpoint(directory)]).run(steps=5)
    return {}


def elsewhere(workers: loop.workers.cluster.Workers, directory: str, steps: str) -> dict:
    """Each worker has a directory of its own."""
    step, state = small()
    hooks = [Checkpoint(f"{directory}-{workers.rank}", Every(steps=3))]
    Loop(step, data_of(23), state=state, hooks=hooks).run(steps=int(steps))
    return {}


def raises(workers: loop.workers.cluster.Workers, where: str) -> dict:
    """One worker's hook raises."""
    step, state = small()
    trained = Loop(step, ArrayData(rows(23), batch_size=4, seed=3), state=state, hooks=[Marks(5)])

    @trained.on(Event(where), *([Every(steps=20)] if where == "step_end" else []))
    def fail(moment: loop.Moment) -> None:
        if workers.rank == 1 and moment.step >= 20:
            raise ValueError("no more of this")

    return found(trained, Steps(), trained.run(steps=1000))


def catches(workers: loop.workers.cluster.Workers) -> dict:
    """A script that goes on where a run has failed in all workers for the same reason, and trains once more."""
    step, state = small()
    trained = Loop(step, data_of(23), state=state)

    @trained.on(Event.STEP_END, Every(steps=5))
    def fail(moment: loop.Moment) -> None:
        raise ValueError("no more of this")

    caught: list[str] = []
    for each in (trained, Loop(step, data_of(23), state=state)):
        try:
            each.run(steps=20)
        except (ValueError, WorkerFailed) as error:
            caught.append(type(error).__name__)
        time.sleep(failures.GRACE + 2.0)
    return {"caught": caught}


class Pruned(Exception):
    """Is raised in the first worker, when a run has ended in all of them."""


class Pruning(Hook):
    """Ends the run, and raises when it is over, as `OptunaPruning` does: in the first worker."""

    everywhere = False

    def __init__(self, what: str) -> None:
        super().__init__()
        self.every, self._what = Every(steps=20), what

    @contextlib.contextmanager
    def around_run(self, loop: Loop) -> Iterator[None]:
        yield
        if self._what == "prune":
            raise Pruned

    def on_step_end(self, moment: loop.Moment) -> None:
        if self._what == "raise":
            raise ValueError("no more of this")
        moment.stop("enough")


def shown(workers: loop.workers.cluster.Workers, directory: str, steps: str, what: str = "", slow: str = "0") -> dict:
    """Hooks that show something, all in the first worker; one of them may stop the run, raise, or raise at its end."""
    where = Path(directory)
    step, state = small()
    evaluation = Evaluation(lambda batch: {"error": tf.reduce_mean(batch[0] @ state["weights"] - batch[1])}, data_of(7))
    board, profile = TensorBoard(where / "board", Every(steps=5)), Profile(where / "profile", first=3, steps=2)
    hooks: list[Hook] = [board, profile, Progress(), Checkpoint(where / "saved", Every(steps=4))]
    hooks += [Marks(5, float(slow)), listening := Steps(), *([Pruning(what)] if what else [])]
    trained = Loop(step, data_of(23), state=state, evaluate=evaluation, hooks=hooks)
    try:
        result = trained.run(steps=int(steps))
    except Pruned:
        return {"pruned": trained.step}
    return found(trained, listening, result)


def unlike(workers: loop.workers.cluster.Workers) -> dict:
    """Workers with other weights, other data and another seed."""
    step, state = small()
    state["weights"].assign_add(tf.fill([3, 1], float(workers.rank)))
    Loop(step, ArrayData(rows(23 + workers.rank), batch_size=4, seed=workers.rank), state=state).run(steps=5)
    return {}


def audited(workers: loop.workers.cluster.Workers) -> dict:
    """Another loop is looked at in one worker alone, before: the sums of this one have other numbers there."""
    if workers.rank == 0:
        other, its = small()
        Loop(other, data_of(23), state=its).audit()
    step, state = small()
    Loop(step, data_of(23), state=state).run(steps=5)
    return {}


def waiting(workers: loop.workers.cluster.Workers) -> dict:
    """A script that does something else for a while."""
    print("waiting.", flush=True)
    time.sleep(200)
    return {}


CASES: dict[str, Callable[..., dict]] = {
    each.__name__: each
    for each in (
        *(dense, saved, forgotten, unaveraged, scaled, normalized, masked, padded, reduced, across, measured, indexed),
        *(
            prepared,
            generated,
            halted,
            by_time,
            raises,
            shown,
            unlike,
            audited,
            waiting,
            crowded,
            numbered,
            dying,
            alone,
            drifts,
            elsewhere,
            longer,
            exits,
            catches,
            late,
        ),
    )
}
