"""Streams and indexed sources under XLA: blocks of batches leave no trace."""

import functools
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Evaluation, Every, Hook, IndexedData, Loop, Moment, StatefulData, StreamData, Trigger
from loop.data.blocks import BYTES, LENGTH, Block, block_of, room
from loop.data.coerce import Given
from loop.data.fetched import Fetched
from loop.engine.ways.cut import Cut
from loop.engine.ways.streamed import Streamed
from loop.tensors import Nest

ROWS, BATCH, LAST = 45, 4, 12  # the last batch of an epoch, its 12th, has one row
X = np.random.default_rng(1).normal(size=[ROWS, 2]).astype(np.float32)
Dataset = tf.data.Dataset


class Counting:
    """Batches from something that says where it is."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.at < LAST:
            self.at += 1
            yield X[self.at : self.at + BATCH]
        self.at = 0

    def get_state(self) -> int:
        return self.at

    def set_state(self, state: int) -> None:
        self.at = state


def rows() -> Iterator[np.ndarray]:
    yield from X


def shuffled() -> Dataset:
    return Dataset.from_tensor_slices(X).shuffle(16, seed=3)


def of_lengths() -> Dataset:
    """Returns batches of one, two and three rows, three of each after one another."""
    return Dataset.range(36).map(lambda i: tf.ones([1 + i // 3 % 3, 2]) * tf.cast(i, tf.float32) / 9)


SOURCES: dict[str, Callable[[], Given]] = {
    "with a smaller last batch": lambda: shuffled().batch(BATCH),
    "even": lambda: shuffled().batch(BATCH, drop_remainder=True).prefetch(2),
    "random": lambda: shuffled().map(lambda x: x + tf.random.normal([2], seed=4)).batch(BATCH),
    "of unknown length": lambda: shuffled().filter(lambda x: x[0] > -1).batch(BATCH),
    "endless": lambda: StreamData(shuffled().batch(BATCH), steps_per_epoch=7),
    "generator": lambda: StreamData(Dataset.from_generator(rows, output_signature=tf.TensorSpec([2])).batch(BATCH)),
    "of each epoch": lambda: StreamData(lambda epoch: Dataset.from_tensor_slices(X + epoch).batch(BATCH)),
    "lengths": of_lengths,
    "indexed": lambda: IndexedData(X, batch_size=BATCH, seed=5),
    "indexed, not ahead": lambda: IndexedData(X, batch_size=BATCH, seed=5, prefetch=0),
    "stateful": lambda: StatefulData(Counting()),
}


class Noted(Hook):
    """Notes each value of each step, and where it was called."""

    def __init__(self, every: Trigger = At()) -> None:
        super().__init__()
        self.every, self.values, self.at = every, dict[int, tuple[float, ...]](), list[int]()

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        for i, row in enumerate(zip(*(column.tolist() for column in values.values()), strict=True)):
            self.values[first_step + i] = row

    def on_step_end(self, moment: Moment) -> None:
        self.at.append(moment.step)


def make_loop(data: Given, hooks: Sequence[Hook] = (), *, jit_compile: bool = True, evaluate: bool = False) -> Loop:
    w = tf.Variable([1.0, -1.0])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = tf.reduce_mean((tf.linalg.matvec(x, w) - 1.0) ** 2)
        w.assign(w * 0.9 - 0.1 * tf.tanh(loss) * tf.reduce_mean(x, axis=0))
        return {"loss": loss, "rows": tf.shape(x)[0]}

    of = Evaluation(lambda x: {"sum": tf.reduce_sum(x)}, shuffled().batch(BATCH)) if evaluate else None
    return Loop(step, data, state={"w": w}, hooks=hooks, jit_compile=jit_compile, evaluate=of)


class Left(NamedTuple):
    """What a run leaves."""

    w: list[float]
    values: dict[int, tuple[float, ...]]
    logs: Mapping[str, float]


def left(name: str, hooks: Sequence[Hook] = (), *, every: Trigger = At()) -> Left:
    noted = Noted(every)
    loop = make_loop(SOURCES[name](), [noted, *hooks])
    result = loop.run(epochs=3)
    return Left(loop.state.variables["w"].numpy().tolist(), noted.values, result.logs)


@functools.cache
def reference(name: str) -> Left:
    return left(name)


@pytest.fixture
def long_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has blocks be of many batches, however slow the machine is."""
    monkeypatch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", 5))


MORE, LONG = pytest.mark.more, pytest.mark.long
OTHERS = [pytest.param(name, marks=MORE if name == "of unknown length" else LONG) for name in [*SOURCES][1:]]


@pytest.mark.usefixtures("long_cuts")
@pytest.mark.parametrize("name", [next(iter(SOURCES)), *OTHERS])
def test_the_same_bits_wherever_it_is_cut_killed_and_resumed(name: str, tmp_path: Path) -> None:
    whole = reference(name)
    assert [*whole.values] == [*range(1, len(whole.values) + 1)]
    left(name, [Checkpoint(tmp_path, At(5)), Ends(16)], every=At(2, 7))
    resumed = left(name, [Checkpoint(tmp_path, At(16))], every=At(20))
    assert (resumed.w, resumed.logs) == (whole.w, whole.logs)
    assert resumed.values == {step: row for step, row in whole.values.items() if step > 16}


