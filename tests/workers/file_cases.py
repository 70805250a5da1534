"""What several processes do in tests that read files of their own: as in `worker_cases`."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from worker_cases import Items, Marks, Steps, found
from worker_cases import rows as arrays

import loop
from hooks import Checkpoint, Preemption
from loop import Evaluation, Every, Hook, IndexedData, Loop, Moment, Step, StreamData, average, total

LENGTHS = (7, 2, 5, 1, 4)  # of the files, in rows
ROWS = sum(LENGTHS)
Workers = loop.workers.cluster.Workers


def write(directory: Path) -> str:
    """Writes files of unequal lengths, in which each row has a number; returns where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    numbers = iter(range(ROWS))
    for i, length in enumerate(LENGTHS):
        (directory / f"{i}.txt").write_text("".join(f"{next(numbers)}\n" for _ in range(length)))
    return str(directory)


def names(directory: str) -> tf.data.Dataset:
    return tf.data.Dataset.list_files(f"{directory}/*.txt", shuffle=False)


def rows(directory: str, seed: int = 3) -> tf.data.Dataset:
    """Returns the rows in a shuffled order, each with two numbers."""
    read = names(directory).shuffle(10, seed=seed).interleave(tf.data.TextLineDataset, cycle_length=2)
    numbers = read.shuffle(4, seed=5).map(lambda line: tf.strings.to_number(line, tf.int32))
    return numbers.map(lambda n: (n, tf.sin([tf.cast(n, tf.float32), 2.0 * tf.cast(n, tf.float32)])))


def drawn(directory: str) -> tf.data.Dataset:
    """Returns the same with two numbers that are drawn."""
    draws = keras.random.SeedGenerator(11)
    return rows(directory).map(lambda n, x: (n, x + keras.random.uniform([2], seed=draws)))


def ragged(directory: str) -> tf.data.Dataset:
    """Returns the same as ragged tensors, which are made dense in the step."""
    return rows(directory).map(lambda n, x: (n, tf.RaggedTensor.from_tensor([x])[0]))


def numbered(written: str) -> tuple[Step, dict]:
    """Returns a step with one variable, which writes down the rows of this worker, and its state."""
    weights = tf.Variable(tf.zeros([2, 1]), name="weights")
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build([weights])

    def write_down(numbers: np.ndarray) -> np.int32:
        with Path(written).open("a") as out:
            print(json.dumps(numbers.tolist()), file=out)
        return np.int32(0)

    def step(batch: tuple) -> dict:
        numbers, x = batch
        none = tf.ensure_shape(tf.numpy_function(write_down, [numbers], tf.int32, stateful=False), [])
        wanted = tf.cast(numbers + none, tf.float32)[:, tf.newaxis] / ROWS
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(x @ weights - wanted))
        optimizer.apply(average(tape.gradient(loss, [weights])), [weights])
        return {"loss": loss, "number": tf.reduce_mean(tf.cast(numbers, tf.float32)), "rows": total(tf.size(numbers))}

    return Step(step), {"weights": weights, "optimizer": optimizer}


def data_of(kind: str, files: str, shard: str) -> StreamData:
    given = {
        "rows": lambda: rows(files).batch(2),
        "even": lambda: rows(files).batch(2, drop_remainder=True),
        "drawn": lambda: drawn(files).batch(2),
        "endless": lambda: rows(files).batch(2).repeat(),
        "by epoch": lambda: lambda epoch: rows(files, seed=epoch).batch(2),
        "plain": lambda: names(files).flat_map(tf.data.TextLineDataset).map(parsed).batch(2),
    }[kind]()
    steps = 5 if kind == "endless" else None
    return StreamData(given, shard="files" if shard else None, steps_per_epoch=steps)


def parsed(line: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    number = tf.strings.to_number(line)
    return tf.cast(number, tf.int32), tf.stack([number, 1.0]) / ROWS


def filed(
    workers: Workers, kind: str, files: str, directory: str, steps: str, every: str = "1000", slow: str = "0",
    shard: str = "files",
) -> dict:  # fmt: skip
    """Trains on files, saved now and then; goes on where it was."""
    written = f"{directory}-rows-{workers.rank}"
    step, state = numbered(written)
    listening = Steps()
    hooks = [Checkpoint(directory, Every(steps=int(every))), Preemption(), Marks(1, float(slow)), listening]
    trained = Loop(step, data_of(kind, files, shard), state=state, hooks=hooks)
    result = found(trained, listening, trained.run(steps=int(steps)))
    rows_of_steps = [json.loads(line) for line in Path(written).read_text().splitlines()]
    return {**result, "written": rows_of_steps, "weights": state["weights"].numpy().ravel().tolist()}


def dying_filed(workers: Workers, directory: str, steps: str, files: str) -> dict:
    """Trains on files, evaluated with items that are read in Python, as `worker_cases.dying` does on arrays."""
    step, state = numbered(f"{directory}-rows-{workers.rank}")
    items = IndexedData(Items(arrays(7, 2), is_evaluated=True), batch_size=4, shuffle=False)
    evaluation = Evaluation(lambda batch: {"error": tf.reduce_mean(batch[0] @ state["weights"] - batch[1])}, items)
    hooks = [Checkpoint(directory, Every(steps=4)), Preemption(), listening := Steps()]
    data = data_of("drawn", files, "files")
    trained = Loop(step, data, state=state, evaluate=evaluation, eval_every=Every(steps=8), hooks=hooks)
    return found(trained, listening, trained.run(steps=int(steps)))


class Back(Hook):
    """Rolls a run back once, after a step."""

    every = Every(steps=8)

    def __init__(self, trained: list[Loop]) -> None:
        super().__init__()
        self._trained, self._done = trained, False

    def on_step_end(self, moment: Moment) -> None:
        if not self._done:
            self._done = True
            self._trained[0].roll_back("once")


def looked_at(workers: Workers, files: str, directory: str, steps: str, *what: str) -> dict:
    """Trains with an evaluation on files, too, of which some may be rolled back, and rehearses a bit first."""
    step, state = numbered(f"{directory}-rows-{workers.rank}")
    listening, trained = Steps(), list[Loop]()

    def look(batch: tuple) -> dict:
        numbers, x = batch
        return {"error": tf.reduce_mean(x @ state["weights"]), "number": tf.reduce_mean(tf.cast(numbers, tf.float32))}

    evaluation = Evaluation(look, StreamData(rows(files).batch(3), shard="files"))
    hooks = [Checkpoint(directory, Every(steps=3)), listening, *([Back(trained)] if "back" in what else [])]
    trained.append(
        Loop(step, data_of("rows", files, "files"), state=state, evaluate=evaluation, eval_every=Every(steps=4),
             hooks=hooks)
    )  # fmt: skip
    if "rehearse" in what:
        with trained[0].rehearse() as rehearsal:
            while rehearsal.steps < 9:
                rehearsal.train(4)
    return found(trained[0], listening, trained[0].run(steps=int(steps)))


def refused(workers: Workers, files: str) -> dict:
    """A step whose batches are numbers, and fewer files than workers."""
    said = []
    for dataset in (rows(files), names(files).take(1).interleave(tf.data.TextLineDataset).batch(2)):
        try:
            Loop(lambda batch: {"rows": tf.constant(0.0)}, StreamData(dataset, shard="files"), state={})
        except ValueError as error:
            said.append(str(error))
    return {"said": said}


CASES: dict[str, Callable[..., dict]] = {each.__name__: each for each in (filed, dying_filed, looked_at, refused)}
