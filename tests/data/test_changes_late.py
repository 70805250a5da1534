"""What generators change late, where nobody has looked before the first pass, is kept, or the run is refused for it."""

import collections
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Every, Hook, InexactRun, Loop, Moment
from loop.data.objects import kept_values, looks
from loop.data.pipelines import replay

ROWS, BATCH, STEPS = 24, 2, 12  # more than are looked at; and of each pass


class Rows:
    """Yields its rows, moved by what it has changed of itself when 18 of them are over.

    Args:
        change: Changes it.
        shown: Returns what moves the rows.
    """

    def __init__(self, change: Callable[["Rows"], object], shown: Callable[["Rows"], int]) -> None:
        self._change, self._shown = change, shown
        self.numbers, self.seen, self.count = list(range(ROWS)), set[int](), 0
        self.texts, self.counts = set[str](), collections.Counter[str]()
        self.array, self.rng = np.zeros(3), np.random.default_rng(1)
        self.object: object = None
        self.bytes = bytearray(3)
        self.pairs = dict[tuple[int, int], int]()

    def __call__(self) -> Iterator[int]:
        moved = self._shown(self)
        for i in range(ROWS):
            if i == 18:
                self._change(self)
            yield 1000 * moved + self.numbers[i]


def swap(rows: Rows) -> None:
    rows.numbers[20:] = rows.numbers[:19:-1]
    rows.numbers[0] += 100


def rebind(rows: Rows) -> None:
    rows.numbers = [number + 100 for number in rows.numbers]


def count(rows: Rows) -> None:
    rows.count += 1


def add(rows: Rows) -> None:
    rows.seen.add(7 * len(rows.seen) + 1)


def add_text(rows: Rows) -> None:
    rows.texts.add(f"text {len(rows.texts)}")
    rows.counts[f"{len(rows.texts)}"] += 1


def write_bytes(rows: Rows) -> None:
    rows.bytes[1] += 1


def draw(rows: Rows) -> None:
    rows.rng.random()


def write(rows: Rows) -> None:
    rows.array[1] += 1


def give_attribute(rows: Rows) -> None:
    rows.more = getattr(rows, "more", 0) + 1


def set_by_name(rows: Rows) -> None:
    setattr(rows, f"co{'unt'}", rows.count + 1)


def write_into_vars(rows: Rows) -> None:
    vars(rows)["count"] += 1


def change_by_another_name(rows: Rows) -> None:
    own = rows.numbers
    own.append(own.pop(0))


KEPT: dict[str, tuple[Callable[[Rows], object], Callable[[Rows], int]]] = {
    "a list in place": (swap, lambda rows: 0),
    "a list that is another one": (rebind, lambda rows: 0),
    "a number": (count, lambda rows: rows.count),
    "a set": (add, lambda rows: sum(rows.seen)),
    "a set of texts, and a Counter": (add_text, lambda rows: len(rows.texts) + sum(rows.counts.values())),
    "a generator": (draw, lambda rows: rows.rng.bit_generator.state["state"]["state"] % 99),
    "bytes": (write_bytes, lambda rows: rows.bytes[1]),
    "an array": (write, lambda rows: int(rows.array[1])),
    "a number by its name": (set_by_name, lambda rows: rows.count),
    "a number in vars": (write_into_vars, lambda rows: rows.count),
    "a list by another name": (change_by_another_name, lambda rows: 0),
    "a new attribute": (give_attribute, lambda rows: getattr(rows, "more", 0)),
}


@pytest.fixture(autouse=True)
def _looks_at_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "LONGEST", replay.TRIED)


def start(
    directory: Path, rows: Callable[[], Iterator[int]], *, cached: bool = False, hook: Hook | None = None
) -> tuple[Loop, tf.Variable]:
    """Returns a loop over the rows, and the variable in which it keeps all sums of batches."""
    sums = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False, name="sums")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        sums.assign(tf.concat([sums, batch], axis=0))
        return {"x": tf.constant(0)}

    data = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec([], tf.int64)).batch(BATCH)
    data = data.cache() if cached else data
    hooks = [Checkpoint(directory, Every(steps=1), background=False, keep=99), *([] if hook is None else [hook])]
    return Loop(step, data, state={"sums": sums}, hooks=hooks), sums


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.more if name == "a set of texts, and a Counter" else pytest.mark.long)
        for name in KEPT
    ],
)
def test_what_is_changed_late_is_kept(name: str, tmp_path: Path) -> None:
    whole, expected = start(tmp_path / "whole", Rows(*KEPT[name]))
    whole.run(epochs=3)
    passes = [tuple(expected.numpy()[i * ROWS : (i + 1) * ROWS]) for i in range(3)]
    assert len({*passes}) == 3
    for step in (STEPS, 2 * STEPS + 2):  # at the end of a pass, and in the middle
        loop, _ = start(tmp_path / "cut", Rows(*KEPT[name]))
        loop.run(steps=step)
    loop, sums = start(tmp_path / "cut", Rows(*KEPT[name]))
    loop.run(epochs=3)
    assert sums.numpy().tolist() == expected.numpy().tolist()


