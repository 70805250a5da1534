"""Numbers that are larger than usual: steps beyond 2^31."""

import itertools
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hooks import Checkpoint, TensorBoard
from loop import Event, Every, Hook, Loop, Moment, StreamData

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
