"""Pipelines that are made anew, in a training: what is said of them, what they may see, and what may be changed."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from cuts import counting, run, same

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Event, Every, InexactRun, Loop, Moment, StreamData
from loop.exact.pipeline_hash import described
from loop.rebuilt.pipeline import ByPass

Dataset = tf.data.Dataset


def numbers(generator: Callable[[], Iterator[float]]) -> Dataset:
    return Dataset.from_generator(generator, output_signature=tf.TensorSpec([1], tf.float32))


def network(w: tf.Variable, *, reads: bool) -> StreamData:
    """Returns batches of a generator that has what is trained at hand, and reads it or does not."""

    def generator() -> Iterator[np.ndarray]:
        for n in range(1, 100):
            value = float(w) if reads else 0.0
            yield np.array([n + value], "float32")

    return StreamData(numbers(generator), steps_per_epoch=4)


def test_a_generator_that_reads_what_is_trained_is_refused_before_the_first_step() -> None:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    loop = Loop(counting(w), network(w, reads=True), state={"w": w})
    with pytest.raises(InexactRun, match="read a variable that a step changes, in Python") as refused:
        loop.run(steps=10)
    assert "StatefulData(source)" in str(refused.value)
    assert (loop.step, float(w)) == (0, 0.0)


@pytest.mark.more
def test_one_that_could_read_it_and_does_not_runs() -> None:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    assert Loop(counting(w), network(w, reads=False), state={"w": w}).run(steps=6).step == 6


@pytest.mark.long
def test_one_that_could_read_it_and_does_not_is_resumed_exactly(tmp_path: Path) -> None:
    same(lambda w: network(w, reads=False), tmp_path, [2, 5])


@pytest.mark.more
def test_one_that_reads_what_nobody_trains_runs() -> None:
    w, frozen = tf.Variable(0.0, dtype=tf.float64, name="w"), tf.Variable(3.0, name="frozen")
    loop = Loop(counting(w), network(frozen, reads=True), state={"w": w})
    assert loop.run(epochs=1).logs["x"] == np.mean([4.0, 5.0, 6.0, 7.0])


@pytest.mark.more
@pytest.mark.parametrize("kind", ["behind a cache", "py_function", "numpy_function"])
def test_other_python_that_reads_what_is_trained_is_refused(kind: str) -> None:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")

    def read(x: object) -> np.float64:
        return np.float64(float(x) + float(w))

    call = tf.py_function if kind == "py_function" else tf.numpy_function
    data = Dataset.range(8).map(lambda x: tf.ensure_shape(call(read, [x], tf.float64), []))
    loop = Loop(counting(w), data.cache() if kind == "behind a cache" else data, state={"w": w})
    with pytest.raises(InexactRun, match="read a variable that a step changes, in Python"):
        loop.run(epochs=1)


def loop_over(data: object, evaluated: object) -> Loop:
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    evaluation = Evaluation(lambda batch: {"x": tf.reduce_sum(batch)}, evaluated)  # type: ignore[arg-type]
    return Loop(counting(w), data, state={"w": w}, evaluate=evaluation)  # type: ignore[arg-type]


@pytest.mark.more
def test_what_is_made_anew_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = Dataset.range(6).shuffle(6).map(lambda x: tf.cast(x, tf.float32) + tf.random.uniform([])).repeat(2)
    loop = loop_over(rows, Dataset.range(6).shuffle(6, seed=1).map(lambda x: x + 1))
    said = (
        "training: random numbers in functions: of the seed, the pass and the element (1)\n"
        "training: repeat: each repetition as a pass (1)\n"
        "training: shuffle: the order of the seed and the pass (1)\n"
        "val: shuffle: the order of the seed and the pass (1)"
    )
    assert loop.describe_data() == said
    with caplog.at_level(logging.INFO, "exactloop"):
        loop.run(epochs=1)
    (line,) = [
        record.getMessage() for record in caplog.records if "training data can be resumed" in record.getMessage()
    ]
    assert line == (
        "The training data can be resumed exactly, because these are made anew: random numbers in functions: of the "
        "seed, the pass and the element (1); repeat: each repetition as a pass (1); shuffle: the order of the seed and "
        "the pass (1)."
    )
    assert loop.describe_data() == said


def test_an_evaluation_may_have_any_name_beside_the_training() -> None:
    rows = Dataset.range(6).shuffle(6, seed=1)
    evaluation = Evaluation(lambda x: {"x": x}, rows, name="training")
    line = "training: shuffle: the order of the seed and the pass (1)"
    loop = Loop(lambda x: {"x": x}, rows, state={}, evaluate=evaluation)
    assert loop.describe_data() == f"{line}\n{line}"


def test_nothing_is_said_of_what_is_read_as_it_was_written(caplog: pytest.LogCaptureFixture) -> None:
    loop = loop_over(Dataset.range(6).map(lambda x: x + 1).prefetch(2), ArrayData(tf.range(6), batch_size=2))
    with caplog.at_level(logging.INFO, "exactloop"):
        loop.run(epochs=1)
    assert loop.describe_data() == "The data are read as they were written."
    assert not [record for record in caplog.records if "made anew" in record.getMessage()]


def test_no_validation_example_is_ever_trained_on(tmp_path: Path) -> None:
    def life(steps: int) -> tuple[list[int], set[int]]:
        tf.random.set_seed(1)
        rows = Dataset.range(12).shuffle(12, seed=7, reshuffle_each_iteration=False)
        trained = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False, name="trained")

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            trained.assign(tf.concat([trained, batch], axis=0))
            return {"x": tf.size(batch)}

        def eval_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"bits": tf.reduce_sum(2 * tf.bitwise.left_shift(tf.ones_like(batch), batch))}

        data, held_out = rows.skip(4).shuffle(8).batch(2), rows.take(4).shuffle(4).batch(2)
        evaluate = Evaluation(eval_step, held_out)
        hooks = [Checkpoint(tmp_path, Every(steps=1), background=False)]
        loop = Loop(step, data, state={"trained": trained}, evaluate=evaluate, hooks=hooks)
        loop.run(steps=steps)
        bits = int(loop.evaluate()["val_bits"])
        return trained.numpy().tolist(), {i for i in range(12) if bits >> i & 1}

    lives = [life(steps) for steps in (3, 6, 12)]
    trained, validated = lives[-1]
    epochs = [trained[i : i + 8] for i in (0, 8, 16)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(epochs[0])] * 3
    assert epochs[0] != epochs[1]
    assert [each for _, each in lives] == [validated] * 3
    assert validated == {*range(12)} - {*trained}


def written(ahead: int | None) -> Dataset:
    """Returns a pipeline that reads ahead in one way or another, which changes nothing of what it yields."""

    def prefetched(rows: Dataset) -> Dataset:
        return rows if ahead is None else rows.prefetch(ahead)

    rows = prefetched(Dataset.range(10)).shuffle(10, seed=1)
    noisy = prefetched(rows).map(lambda x: tf.cast(x, tf.float32) + tf.random.uniform([], seed=2))
    both = Dataset.zip(prefetched(noisy), Dataset.range(10).shuffle(10, seed=3))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 2
    made = prefetched(both.batch(2))
    return made if ahead == 1 else made.with_options(options)


@pytest.mark.more
def test_reading_ahead_changes_nothing_of_what_is_made() -> None:
    datasets = [written(ahead) for ahead in (1, None)]
    assert described(datasets[0]) == described(datasets[1])
    passes = [[repr(batch) for batch in ByPass(each).of(7, 1).as_numpy_iterator()] for each in datasets]
    assert passes[0] == passes[1]


@pytest.mark.long
def test_a_run_goes_on_with_the_same_batches_though_it_reads_ahead_otherwise(tmp_path: Path) -> None:
    whole = run(lambda w: StreamData(written(1), resume="replay"), tmp_path / "whole", [12])
    lives = iter((1, None, 4))
    cut = run(lambda w: StreamData(written(next(lives)), resume="replay"), tmp_path / "cut", [3, 5, 12])
    assert cut == whole


@pytest.mark.parametrize("shuffled", [False, pytest.param(True, marks=pytest.mark.long)])
def test_hooks_that_draw_and_a_pipeline_in_which_python_draws_have_nothing_to_do_with_each_other(
    shuffled: bool,
) -> None:
    def drawn(x: np.ndarray) -> np.ndarray:
        first = np.random.random()
        time.sleep(0.001)  # lets others run
        return first + np.random.random()

    def train() -> tuple[list[float], list[float]]:
        np.random.seed(1)
        numbers, noise = list[float](), list[float]()
        rows = Dataset.range(30).map(lambda x: tf.numpy_function(drawn, [x], tf.float64), num_parallel_calls=2)
        rows = rows.map(lambda x: tf.ensure_shape(x, []), num_parallel_calls=2).prefetch(8)
        data = StreamData(lambda epoch: rows.shuffle(2, seed=epoch)) if shuffled else rows
        loop = Loop(lambda x: {"x": x}, data, state={})

        @loop.on(Event.STEP_END, every=Every(steps=1))
        def draw(moment: Moment) -> None:
            noise.append(np.random.random())
            numbers.append(moment.logs["x"])
            time.sleep(0.001)

        loop.run(epochs=1)
        return numbers, noise

    expected = np.random.RandomState(1).random_sample(30).tolist()
    first, second = train(), train()
    assert first == second
    assert first[1] == expected


@pytest.mark.more
def test_scalars_that_python_makes_come_through() -> None:
    rows = Dataset.range(4).map(lambda x: tf.py_function(lambda y: y + 1, [x], tf.int64))  # of unknown rank
    loop = Loop(lambda x: {"x": tf.reshape(tf.cast(x, tf.float32), [])}, rows, state={})
    assert loop.run(epochs=1).logs["x"] == 2.5
