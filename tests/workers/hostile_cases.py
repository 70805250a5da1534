"""What scripts do that nobody has in mind who writes an example: as in `worker_cases`, saved, and to be killed."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from worker_cases import Steps, data_of, found, rows

import loop
from exactloop import find_learning_rate
from hooks import (
    Checkpoint,
    EarlyStopping,
    Export,
    NaNGuard,
    Preemption,
    ReduceLROnPlateau,
    WeightAverage,
)
from loop import ArrayData, At, Evaluation, Every, Hook, IndexedData, Loop, Step, StreamData, average

Workers = loop.workers.cluster.Workers


class Killing(Hook):
    """Kills one worker after a step, by a signal, once: a file says that it was done."""

    def __init__(self, rank: int, mark: Path, step: int, number: int) -> None:
        super().__init__()
        self.every, self._rank, self._mark, self._number = At(step), rank, mark, number

    def on_step_end(self, moment: loop.Moment) -> None:
        if self._rank and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), self._number)


def trained(
    workers: Workers,
    directory: str,
    steps: str,
    kill: str,
    step: Step | Callable,
    state: dict,
    data: object,
    *,
    hooks: Sequence[Hook | keras.callbacks.Callback] = (),
    evaluate: Evaluation | Sequence[Evaluation] | None = None,
    every: int = 7,
    saves: int = 3,
    before: Callable[[Loop], object] = lambda made: None,
) -> dict:
    """Trains so many steps in all, saved now and then; `kill` is `<rank>-<step>-<signal>`, or nothing."""
    where = Path(directory)
    where.mkdir(parents=True, exist_ok=True)
    listening = Steps()
    given = [*hooks, Checkpoint(where / "saved", Every(steps=saves)), Preemption(), listening]
    if kill:
        rank, at, number = kill.split("-")
        given.append(Killing(int(rank) == workers.rank, where / "killed", int(at), int(number)))
    made = Loop(step, data, state=state, evaluate=evaluate, eval_every=Every(steps=every), hooks=given)
    also = before(made)
    return {**found(made, listening, made.run(steps=int(steps))), "also": also, "history": made.history}


def two_optimizers(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """One network, whose halves are trained by optimizers of their own, clipped together."""
    first = tf.Variable(np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4), name="first")
    second = tf.Variable(tf.ones([4, 1]), name="second")
    slow, fast = keras.optimizers.Adam(0.01, name="slow"), keras.optimizers.SGD(0.05, momentum=0.9, name="fast")
    slow.build([first])
    fast.build([second])

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.tanh(x @ first) @ second - y))
        gradients, norm = tf.clip_by_global_norm(average(tape.gradient(loss, [first, second])), 0.7)
        slow.apply(gradients[:1], [first])
        fast.apply(gradients[1:], [second])
        return {"loss": loss, "norm": norm}

    state = {"first": first, "second": second, "slow": slow, "fast": fast}
    return trained(workers, directory, steps, kill, step, state, data_of(23))


def adversarial(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """Two networks against each other, with a metric of the one that makes things up."""
    dense = keras.layers.Dense
    maker = keras.Sequential([keras.Input([2]), dense(4, "tanh"), dense(3)])
    judge = keras.Sequential([keras.Input([3]), dense(4, "tanh"), dense(1)])
    of_maker, of_judge = keras.optimizers.Adam(0.01, name="of_maker"), keras.optimizers.Adam(0.02, name="of_judge")
    of_maker.build(maker.trainable_variables)
    of_judge.build(judge.trainable_variables)
    told, right = keras.metrics.Mean(name="told"), keras.metrics.BinaryAccuracy(name="right", threshold=0.0)
    cross = keras.losses.BinaryCrossentropy(from_logits=True)

    def step(batch: tuple) -> dict:
        real, noise = batch
        with tf.GradientTape(persistent=True) as tape:
            made = maker(noise, training=True)
            of_real, of_made = judge(real, training=True), judge(made, training=True)
            seen = cross(tf.ones_like(of_real), of_real) + cross(tf.zeros_like(of_made), of_made)
            fooled = cross(tf.ones_like(of_made), of_made)
        of_judge.apply(average(tape.gradient(seen, judge.trainable_variables)), judge.trainable_variables)
        of_maker.apply(average(tape.gradient(fooled, maker.trainable_variables)), maker.trainable_variables)
        told.update_state(fooled)
        right.update_state(tf.ones_like(of_made), of_made)
        return {"judge_loss": seen, "maker_loss": fooled}

    data = ArrayData((rows(23)[0], rows(23, 2)[0]), batch_size=4, seed=3)
    state = {"maker": maker, "judge": judge, "of_maker": of_maker, "of_judge": of_judge}
    measured = Step(step, metrics={"told": told, "right": right})
    return trained(workers, directory, steps, kill, measured, state, data)


def one_weightless(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """Sample weights that are zero for all rows of the first worker, in each batch, and a mean over what is left."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.05)
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    train_step, eval_step = loop.supervised(model, optimizer, loss, metrics=["mae"], weighted_metrics=["mape"])
    weights = np.tile(np.array([0, 0, 0, 1, 2, 3], "float32"), 4)
    data = ArrayData((*rows(24), weights), batch_size=6, shuffle=False)
    evaluation = Evaluation(eval_step, ArrayData((*rows(2), weights[:2]), batch_size=4, shuffle=False))  # of no weight
    state = {"model": model, "optimizer": optimizer}
    return trained(workers, directory, steps, kill, train_step, state, data, evaluate=evaluation)


