"""The order of rows that a program without a seed has shuffled before it made a dataset of them."""

import copy
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Every, Loop, StreamData
from loop.data.orders import lists
from loop.data.orders.lists import MOST, as_noted, may_move, noted
from loop.data.orders.pool import Pool
from loop.data.orders.rows import Rows
from loop.data.pipelines import warned
from loop.exact.pipeline_hash import described
from loop.state import randomness, rows_in_memory

Dataset = tf.data.Dataset


@pytest.fixture(autouse=True)
def _no_seed_at_all() -> Iterator[None]:
    held = random.getstate()
    random.seed()
    yield
    random.setstate(held)


@pytest.mark.parametrize("make", [Dataset.from_tensor_slices, Dataset.from_tensors])
def test_ragged_and_sparse_rows_are_made_of_what_they_consist_of(make: Callable[[object], Dataset]) -> None:
    rows = {
        "a": tf.ragged.constant([[1.5], [], [2.5, 3.5]]),
        "b": tf.sparse.from_dense([[0, 1], [2, 0], [0, 0]]),
        "c": [1, 2, 3],
    }
    dataset = make(rows)
    columns = lists.made_of(dataset)
    assert sorted(each.dtype.name for each in columns[dataset]) == ["float32", *["int32"] * 2, *["int64"] * 3]
    made = lists.with_columns(columns)
    assert made[dataset].element_spec == dataset.element_spec
    assert described(dataset, made) == described(dataset)
    other = make({**rows, "a": tf.ragged.constant([[1.5], [2.5], [3.5, 4.5]])})
    assert lists.are_alike(dataset, lists.made_of(other)[other], columns[dataset])
    assert described(other) != described(dataset)
    assert described(dataset, lists.with_columns({dataset: lists.made_of(other)[other]})) == described(other)


