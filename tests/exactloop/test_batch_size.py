"""find_batch_size: which sizes it tries, where it ends, and that random states are put back."""

import random
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from exactloop import find_batch_size, find_learning_rate
from loop import ArrayData, Hook, Loop, Moment
from loop.workers import cluster


class Fails(Hook):
    def on_setup(self, loop: Loop, moment: Moment) -> None:
        raise AssertionError("no hook is called")


def maker(made: list[int], *, rows: int = 64, too_large: int = 99) -> Callable[[int], Loop]:
    def make(size: int) -> Loop:
        made.append(size)
        random.random()
        np.random.random()
        w = tf.Variable(0.0)

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"loss": w.assign_add(tf.reduce_sum(x))}

        if size >= too_large:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        data = ArrayData(np.ones([rows, 1], np.float32), batch_size=size, seed=1)
        return Loop(step, data, state={"w": w}, hooks=[Fails()])

    return make


def test_sizes_are_doubled_until_memory_is_not_enough_and_nothing_is_left() -> None:
    made: list[int] = []
    ticks = iter(range(0, 100))
    states = random.getstate(), np.random.get_state()[1].tolist()
    found = find_batch_size(maker(made, too_large=8), smallest=2, steps=2, clock=lambda: float(next(ticks)))
    assert made == [2, 4, 8]
    assert found == ({2: 0.5, 4: 0.5}, 8, 4, 4)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_it_ends_where_a_batch_is_an_epoch_and_at_the_largest() -> None:
    made: list[int] = []
    assert find_batch_size(maker(made, rows=6), smallest=4, steps=1).failed is None
    assert made == [4, 8]
    assert find_batch_size(maker(made), smallest=4, largest=4, steps=1).largest == 4
    assert find_batch_size(maker(made, too_large=1), steps=1) == ({}, 1, None, None)


def test_what_makes_no_loops_is_refused_with_what_to_write() -> None:
    for given, received in [(keras.layers.Dense(1), "Dense"), (maker([])(1), "Loop"), (Loop, "type")]:
        with pytest.raises(
            TypeError, match=rf"needs a function from a batch size to a Loop. Received: {received}. Write"
        ):
            find_batch_size(given)  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"and make_loop\(1\) has returned something else. Received: NoneType. Write def"
    ):
        find_batch_size(lambda size: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"find_learning_rate\(loop\) needs a Loop. Received: Dense. Write"):
        find_learning_rate(keras.layers.Dense(1))  # type: ignore[arg-type]


def test_other_errors_come_out() -> None:
    with pytest.raises(ValueError, match=r"needs 1 <= smallest <= largest"):
        find_batch_size(maker([]), smallest=0)

    def broken(size: int) -> Loop:
        raise KeyError("x")

    with pytest.raises(KeyError):
        find_batch_size(broken)


def test_one_of_several_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(cluster, "_here", [cluster.Workers(1, ("10.0.0.1:1", "10.0.0.2:1"))])
    with pytest.raises(RuntimeError, match=r"Received: a loop of 2 workers.*batch_size is 2 times"):
        find_batch_size(maker(made), smallest=2)
    assert made == [2]
