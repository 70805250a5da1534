"""What is larger than usual: steps beyond 2^31, many variables, large ones."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hooks import Checkpoint, CorruptCheckpoint, TensorBoard, restore
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.differences import differences
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.limit import LARGEST, SMALL, limit
from hooks.checkpoint.record.manifest import Manifest, Record, canonical, content, encode
from loop import ArrayData, Event, Every, Hook, Loop, Moment, StreamData

FAR = 2**31


class Told(Hook):
    """Notes what it is told."""

    every = Every(steps=4)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Event, int, int, int]] = []
        self.values: dict[int, float] = {}

    def on_step_end(self, moment: Moment) -> None:
        self._note(moment)

    def on_epoch_end(self, moment: Moment) -> None:
        self._note(moment)

    def on_epoch_begin(self, moment: Moment) -> None:
        self._note(moment)

    def on_steps(self, first_step: int, values: dict) -> None:
        self.values |= {first_step + i: float(value) for i, value in enumerate(values["sum"])}

    def _note(self, moment: Moment) -> None:
        self.told.append((moment.event, moment.step, moment.epoch, moment.step_in_epoch))


def adds(*hooks: Hook, steps_per_epoch: int | None = None, known: bool = True) -> tuple[Loop, tf.Variable]:
    """Returns a loop over 0.0 to 6.0, again and again, and the variable that it adds them to."""
    data = tf.data.Dataset.range(7).repeat()
    if not known:
        data = data.filter(lambda number: True).take(2**40)
    data = data.map(lambda number: tf.cast(number, tf.float64)).batch(1)
    total = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        total.assign(total / 2 + tf.reduce_sum(batch))
        return {"sum": total.read_value()}

    return Loop(step, StreamData(data, steps_per_epoch=steps_per_epoch), state={"total": total}, hooks=hooks), total


def far(loop: Loop, behind: int) -> None:
    """Has a loop that was run stand that many steps before 2^31."""
    for path in ("position/step", "position/step_in_epoch"):
        loop.state.variables[path].assign(FAR - behind)


@pytest.mark.more
@pytest.mark.parametrize("known", [True, False])
def test_an_epoch_goes_on_beyond_step_2_to_the_31st(tmp_path: Path, known: bool) -> None:
    """In one life, and in the next one, which goes on from a checkpoint before it, and from one behind it."""
    told, values = list[tuple[Event, int, int, int]](), dict[int, float]()
    total = tf.Variable(0.0, tf.float64)
    for end in (FAR - 1, FAR + 2, FAR + 11):
        hook = Told()
        board = TensorBoard(tmp_path / "board", Every(steps=1))
        length = FAR + 9 if known else None
        loop, total = adds(hook, board, Checkpoint(tmp_path), steps_per_epoch=length, known=known)
        if end < FAR:
            loop.run(steps=1)
            far(loop, behind=3)
        assert loop.run(steps=end).step == end
        told, values = told + hook.told, values | hook.values
    sums = itertools.accumulate(range(1, 15), lambda last, number: last / 2 + number % 7, initial=0.0)
    expected = dict(zip([1, *range(FAR - 2, FAR + 12)], sums, strict=True))
    assert (values, float(total)) == (expected, expected[FAR + 11])
    points = EventAccumulator(str(tmp_path / "board/train")).Reload().Scalars("sum")
    assert {point.step: point.value for point in points} == expected
    epochs = [(Event.EPOCH_END, FAR + 9, 1, 0), (Event.EPOCH_BEGIN, FAR + 9, 1, 0)] if known else []
    ends = [(Event.STEP_END, FAR + n, 0, FAR + n) for n in (0, 4, 8)]
    assert told == [(Event.EPOCH_BEGIN, 0, 0, 0), *ends, *epochs]


def test_a_manifest_may_be_the_larger_the_more_variables_it_describes() -> None:
    assert [limit(index) for index in (0, 300, 40 * 12_000, 2**40)] == [SMALL, SMALL + 9_600, 16_408_576, LARGEST]


@pytest.mark.more
@pytest.mark.parametrize("index", [100_000, 10_000])
def test_a_large_manifest_is_read_beside_a_large_index_only(tmp_path: Path, index: int) -> None:
    """A planted one costs no more than what is beside it."""
    names = ["ckpt-4.index", "ckpt-4.data-00000-of-00001"]
    for name in names:
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, index)
    paths = {f"state/{i}/{'x' * 80}": [2, 3, "float32"] for i in range(20_000)}
    parts = ("state", "data", "steps", "seed", "settings", "trainable")
    notes = {"place": {"step": 4, "epoch": 1, "step_in_epoch": 1}, "data": {}}
    described = {"variables": paths, **{part: {} for part in parts}}
    files, digests = dict.fromkeys(names, (index, "0" * 64)), ("0" * 16,) * len(paths)
    manifest = Manifest(Record(4, False, 1, 1, 0.5), files, notes, described, digests, {}, {"time": 1.0})
    raw = canonical(content(manifest))
    assert limit(10_000) < len(raw) < limit(100_000)
    (tmp_path / "ckpt-4.json").write_bytes(raw)
    store = Store(open_files(tmp_path))
    if index == 100_000:
        assert encode(manifest) == raw
        assert store.read("ckpt-4") == manifest
    else:
        with pytest.raises(ValueError, match=r"would have [\d,]+ bytes, more than the 1,368,576 that are read"):
            encode(manifest)
        with pytest.raises(CorruptCheckpoint, match=r"has \d+ bytes, more than 1368576"):
            store.read("ckpt-4")
    store.files.close()


def counts(directory: Path, variables: list[tf.Variable], *, named: bool) -> Loop:
    """Returns a loop that adds the numbers from 1 on to the first variable."""
    count = variables[0]
    return Loop(
        lambda batch: {"count": count.assign_add(tf.reduce_sum(batch))},
        ArrayData(np.arange(1.0, 9.0), batch_size=1, shuffle=False),
        state={f"v{i}": each for i, each in enumerate(variables)} if named else {"many": variables},
        hooks=[Checkpoint(directory)],
    )


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (50, True),
        pytest.param(12_000, False, marks=pytest.mark.long),
        pytest.param(12_000, True, marks=pytest.mark.long),
    ],
)
def test_many_variables_are_saved_restored_and_compared(tmp_path: Path, number: int, named: bool) -> None:
    def made(factor: float) -> list[tf.Variable]:
        return [tf.Variable(factor * i, dtype=tf.float64, trainable=False) for i in range(number)]

    counts(tmp_path, made(1.5), named=named).run(steps=2)
    variables = made(0.0)
    counts(tmp_path, variables, named=named).run(steps=3)
    expected = [6.0, *(1.5 * i for i in range(1, number))]
    assert [float(each) for each in variables] == expected
    scripts = made(0.0)
    given = {f"v{i}": each for i, each in enumerate(scripts)} if named else {"many": scripts}
    assert restore(tmp_path, given) == 3
    assert [float(each) for each in scripts] == expected
    count, found = differences(f"{tmp_path}/ckpt-2", f"{tmp_path}/ckpt-3")
    assert count > number
    assert [(each.name, each.largest) for each in found if each.name.startswith(("v", "many"))] == [
        ("v0" if named else "many/0", 3.0)
    ]


@pytest.mark.long
def test_variables_of_gigabytes_are_saved_restored_and_compared(tmp_path: Path) -> None:
    """One of 1.2 GB and one of 0.3 GB; what is in them was never written but at the end."""

    def made() -> list[tf.Variable]:
        return [
            tf.Variable(0.0, dtype=tf.float64),
            *(tf.Variable(tf.zeros([n], tf.int8)) for n in (1_200_000_000, 300_000_000)),
        ]

    variables = made()
    loop = counts(tmp_path, variables, named=False)
    for each in variables[1:]:
        tf.raw_ops.ResourceScatterUpdate(
            resource=each.handle, indices=[each.shape[0] - 1], updates=tf.constant([7], tf.int8)
        )
    loop.run(steps=1)
    del variables, loop
    again = made()
    counts(tmp_path, again, named=False).run(steps=2)
    assert (float(again[0]), [int(each[-1]) for each in again[1:]], [int(each[0]) for each in again[1:]]) == (
        3.0,
        [7, 7],
        [0, 0],
    )
