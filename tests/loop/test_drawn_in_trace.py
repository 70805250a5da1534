"""A step that has in it, once, what is other in each process is refused before the first step, and no other one is."""

import datetime
import itertools
import random
import time
import uuid
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.random import default_rng
from tensorflow.python.framework.config import disable_op_determinism

from loop import ArrayData, Loop

DRAWS, OTHER = "draws from Python's or NumPy's", "has in it what is other in each process"


class Settings(dict[str, float]):
    """What raises KeyError for attributes that it does not have, as in many programs."""

    __getattr__ = dict.__getitem__


class Trainer:
    """Draws from generators of its own while it is traced, and takes the time that this takes."""

    def __init__(self, **generators: object) -> None:
        self.held, self.rate, self.took, self.numbers = generators, Settings(rate=1.0), 0.0, list[float]()

    def give(self) -> float:
        began = time.perf_counter()
        self.numbers.append(sum(each.random() for each in self.held.values()))  # type: ignore[attr-defined]
        self.took = time.perf_counter() - began
        return self.numbers[-1] * self.rate.rate * len(self.numbers)

    @tf.function
    def give_compiled(self) -> tf.Tensor:
        self.ended = datetime.datetime.now()
        return tf.constant(self.give())


TRAINER = Trainer(mine=np.random.default_rng(1))  # kept: its methods that are a `tf.function` do not keep it
numbers, seeded_one, unseeded_one = itertools.count(), np.random.default_rng(1), np.random.default_rng()
GIVEN: dict[str, tuple[Callable[[], float | tf.Tensor], str, str]] = {  # and what is said without a seed, and with one
    "a clock": (lambda: time.perf_counter_ns() % 2**24, OTHER, OTHER),  # in float32, which holds no more
    "a module's clock": (lambda: datetime.datetime.now().microsecond, OTHER, OTHER),
    "the system": (lambda: uuid.uuid4().int % 1009, OTHER, OTHER),
    "a generator without a seed": (lambda: np.random.default_rng().random(), OTHER, OTHER),
    "the same by its name": (lambda: default_rng().random(), OTHER, OTHER),
    "a generator with one": (lambda: np.random.default_rng(1).random(), "", ""),
    "the process's numbers": (random.random, DRAWS, ""),
    "NumPy's numbers": (lambda: np.random.rand(), DRAWS, ""),
    "their names alone": (lambda: 1.0 if random.random else 2.0, "", ""),
    "a day": (lambda: datetime.date(2020, 1, 2).day, "", ""),
    # What a program counts or draws goes on when it is traced again, but in each process as in this one.
    "a generator that is held": (lambda: seeded_one.random() + 0 * time.time(), "", ""),
    "one that is held and has no seed": (lambda: unseeded_one.random(), OTHER, OTHER),
    "a count": (lambda: next(numbers) + 0 * time.time(), "", ""),
    "a trainer": (Trainer(mine=np.random.default_rng(1), yours=random.Random(1)).give, "", ""),
    "a trainer's tf.function": (TRAINER.give_compiled, "", ""),
    "a trainer without a seed": (Trainer(mine=np.random.default_rng()).give, OTHER, OTHER),
}


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    disable_op_determinism()
    tf.random.set_seed(None)
    yield
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()


@pytest.mark.parametrize("is_seeded", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_what_another_process_would_trace_otherwise_is_found(name: str, is_seeded: bool) -> None:
    """It would refuse the checkpoint, after hours."""
    if is_seeded:
        keras.utils.set_random_seed(1)
    give, *said = GIVEN[name]
    weight = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"w": weight.assign_add(tf.reduce_mean(x) + tf.cast(give(), tf.float32))}

    loop = Loop(step, ArrayData(tf.range(4.0), batch_size=2, shuffle=False), state={"weight": weight})
    found = [finding.what for finding in loop.audit()]
    assert [said[is_seeded] in each for each in found] == ([True] if said[is_seeded] else [])
    if not found:  # to look has changed nothing that the step reads
        assert loop.run(epochs=1).step == 2