def hold(rows: Rows) -> None:
    rows.object = [object()] if rows.object is None else [rows.object]


def add_pair(rows: Rows) -> None:
    rows.pairs[len(rows.pairs), 0] = 1


@pytest.mark.parametrize(
    ("change", "shown", "what"),
    [
        (hold, lambda rows: len(repr(rows.object)), "object"),
        pytest.param(add_pair, lambda rows: len(rows.pairs), "pairs", marks=pytest.mark.long),
    ],
)
def test_what_is_changed_late_and_cannot_be_kept_is_refused_when_the_pass_is_over(
    change: Callable[[Rows], object], shown: Callable[[Rows], int], what: str, tmp_path: Path
) -> None:
    loop, _ = start(tmp_path, Rows(change, shown))
    with pytest.raises(
        InexactRun, match=rf"have changed, late in a pass, what no checkpoint holds: \S* *{what}\n.*Keep"
    ):
        loop.run(epochs=3)
    assert loop.step == STEPS


@pytest.mark.long
def test_what_a_cache_would_not_hold_again_is_refused_when_the_pass_is_over(tmp_path: Path) -> None:
    loop, _ = start(tmp_path, Rows(*KEPT["a number"]), cached=True)
    with pytest.raises(InexactRun, match="yielded something else in a later pass: a generator that changes"):
        loop.run(epochs=3)
    assert loop.step == STEPS


@pytest.mark.more
def test_what_cannot_be_saved_in_the_middle_of_a_pass_need_not_be(tmp_path: Path) -> None:
    class Passing:
        def __init__(self) -> None:
            self.passes, self.last = 0, None

        def __call__(self) -> Iterator[int]:
            for i in range(ROWS):
                self.last = tf.constant(i)
                yield 100 * self.passes + int(self.last)
            self.last, self.passes = None, self.passes + 1

    whole, expected = start(tmp_path / "whole", Passing())
    whole.run(epochs=2)
    start(tmp_path / "cut", Passing())[0].run(steps=STEPS + 2)
    loop, sums = start(tmp_path / "cut", Passing())
    loop.run(epochs=2)
    assert sums.numpy().tolist() == expected.numpy().tolist()


@pytest.mark.more
def test_a_dict_that_remembers_more_than_can_be_kept_is_said_to_be_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (kept_values, looks):
        monkeypatch.setattr(module, "LARGEST", 2**12)
    known = dict[int, np.ndarray]()

    def remembered() -> Iterator[int]:
        for i in range(ROWS):
            if i not in known:
                known[i] = np.full([99], i)
            yield int(known[i][0])

    start(tmp_path, remembered)[0].run(steps=STEPS + 2)
    assert ".outer known, which has more than 64 MB by now" in caplog.text
    known.clear()
    loop, sums = start(tmp_path, remembered)
    loop.run(epochs=2)
    assert sums.numpy().tolist() == [*range(ROWS)] * 2


class Trainer(Hook):
    """What yields rows is also a hook, and writes down what the generator reads for a message at most."""

    every = Every(steps=1)

    def __init__(self, settings: dict[str, int]) -> None:
        super().__init__()
        self.numbers, self.history, self.best, self.settings = list(range(ROWS)), list[float](), 1e9, settings
        self.last: object = None

    def rows(self) -> Iterator[int]:
        for number in self.numbers:
            if self.settings["step"] < 0 or len(self.history) < 0 or (self.best or 0) < 0:
                raise ValueError(f"{self.history}, of {self.settings.get('step')}")
            yield number

    def on_step_end(self, moment: Moment) -> None:
        self.history.append(float(moment.step))
        self.last, self.best, self.settings["step"] = moment, 1 / moment.step, moment.step


@pytest.mark.more
def test_what_hooks_change_of_an_object_that_a_generator_has_too_is_theirs(tmp_path: Path) -> None:
    def begin(directory: Path) -> tuple[Loop, tf.Variable]:
        trainer = Trainer({"step": 0})
        return start(directory, trainer.rows, hook=trainer)

    begin(tmp_path)[0].run(steps=STEPS + 2)
    loop, sums = begin(tmp_path)
    loop.run(epochs=3)
    assert sums.numpy().tolist() == [*range(ROWS)] * 3


@pytest.mark.long
def test_what_comes_of_a_clock_is_other_each_time_and_not_refused_for_that(tmp_path: Path) -> None:
    class Timed:
        def __init__(self) -> None:
            self.spent, self.passes = 0.0, 0

        def __call__(self) -> Iterator[int]:
            for i in range(ROWS):
                self.spent += time.perf_counter()
                yield 100 * self.passes + i
            self.passes += 1

    start(tmp_path, Timed())[0].run(steps=STEPS + 2)
    loop, sums = start(tmp_path, Timed())
    loop.run(epochs=2)
    assert sums.numpy().tolist() == [*range(ROWS), *range(100, 100 + ROWS)]