def test_a_run_that_begins_beside_one_with_the_rows_of_another_process_is_warned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The folds of one split, of which the first goes on as it was, would be those of two splits."""
    happened = threading.Event()
    for place in (lists, rows_in_memory, warned):
        monkeypatch.setattr(place, "OF_ANOTHER", happened)

    def start(fold: str, order: list[int]) -> Loop:
        data = tf.data.Dataset.from_tensor_slices(order).batch(2)
        hooks = [Checkpoint(tmp_path / fold, Every(steps=1), background=False)]
        return Loop(lambda batch: {"x": tf.size(batch)}, data, state={}, hooks=hooks)

    said = []
    for fold, order, steps in (("a", [2, 0, 1, 3], 1), ("b", [3, 1, 0, 2], 1), ("a", [3, 1, 2, 0], 2)):
        start(fold, order).run(steps=steps)
        said.append(happened.is_set())
    assert said == [False, False, True]
    assert "one split" not in caplog.text
    start("b", [3, 1, 0, 2]).run(steps=2)  # goes on, too
    assert "one split" not in caplog.text
    start("c", [3, 1, 2, 0]).run(steps=1)
    assert "parts of one split, such as the folds of KFold" in caplog.text


@pytest.mark.more
def test_the_order_of_an_evaluation_is_put_back_too(tmp_path: Path) -> None:
    assert not randomness.is_seeded()

    def start(directory: Path, order: list[int]) -> Loop:
        rows = tf.Variable(np.zeros(0, np.int64), shape=[None], trainable=False)
        data = tf.data.Dataset.from_tensor_slices(np.array(order))

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            rows.assign(tf.concat([rows, batch], axis=0))
            return {"x": tf.constant(0)}

        def measured(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"sum": tf.reduce_sum(batch)}

        hooks = [Checkpoint(directory, Every(epochs=1), background=False)]
        evaluation = Evaluation(measured, data.skip(4).batch(2))
        return Loop(step, data.take(4).batch(2), state={"rows": rows}, evaluate=evaluation, hooks=hooks)

    start(tmp_path, [5, 2, 4, 0, 1, 3]).run(epochs=1)
    loop = start(tmp_path, [3, 1, 0, 4, 2, 5])
    result = loop.run(epochs=2)
    assert result.logs["val_sum"] == 4
    loop = start(tmp_path, [3, 1, 0, 4, 2, 6])
    with pytest.raises(ValueError, match=r"data of evaluation 'val': .* TensorSlice"):
        loop.run(epochs=3)


def test_rows_of_which_columns_run_into_one_another_are_told_apart() -> None:
    def made_of(rows: list[tuple[str, str]]) -> list[Rows]:
        return [Rows([tf.constant(column) for column in zip(*rows, strict=True)])]

    rows = [("a1", "1"), ("a", "11"), ("b", "2")]
    (again,) = as_noted(made_of(rows[::-1]), (), noted(made_of(rows)))
    assert [tuple(x.decode() for x in row) for row in zip(*(column.numpy() for column in again), strict=True)] == rows


@pytest.mark.parametrize(
    ("make", "is_said"),
    [
        (lambda i: f"data/{i}.png", True),
        (lambda i: f"{i}.png", True),
        (lambda i: i, True),
        (lambda i: i % 10, False),
        (lambda i: f"It was {i}", False),
        (lambda i: i / 2, False),
    ],
)
def test_more_rows_than_are_noted_are_said_to_be_shuffled(
    make: Callable[[int], object], is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def found(rows: list[object]) -> dict[str, int]:
        return noted([Rows([tf.constant(rows)])])

    rows = [make(i) for i in range(MOST + 1)]
    assert not found(rows)
    assert not found(rows[::-1])
    assert not caplog.records
    random.Random(1).shuffle(rows)
    assert not found(rows)
    assert ["keras.utils.set_random_seed(1)" in record.getMessage() for record in caplog.records] == [True] * is_said


X, Y = np.random.default_rng(3).normal(size=[24, 3]).astype("float32"), np.arange(24)


def split(data: Dataset | None, order: list[int]) -> tuple[object, object]:
    """Returns what is trained on and what is not, as a program does that shuffles without a seed."""
    train, test = order[:16], order[16:]
    if data is None:
        return ArrayData((X[train], Y[train]), batch_size=4), ArrayData((X[test], Y[test]), batch_size=8)
    rows = [Dataset.from_tensor_slices((X[part], Y[part])) for part in (train, test)]
    return rows[0].shuffle(16, seed=3).batch(4), rows[1].batch(8)


class Life:
    """A run over rows that another process has shuffled otherwise."""

    def __init__(self, directory: Path, sources: tuple[object, object]) -> None:
        self.batches = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False)
        self.sums = tf.Variable(tf.zeros([0]), shape=[None], trainable=False)
        hooks = [Checkpoint(directory, Every(steps=1), background=False, keep=99)]
        state = {"batches": self.batches, "sums": self.sums}
        evaluation = Evaluation(self.measured, sources[1])
        self.loop = Loop(self.step, sources[0], state=state, evaluate=evaluation, hooks=hooks)

    def step(self, rows: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch = tf.strings.join([tf.io.serialize_tensor(column) for column in rows])
        self.batches.assign(tf.concat([self.batches, [batch]], axis=0))
        return {"x": tf.constant(0)}

    def measured(self, rows: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"sum": tf.reduce_sum(rows[0]), "rows": tf.reduce_sum(rows[1])}

    def run(self, **until: int) -> tuple[list[bytes], dict[str, float]]:
        result = self.loop.run(**until)
        return self.batches.numpy().tolist(), {**result.logs}


@pytest.mark.more
@pytest.mark.parametrize("data", [None, Dataset], ids=["arrays", "slices"])
def test_rows_that_are_split_without_a_seed_go_back_to_where_they_were(
    data: Dataset | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not randomness.is_seeded()
    orders = [random.Random(n).sample(range(24), 24) for n in range(3)]
    whole = Life(tmp_path / "whole", split(data, orders[0])).run(epochs=3)
    for step in (2, 4, 6):
        for file in (tmp_path / "whole").glob(f"ckpt-{step}.*"):
            (tmp_path / str(step)).mkdir(exist_ok=True)
            (tmp_path / str(step) / file.name).hardlink_to(file)
        caplog.clear()
        assert Life(tmp_path / str(step), split(data, orders[1])).run(steps=7)[0] == whole[0][:7]
        told = [record for record in caplog.records if "is done with rows that were trained on" in record.getMessage()]
        assert [record.levelname for record in told] == ["WARNING"] * 2
        caplog.clear()
        assert Life(tmp_path / str(step), split(data, orders[2])).run(epochs=3) == whole
    caplog.clear()
    shuffled = [*random.Random(4).sample(orders[0][:16], 16), *orders[0][16:]]  # which is no other split
    Life(tmp_path / "2", split(data, shuffled)).run(epochs=4)
    assert "trained on" not in caplog.text


@pytest.mark.more
@pytest.mark.parametrize("data", [None, Dataset], ids=["arrays", "slices"])
def test_rows_of_which_one_is_another_are_refused_and_stay_where_they_are(data: Dataset | None, tmp_path: Path) -> None:
    Life(tmp_path, split(data, [*range(24)])).run(steps=3)
    order = random.Random(1).sample(range(24), 24)
    order[order.index(9)] = 8
    life = Life(tmp_path, split(data, order))
    with pytest.raises(ValueError, match=r"does not fit"):
        life.run(epochs=3)
    life.loop.hooks.remove("checkpoint")
    found = life.run(epochs=1)[1]
    assert found["val_rows"] == sum(order[16:])
    assert life.loop.step == 4


@pytest.mark.more
def test_a_copy_of_arrays_that_a_loop_has_is_in_no_loop(tmp_path: Path) -> None:
    train, held_out = split(None, [*range(24)])
    life = Life(tmp_path, (train, held_out))
    again = copy.copy(train)
    again.taken = False
    assert life.run(epochs=1) == Life(tmp_path / "again", (again, split(None, [*range(24)])[1])).run(epochs=1)


def test_in_a_process_with_a_seed_no_order_of_arrays_is_noted() -> None:
    data = ArrayData((X, Y), batch_size=4)
    assert len(data.cursor()) == 10
    keras.utils.set_random_seed(1)
    assert [*ArrayData((X, Y), batch_size=4).cursor()] == ["seed"]


@pytest.mark.more
@pytest.mark.parametrize(
    ("draw", "is_said"),
    [
        (lambda: np.random.permutation(60), True),
        (lambda: np.random.normal(size=[24, 3]), True),
        (lambda: random.sample(range(99), 60), True),
        (lambda: (random.random(), np.random.randint(24)), False),
        (lambda: (random.seed(1), random.sample(range(99), 60)), False),
        (lambda: np.random.seed(1), False),
        (lambda: (np.random.seed(1), np.random.normal(size=[24, 3])), False),
        (lambda: keras.utils.set_random_seed(1), False),
    ],
)
def test_large_rows_that_may_have_been_drawn_without_a_seed_are_warned_of_before_the_first_step(
    draw: Callable[[], object],
    is_said: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(randomness, "BEGUN", random.getstate())
    monkeypatch.setattr(rows_in_memory, "MOST", 24 * 20 - 1)  # bytes of rows that are kept
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.MT19937())  # as in a process that has begun
    try:
        draw()
        life = Life(tmp_path, split(None, [*range(24)]))
        life.loop.audit()
        life.run(steps=1)
        life.run(steps=2)
    finally:
        np.random.set_bit_generator(before)
    said = [record.getMessage() for record in caplog.records if "random numbers in this process" in record.getMessage()]
    assert ["Call keras.utils.set_random_seed(1) first" in each for each in said] == [True] * is_said


def rows_of_epoch(kept: memoryview) -> Callable[[int], Dataset]:
    return lambda epoch: Dataset.from_tensor_slices(np.asarray(kept)).batch(10)


@pytest.mark.parametrize(
    ("make", "is_said"),
    [
        # What functions have that a function calls is kept as its own is: see `test_rows_kept.py`.
        (lambda x: Dataset.range(100).map(lambda i: tf.function(lambda: tf.gather(x, i))()).batch(10), False),
        (lambda x: Dataset.range(100).map(lambda i: tf.gather(x, i)).batch(10), False),
        (lambda x: Dataset.range(100).map(lambda i: tf.gather(tf.constant(np.tile(x, [2**15, 1]).T), i)[:3]), True),
        (lambda x: StreamData(lambda epoch: Dataset.from_tensor_slices(x).batch(10)), False),
        (lambda x: StreamData(rows_of_epoch(memoryview(x))), True),
        (lambda x: Dataset.from_tensor_slices(x).batch(10), False),
        (lambda x: Dataset.range(100).map(lambda i: tf.gather(x[:99], i % 99)).batch(10), False),
    ],
)
def test_rows_that_cannot_be_kept_are_warned_of_if_they_may_have_been_drawn(
    make: Callable[[np.ndarray], object],
    is_said: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(randomness, "BEGUN", random.getstate())
    x = np.array([random.random() for _ in range(100)])
    loop = Loop(lambda x: {"x": tf.reduce_sum(x)}, make(x), state={}, hooks=[Checkpoint(tmp_path)])
    assert loop.audit() == []
    assert ["100 rows in memory that are not kept with the run" in caplog.text] == [is_said]
    caplog.clear()
    keras.utils.set_random_seed(1)
    assert Loop(lambda x: {"x": tf.reduce_sum(x)}, make(x), state={}).audit() == []
    assert "not kept with the run" not in caplog.text


def test_how_many_numbers_were_drawn_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    before = np.random.get_bit_generator()
    monkeypatch.setattr(randomness, "RESTORED", threading.Event())
    try:
        for count in (0, 1, 623, 624, 5_000):
            monkeypatch.setattr(randomness, "BEGUN", random.getstate())
            random.getrandbits(32 * count)
            np.random.set_bit_generator(np.random.MT19937())
            assert randomness.drawn() == count
            np.random.set_bit_generator(np.random.MT19937())
            np.random.get_bit_generator().random_raw(count, output=False)
            assert randomness.drawn() == count
        np.random.get_bit_generator().random_raw(2_000_000, output=False)
        assert randomness.drawn() > 1_000_000
        randomness.RESTORED.set()  # it goes on from where another process was
        assert randomness.drawn() == count
    finally:
        np.random.set_bit_generator(before)


@pytest.mark.parametrize(("seed_first", "is_noted"), [(True, False), (False, True)])
def test_the_order_of_files_that_were_shuffled_before_there_was_a_seed_is_noted(
    seed_first: bool, is_noted: bool, tmp_path: Path
) -> None:
    files, plain = [f"{i}.png" for i in range(40)], [f"{i:02}.png" for i in range(40)]
    if seed_first:
        keras.utils.set_random_seed(1)
    random.shuffle(files)
    if not seed_first:
        keras.utils.set_random_seed(1)
    keras.layers.Dense(1).build([None, 1])  # which draws, too
    shuffled, sorted_ones = ([Rows([tf.constant(each)])] for each in (files, plain))
    assert may_move(shuffled) == is_noted
    assert not may_move(sorted_ones)


def test_rows_that_are_too_large_to_be_told_apart_are_not_noted_but_known_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "LARGEST", X.nbytes - 1)
    arrays, rows = ArrayData((X, Y), batch_size=4), StreamData(Dataset.from_tensor_slices((X, Y)).batch(4))
    pool = Pool()
    for data in (arrays, rows):
        data.pool_rows(pool)
        assert not [name for name in data.cursor() if name.startswith(lists.NAME)]
    assert [each.count for each in pool] == [24, 24]