@pytest.mark.long
@pytest.mark.parametrize("name", SOURCES)
def test_the_same_bits_with_a_halt_at_each_step_and_by_the_clock(name: str) -> None:
    assert left(name, every=Every(steps=1)) == reference(name)
    assert left(name, every=Every(seconds=1e-3)) == reference(name)


@pytest.mark.long
@pytest.mark.parametrize("name", SOURCES)
def test_it_sees_the_batches_that_it_sees_without(name: str) -> None:
    loops = [make_loop(SOURCES[name](), jit_compile=jit_compile) for jit_compile in (True, False)]
    for loop in loops:
        loop.digest_batches()
        loop.run(steps=10)
    digests = [int(loop.state.variables["position/seen/digest"]) for loop in loops]
    assert digests[0] == digests[1] != 0


class Ends(Hook):
    """Ends the run after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.every = At(step)

    def on_step_end(self, moment: Moment) -> None:
        moment.stop("enough")


class Halting(Hook):
    """Has the compiled loop return, and ends the run, after a step on a batch that is too large."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def after_step(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(values["rows"], tf.float32) > self.limit

    def on_settled(self, moment: Moment) -> None:
        if moment.logs.get("rows", 0.0) > self.limit:
            moment.stop("too large")


@pytest.mark.more
@pytest.mark.usefixtures("long_cuts")
def test_what_was_fetched_behind_a_halt_within_a_block_is_saved_and_trained_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From the beginning, of each shape: else nothing is fetched while the first batch of one is trained.
    monkeypatch.setattr(Cut, "__init__", lambda cut: setattr(cut, "length", 5))

    def make(limit: float, *, jit_compile: bool = True, changed: str = "refuse") -> tuple[Loop, Noted]:
        noted = Noted()
        hooks = [noted, Halting(limit), Checkpoint(tmp_path, Every(epochs=9), resume_changed=changed)]
        return make_loop(of_lengths(), hooks, jit_compile=jit_compile), noted

    whole = reference("lengths")
    loop, _ = make(1.5)
    assert loop.run(epochs=3).step == 4  # the first batch of two rows, the first one of its block
    loop, noted = make(2.5)
    assert loop.run(epochs=3).step == 7
    assert noted.values == {step: row for step, row in whole.values.items() if 4 < step <= 7}
    shutil.copytree(tmp_path, other := tmp_path.with_name("other"))
    loop, noted = make(9.0)
    loop.run(epochs=3)
    assert loop.state.variables["w"].numpy().tolist() == whole.w
    assert noted.values == {step: row for step, row in whole.values.items() if step > 7}
    changed = Checkpoint(other, Every(epochs=9), resume_changed="warn")
    with pytest.warns(UserWarning, match="The run goes on with other numbers") as caught:
        make_loop(of_lengths(), [changed], jit_compile=False).run(steps=8)
    assert "block of batches that jit_compile=True had read; the rest of it is left out" in str(caught[-1].message)


def test_a_block_has_room_for_a_megabyte_or_one_batch() -> None:
    assert [room(size) for size in (1, BYTES // LENGTH, BYTES // 4, BYTES, 2 * BYTES)] == [LENGTH, LENGTH, 4, 1, 1]
    block, rest = Block([tf.reshape(tf.range(10), [5, 2])], 1, 3).cut(2)
    assert [each.numpy().tolist() for each in block.tensors()] == [[[2, 3], [4, 5]]]
    again = block_of(rest[0].tensors())
    assert (again.shapes, again.count, again.batches[0].shape) == (((2,),), 1, [LENGTH, 2])
    assert again.tensors()[0].numpy().tolist() == [[6, 7]]


@pytest.mark.more
def test_a_stop_ends_the_fetching_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cut, "took", lambda cut, steps, seconds: setattr(cut, "length", LENGTH))
    read, begun = list[int](), threading.Event()

    class Begins(Hook):
        def on_epoch_begin(self, moment: Moment) -> None:
            begun.set()

    def counted() -> Iterator[np.ndarray]:
        for i in range(200):
            if begun.is_set():
                read.append(i)
                if len(read) == 40:
                    loop.stop("enough")
            yield X[:1]

    data = Dataset.from_generator(counted, output_signature=tf.TensorSpec([1, 2]))
    loop = make_loop(StreamData(data, steps_per_epoch=10**6, resume="replay"), [Begins()])
    assert loop.run(steps=10**6).reason == "enough"
    assert 40 <= len(read) < 50 < LENGTH


@pytest.mark.long
def test_evaluations_on_streams_are_compiled_and_leave_training_alone() -> None:
    noted = Noted()
    loop = make_loop(shuffled().batch(BATCH), [noted], evaluate=True)
    result = loop.run(epochs=3)
    assert loop.state.variables["w"].numpy().tolist() == reference("with a smaller last batch").w
    assert noted.values == reference("with a smaller last batch").values
    assert result.logs["val_sum"] == pytest.approx(X.reshape(-1).sum() / 45 * 1, abs=10)


@pytest.mark.more
def test_batches_that_xla_cannot_have_are_refused_with_a_remedy_that_works() -> None:
    ragged = Dataset.from_tensor_slices(tf.ragged.constant([[1.0, 2.0], [3.0]], ragged_rank=1)).batch(2)
    w = tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"w": w.assign_add(tf.reduce_sum(x))}

    texts = Dataset.from_tensor_slices(["a", "b"]).batch(2)
    for data, what in ((ragged, "RaggedTensors"), (texts, "texts")):
        with pytest.raises(ValueError, match=rf"Received: StreamData with {what}.*ragged.to_tensor"):
            Loop(step, data, state={"w": w}, jit_compile=True)
    dense = ragged.map(lambda ragged: ragged.to_tensor())  # what the message says
    Loop(step, dense, state={"w": w}, jit_compile=True).run(epochs=1)
    assert float(w) == 6.0


