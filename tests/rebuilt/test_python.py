"""What Python draws in a pipeline: the same again for a pass, others in each pass and element, and nobody else's."""

import random
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf

from loop.rebuilt import python
from loop.rebuilt.pipeline import ByPass
from loop.state.randomness import host

Dataset = tf.data.Dataset
MANY, SEED, OTHER = 60, 5_237_412_908_144, 8_812_700_355_017


def by_py_function(draw: Callable[[], float]) -> Dataset:
    return Dataset.range(MANY).map(lambda _: tf.py_function(draw, [], tf.float64))


def by_numpy_function(draw: Callable[[], float]) -> Dataset:
    return Dataset.range(MANY).map(lambda _: tf.numpy_function(draw, [], tf.float64), num_parallel_calls=3)


def in_flat_map(draw: Callable[[], float]) -> Dataset:
    def part(_: tf.Tensor) -> Dataset:
        return Dataset.range(MANY // 6).map(lambda _: tf.numpy_function(draw, [], tf.float64))

    return Dataset.range(6).flat_map(part)


def generated(draw: Callable[[], float]) -> Dataset:
    def generator() -> Iterator[float]:
        yield from (draw() for _ in range(MANY))

    return Dataset.from_generator(generator, output_signature=tf.TensorSpec([], tf.float64))


def generated_in_interleave(draw: Callable[[], float]) -> Dataset:
    def part(_: tf.Tensor) -> Dataset:
        return Dataset.from_generator(
            lambda: (draw() for _ in range(MANY // 4)), output_signature=tf.TensorSpec([], tf.float64)
        )

    return Dataset.range(4).interleave(part, cycle_length=2, num_parallel_calls=2)


def drawn_at_once() -> Iterator[float]:
    yield from np.random.normal(size=MANY)


PIPELINES = (by_py_function, by_numpy_function, in_flat_map, generated, generated_in_interleave)
DRAWS = (np.random.random, random.random)


@pytest.mark.parametrize("stateful", [True, False])
def test_a_function_that_draws_is_called_for_no_batch_that_nobody_wants(stateful: bool) -> None:
    calls, draws = list[int](), threading.Event()

    def call(x: int) -> np.ndarray:
        calls.append(x)
        return np.float64(x)

    rows = Dataset.range(MANY).map(lambda x: tf.numpy_function(call, [x], tf.float64, stateful=stateful)).batch(4)
    draws.set()
    next(iter(ByPass(rows, python_draws=draws).of(SEED, 0)))
    time.sleep(0.1)
    assert len(calls) == 4


def test_functions_are_told_in_the_order_in_which_they_were_made() -> None:
    def named(i: int) -> Callable[[int], int]:
        return lambda x: x + i

    for _ in range(4):  # one of them passes from a number of one digit to one of two, or from two to three
        functions = [named(i) for i in range(33)]
        dataset = Dataset.range(3)
        for function in functions:
            dataset = dataset.map(lambda x, function=function: tf.numpy_function(function, [x], tf.int64))
        assert [each for each in ByPass(dataset).python() if each in functions] == functions


def numbers(dataset: Dataset) -> list[float]:
    return [float(element) for element in dataset]


@pytest.mark.more
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("make", PIPELINES)
def test_draws_are_those_of_the_pass_and_the_element(
    make: Callable[[Callable[[], float]], Dataset], draw: Callable[[], float]
) -> None:
    by_pass, before = ByPass(make(draw)), host()
    assert not by_pass.varies  # nobody has seen it draw
    first, second, other = (numbers(by_pass.of(*which)) for which in ((SEED, 0), (SEED, 1), (OTHER, 0)))
    assert numbers(by_pass.of(SEED, 0)) == first
    assert len({*first, *second, *other}) == 3 * MANY
    assert abs(np.mean(first + second + other) - 0.5) < 5 * (12 * 3 * MANY) ** -0.5
    assert host() == before  # of the process
    assert by_pass.varies


def test_what_a_process_drew_before_does_not_matter() -> None:
    def passed(seed: int) -> list[float]:
        random.seed(seed)
        np.random.seed(seed)
        rows = Dataset.from_generator(drawn_at_once, output_signature=tf.TensorSpec([], tf.float64))
        return numbers(ByPass(rows.shuffle(MANY, seed=1)).of(SEED, 2))

    assert passed(1) == passed(2)
    assert len(set(passed(1))) == MANY


def test_calls_in_several_threads_do_not_draw_from_one_another() -> None:
    def slow(i: np.ndarray) -> np.ndarray:
        first = np.random.random()
        time.sleep(0.001)  # lets others run
        return np.array([first, np.random.random(), random.random()])

    def rows(threads: int) -> Dataset:
        return Dataset.range(MANY).map(lambda i: tf.numpy_function(slow, [i], tf.float64), num_parallel_calls=threads)

    found = [np.stack(list(ByPass(rows(threads)).of(SEED, 0).as_numpy_iterator())) for threads in (8, 1)]
    assert np.array_equal(*found)
    assert len(np.unique(found[0])) == 3 * MANY


def test_two_passes_of_a_generator_that_are_read_by_turns_are_as_if_read_alone() -> None:
    by_pass = ByPass(generated(random.random))
    alone = [numbers(by_pass.of(SEED, number)) for number in range(2)]
    by_turns = [
        (float(first), float(second)) for first, second in zip(by_pass.of(SEED, 0), by_pass.of(SEED, 1), strict=True)
    ]
    assert [*map(list, zip(*by_turns, strict=True))] == alone


def test_a_generator_that_seeds_the_process_gets_its_own_numbers_and_leaves_the_process_alone() -> None:
    def generator() -> Iterator[float]:
        random.seed(3)
        yield from (random.random() for _ in range(2))

    rows = Dataset.from_generator(generator, output_signature=tf.TensorSpec([], tf.float64))
    by_pass, before = ByPass(rows), host()
    first = numbers(by_pass.of(SEED, 0))
    assert first[0] == pytest.approx(random.Random(3).random())
    assert numbers(by_pass.of(SEED, 0)) == first
    assert host() == before


def test_what_draws_nothing_is_the_same_in_each_pass() -> None:
    by_pass = ByPass(Dataset.range(5).map(lambda x: tf.numpy_function(lambda y: y * 3, [x], tf.int64)))
    assert by_pass.changed
    assert [numbers(by_pass.of(SEED, number)) for number in range(2)] == [[0.0, 3.0, 6.0, 9.0, 12.0]] * 2
    assert not by_pass.varies


def test_of_generators_that_are_over_no_count_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "OPEN", 2)
    drawn = list[tuple[int, float]]()
    called = python.Seeded(lambda which: drawn.append((int(which), random.random())), lambda: None, counted=True)
    for which in [7, 8, 7, 8, 9, 8, 7]:  # 7 is the one that was let go of
        called(np.array([1, 2]), np.array(which))
    first, second, third = drawn[0][1], drawn[2][1], drawn[5][1]
    assert drawn == [*((7, first), (8, first), (7, second), (8, second)), *((9, first), (8, third), (7, first))]
    assert len({first, second, third}) == 3