def made_by_python(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A generator of Python, of which nobody knows how long it is, shuffled."""
    x, y = rows(23)

    def numbers() -> Iterator[int]:
        yield from range(23)

    kinds = tf.TensorSpec([], tf.int32)
    dataset = tf.data.Dataset.from_generator(numbers, output_signature=kinds).shuffle(8)
    dataset = dataset.map(lambda i: (tf.gather(x, i), tf.gather(y, i))).batch(4)
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.05)
    train_step, _ = loop.supervised(model, optimizer, "mse", accumulate=2)
    state = {"model": model, "optimizer": optimizer}
    return trained(workers, directory, steps, kill, train_step, state, StreamData(dataset))


class Counting(keras.utils.PyDataset):
    """Batches that are other ones in each epoch, because the source counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        return tuple(each[4 * number : 4 * number + 4] * (1 + 0.1 * self.epochs) for each in rows(23))

    def on_epoch_end(self) -> None:
        self.epochs += 1


def counted_by_its_data(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A `PyDataset` that counts epochs."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.RMSprop(0.01)
    train_step, _ = loop.supervised(model, optimizer, "huber")
    state = {"model": model, "optimizer": optimizer}
    return trained(workers, directory, steps, kill, train_step, state, Counting())


def guarded(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A batch that is left out, because the loss is too large there; each time that it comes, the run goes back."""
    x, y = rows(23)
    y[4] += 100.0
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.Adam(0.05)
    train_step, _ = loop.supervised(model, optimizer, "mse")
    state, guard = {"model": model, "optimizer": optimizer}, NaNGuard("rollback", limits={"loss": 500.0})
    data = ArrayData((x, y), batch_size=4, seed=3)
    return trained(workers, directory, steps, kill, train_step, state, data, hooks=[guard], saves=1)


def slowed_down(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A rate that falls where nothing gets better, by an evaluation of fewer rows than there are workers."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.3)
    train_step, eval_step = loop.supervised(model, optimizer, "mse", metrics=["mae", keras.metrics.R2Score()])
    hooks = [
        ReduceLROnPlateau("val_loss", mode="min", factor=0.5, patience=1),
        EarlyStopping("val_mae", mode="min", patience=50, restore_best="weights"),
    ]
    evaluation = Evaluation(eval_step, data_of(2))
    state = {"model": model, "optimizer": optimizer}
    arguments = workers, directory, steps, kill, train_step, state, data_of(23)
    return trained(*arguments, hooks=hooks, evaluate=evaluation, every=2)


def exported(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """Averages of the weights, evaluated in their place, and the best exported."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.Adam(0.05)
    train_step, eval_step = loop.supervised(model, optimizer, "mse")
    means = WeightAverage(0.8, every=Every(steps=1))
    best = {"on": "best", "monitor": "means_loss", "mode": "min", "format": "weights"}
    evaluations = [
        Evaluation(eval_step, data_of(7), every=Every(steps=4)),
        Evaluation(eval_step, data_of(7), name="means", within=means.exchanged, every=Every(steps=3)),
    ]
    state, hooks = {"model": model, "optimizer": optimizer}, [means, Export(Path(directory) / "best", model, **best)]
    arguments = workers, directory, steps, kill, train_step, state, data_of(23)
    return trained(*arguments, hooks=hooks, evaluate=evaluations)


def searched(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A search for a rate, before anything is restored, and one more evaluation."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.05)
    train_step, eval_step = loop.supervised(model, optimizer, "mse", metrics=["mae"])

    def search(made: Loop) -> list[object]:
        tried = find_learning_rate(made, lowest=1e-3, highest=1.0, steps=13)
        return [[*tried.losses], [*made.evaluate().values()]]

    evaluation, state = Evaluation(eval_step, data_of(7)), {"model": model, "optimizer": optimizer}
    arguments = workers, directory, steps, kill, train_step, state, data_of(23)
    return trained(*arguments, evaluate=evaluation, before=search)


class Remembering(Hook):
    """Keeps losses in Python, and sets the rate by how many there are."""

    every = Every(steps=2)

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        super().__init__()
        self._losses: list[float] = []
        self._optimizer = optimizer

    def on_step_end(self, moment: loop.Moment) -> None:
        self._losses.append(moment.logs["loss"])
        self._optimizer.learning_rate.assign(0.1 / len(self._losses))

    def get_state(self) -> dict:
        return {"losses": self._losses[-20:]}

    def set_state(self, state: dict) -> None:
        self._losses = state["losses"]


def remembered(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """A hook that has a state in Python."""
    model, optimizer = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]), keras.optimizers.SGD(0.05)
    train_step, _ = loop.supervised(model, optimizer, "mse")
    state, hooks = {"model": model, "optimizer": optimizer}, [Remembering(optimizer)]
    return trained(workers, directory, steps, kill, train_step, state, data_of(23), hooks=hooks)


class OfItself(keras.callbacks.Callback):
    """Sets the rate by what an epoch was like."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.model.optimizer.learning_rate = 0.05 / (1 + epoch)


def called_back(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """Callbacks of Keras, of a compiled model whose optimizer scales the loss."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05, momentum=0.9), dynamic_growth_steps=3)
    model.compile(scaling, "mse", metrics=["mae"], weighted_metrics=["mse"], jit_compile=False)
    train_step, eval_step = loop.keras_steps(model)
    hooks = [OfItself(), keras.callbacks.EarlyStopping("val_loss", patience=30, restore_best_weights=True)]
    evaluation = Evaluation(eval_step, data_of(1))
    arguments = workers, directory, steps, kill, train_step, {"model": model}, data_of(23)
    return trained(*arguments, hooks=hooks, evaluate=evaluation, every=3)


def read_by_number(workers: Workers, directory: str, steps: str, kill: str = "") -> dict:
    """Items by their numbers, and a metric that is a mean by weights of its own."""
    arrays, weighted = rows(23), keras.metrics.Mean(name="weighted")
    data = IndexedData([tuple(each[i] for each in arrays) for i in range(23)], batch_size=5, seed=3)
    weights, optimizer = tf.Variable(tf.zeros([3, 1]), name="weights"), keras.optimizers.Adagrad(0.1)
    optimizer.build([weights])

    def step(batch: tuple) -> dict:
        x, y = batch
        with tf.GradientTape() as tape:
            each = tf.square(x @ weights - y)
            loss = tf.reduce_mean(each)
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        weighted.update_state(each, sample_weight=tf.nn.relu(x[:, :1]))
        return {"loss": loss}

    state = {"weights": weights, "optimizer": optimizer}
    return trained(workers, directory, steps, kill, Step(step, metrics={"weighted": weighted}), state, data)


CASES: dict[str, Callable[..., dict]] = {
    each.__name__: each
    for each in (
        *(two_optimizers, adversarial, one_weightless, made_by_python, counted_by_its_data, guarded, slowed_down),
        *(exported, searched, remembered, called_back, read_by_number),
    )
}
