"""Batches of a stream that are fetched for XLA in a thread: which has it, and what is lost if it cannot be had."""

import collections
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import tensorflow as tf
from places import environment

from loop import ArrayData, At, Hook, Loop, Moment, StreamData
from loop.data.blocks import LENGTH
from loop.data.coerce import Given
from loop.engine.ways.cut import Cut

ROWS = 24
Dataset = tf.data.Dataset


class Noted(Hook):
    """Notes what each step was given."""

    every = At(12)

    def __init__(self) -> None:
        super().__init__()
        self.given = list[float]()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        self.given += values["x"].tolist()


def make_loop(data: Given, *hooks: Hook) -> Loop:
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"w": w.assign(0.5 * w + tf.reduce_sum(x)), "x": tf.reduce_sum(x)}

    return Loop(step, data, state={"w": w}, hooks=hooks, jit_compile=True)


def numbers() -> Dataset:
    return Dataset.range(ROWS).map(lambda x: tf.cast(x, tf.float32))


@pytest.fixture
def long_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has blocks be of many batches, however slow the machine is."""
    monkeypatch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", 5))


@pytest.mark.more
@pytest.mark.usefixtures("long_cuts")
def test_a_generator_may_run_a_loop_of_its_own() -> None:
    inner, steps = make_loop(numbers().batch(1)), list[int]()
    inner.audit()

    def rows() -> Iterator[float]:
        for i in range(8):
            if i == 5 and loop.running and loop.step:
                steps.append(inner.run(steps=4).step)  # for good, if both waited for one thread
            yield float(i)

    data = Dataset.from_generator(rows, output_signature=tf.TensorSpec([]))
    loop = make_loop(StreamData(data, resume="replay"), noted := Noted())
    loop.run(epochs=1)
    assert (steps, noted.given) == ([4], [*range(8)])


@pytest.mark.usefixtures("long_cuts")
def test_batches_are_none_the_fewer_where_a_thread_can_be_made_only_later(monkeypatch: pytest.MonkeyPatch) -> None:
    class MoreThreads(Hook):
        every = At(7)

        def on_step_end(self, moment: Moment) -> None:
            monkeypatch.setattr(threading.Thread, "start", start)

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    start, noted = threading.Thread.start, Noted()
    loop = make_loop(numbers(), noted, MoreThreads())
    loop.audit()
    monkeypatch.setattr(threading.Thread, "start", none_left)
    loop.run(epochs=1)
    assert noted.given == [*range(ROWS)]


@pytest.mark.more
def test_an_interrupt_leaves_nobody_reading_and_takes_no_longer_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", LENGTH))
    read, reads, pause = list[int](), False, threading.Event()

    def rows() -> Iterator[float]:
        nonlocal reads
        for i in range(1000):
            reads = True
            if loop.running:
                read.append(i)
                if i == 20:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                pause.wait(0.02 if i >= 20 else 0.0)  # time enough for the interrupt
            reads = False
            yield float(i)

    data = Dataset.from_generator(rows, output_signature=tf.TensorSpec([]))
    loop = make_loop(StreamData(data, resume="replay", steps_per_epoch=None))
    loop.audit()
    with pytest.raises(KeyboardInterrupt):
        loop.run(epochs=1)
    assert not reads
    assert 20 in read
    assert len(read) < LENGTH


@pytest.mark.more
def test_how_long_a_call_may_be_is_learned_of_each_shape_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_of = collections.Counter[Cut]()

    def took(cut: Cut, steps: int, seconds: float) -> None:
        steps_of[cut] += steps
        cut.length = 5

    monkeypatch.setattr(Cut, "took", took)
    lengths = Dataset.range(64).map(lambda i: tf.ones([1 + i // 40]))
    make_loop(lengths).run(epochs=1)
    assert [*steps_of.values()] == [40, 24]


@pytest.mark.more
def test_a_shape_that_is_first_seen_in_mid_run_is_traced_as_the_others_were() -> None:
    w, noted = tf.Variable(0.0), Noted()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        random.random()  # as an initializer does that is made in a step
        return {"w": w.assign_add(tf.reduce_sum(x)), "x": Hook.step_number()}

    lengths = Dataset.range(12).map(lambda i: tf.ones([1 + i // 6]))
    loop = Loop(step, lengths, state={"w": w}, hooks=[noted], jit_compile=True)
    loop.audit()
    before = random.getstate()
    loop.run(epochs=1)
    assert noted.given == [*range(1, 13)]
    assert random.getstate() == before


def ways() -> dict[str, str]:
    """Returns what XLA makes of each way to read batches."""
    made: dict[str, Given] = {
        "arrays": ArrayData(np.arange(11, dtype=np.float32), batch_size=4, seed=1),
        "stream": numbers().batch(5, drop_remainder=True),
        "of unknown length": numbers().filter(lambda x: x < 20).batch(3),
        "lengths": Dataset.range(12).map(lambda i: tf.ones([1 + i // 3 % 3]) * tf.cast(i, tf.float32)),
    }
    found = {}
    for name, data in made.items():
        loop = make_loop(data, hook := Noted())
        loop.run(epochs=2)
        found[name] = f"{hook.given} {float(loop.state.variables['w']).hex()}"
    return found


MODES = {"numpy": "by NumPy's rules", "async": "where operations are only begun when they return"}


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits_in_each_mode_of_tensorflow(mode: str) -> None:
    command = [sys.executable, __file__, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    print(done.stderr[-3000:])
    assert done.stdout.strip() == str(ways())


if __name__ == "__main__":  # a mode is for good, and so for a process of its own
    if sys.argv[1] == "numpy":
        tf.experimental.numpy.experimental_enable_numpy_behavior()
    else:
        tf.config.experimental.set_synchronous_execution(False)
    print(ways())