class Failing:
    """A generator whose 15th row cannot be read, once it is told so."""

    def __init__(self) -> None:
        self.fails = False

    def __call__(self) -> Iterator[np.float32]:
        for i in range(24):
            if i == 14 and self.fails:
                raise ValueError("row 14 is damaged")
            yield np.float32(i)


def failing(of: Failing) -> Dataset:
    return Dataset.from_generator(of, output_signature=tf.TensorSpec([], tf.float32))


FAILING: dict[str, Callable[[Failing], Given]] = {
    "of known length": lambda of: StreamData(
        failing(of).batch(2, drop_remainder=True).apply(tf.data.experimental.assert_cardinality(12)), resume="replay"
    ),
    "of unknown length": lambda of: StreamData(failing(of).batch(2, drop_remainder=True), resume="replay"),
    "of unknown shapes": lambda of: StreamData(failing(of).batch(2), resume="replay"),
}


@pytest.mark.usefixtures("long_cuts")
@pytest.mark.parametrize("jit_compile", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize("every", [At(3, 6), pytest.param(At(), marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "name", [next(iter(FAILING)), *(pytest.param(each, marks=pytest.mark.long) for each in [*FAILING][1:])]
)
def test_a_batch_that_cannot_be_read_is_raised_at_its_own_step(name: str, every: Trigger, jit_compile: bool) -> None:
    of, w = Failing(), tf.Variable(0.0)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"w": w.assign_add(tf.reduce_sum(x))}

    noted = Noted(every)
    loop = Loop(step, FAILING[name](of), state={"w": w}, hooks=[noted], jit_compile=jit_compile)
    loop.on("epoch_begin")(lambda moment: setattr(of, "fails", True))
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 14 is damaged") as caught:
        loop.run(epochs=1)
    assert (loop.step, float(w)) == (7, sum(range(14)))
    assert caught.value.__notes__[0].startswith("Raised by the step, or its batch, after step 7.")


@pytest.mark.usefixtures("long_cuts")
def test_what_an_interrupted_fetch_has_left_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched, interrupts = Streamed._fetch, [KeyboardInterrupt]

    def interrupted(feed: Streamed, most: int) -> tuple[Nest, Fetched]:
        found = fetched(feed, most)
        if loop.step < 4 or not interrupts:
            return found
        raise interrupts.pop()

    w = tf.Variable(0.0)
    data = Dataset.range(24).map(lambda x: tf.cast(x, tf.float32)).batch(2, drop_remainder=True)
    hooks = [Checkpoint(tmp_path, Every(steps=4))]
    step = lambda x: {"w": w.assign_add(tf.reduce_sum(x))}  # noqa: E731
    loop = Loop(step, data, state={"w": w}, hooks=hooks, jit_compile=True)
    monkeypatch.setattr(Streamed, "_fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(epochs=1)
    loop.run(epochs=1)
    assert (loop.step, float(w), interrupts) == (12, sum(range(24)), [])


@pytest.mark.more
def test_a_batch_that_nobody_wants_does_not_keep_the_state_from_being_saved(tmp_path: Path) -> None:
    """It is fetched behind the last one that is trained, and cannot be read."""
    w = tf.Variable(0.0)

    def checked(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less(x, 13.0)]):
            return tf.identity(x)

    rows = Dataset.range(24).map(lambda x: tf.cast(x, tf.float32)).filter(lambda x: x >= 0.0).map(checked)
    step = lambda x: {"w": w.assign_add(tf.reduce_sum(x))}  # noqa: E731
    hooks = [Checkpoint(tmp_path)]
    loop = Loop(step, rows.batch(1), state={"w": w}, hooks=hooks, jit_compile=True, limit_batches=12)
    loop.run(epochs=2)
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["ckpt-12", "ckpt-24"]
