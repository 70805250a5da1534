"""Evaluations with schedules of their own."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Evaluation, Event, Every, Hook, Loop, Moment, Trigger


class Notes(Hook):
    """Notes the evaluations, and stops in the middle of one if it is told to."""

    def __init__(self, stop_at: int = 0) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.stop_at, self.loop = stop_at, None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.loop = loop

    def on_eval_begin(self, moment: Moment) -> None:
        if moment.step == self.stop_at:
            self.loop.stop("in an evaluation")

    def on_eval_end(self, moment: Moment) -> None:
        self.lines.append(f"{moment.step}: {' '.join(f'{name}={value:g}' for name, value in moment.logs.items())}")

    def on_epoch_end(self, moment: Moment) -> None:
        self.lines.append(f"end of {moment.epoch}: {' '.join(name for name in moment.logs if name != 'n')}")


def make(*hooks: Hook, slow: Trigger | None = Every(steps=4), eval_every: Trigger = Every(epochs=1)) -> Loop:
    count = tf.Variable(0.0, name="count")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"n": count.assign_add(1.0)}

    def now(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"n": count.read_value()}

    data = tf.data.Dataset.range(3).batch(1)
    evaluations = [Evaluation(now, data.take(1)), Evaluation(now, data.take(1), name="slow", every=slow)]
    return Loop(step, data, state={"count": count}, evaluate=evaluations, eval_every=eval_every, hooks=hooks)


WHOLE = [
    "3: val_n=3",
    "end of 1: val_n",
    "4: slow_n=4",
    "6: val_n=6",
    "end of 2: val_n slow_n",
    "8: slow_n=8",
    "9: val_n=9",
    "end of 3: val_n slow_n",
    "12: val_n=12 slow_n=12",
    "end of 4: val_n slow_n",
]


def test_each_evaluation_has_its_schedule_and_the_history_what_was_evaluated_in_an_epoch() -> None:
    notes = Notes()
    result = make(notes).run(epochs=4)
    assert notes.lines == WHOLE
    assert result.history == {"n": [2.0, 5.0, 8.0, 11.0], "val_n": [3.0, 6.0, 9.0, 12.0], "slow_n": [4.0, 8.0, 12.0]}
    assert result.logs == {"n": 11.0, "val_n": 12.0, "slow_n": 12.0}


@pytest.mark.more
@pytest.mark.parametrize("stops", [[3], [4], [8, 9], [12]])
def test_an_evaluation_that_a_stop_cut_off_is_made_up_for_and_no_other(stops: Sequence[int], tmp_path: Path) -> None:
    lines: list[str] = []
    for at in [*stops, 0]:
        notes = Notes(at)
        result = make(notes, Checkpoint(tmp_path)).run(epochs=4)
        lines += notes.lines
    assert lines == WHOLE
    assert result.history == make().run(epochs=4).history


@pytest.mark.more
def test_after_a_stop_with_another_schedule_all_are_evaluated(tmp_path: Path) -> None:
    make(Notes(4), Checkpoint(tmp_path)).run(epochs=4)
    notes = Notes()
    make(notes, Checkpoint(tmp_path), slow=At(5)).run(steps=5)
    assert notes.lines == ["4: val_n=4 slow_n=4", "5: slow_n=5"]


def test_steps_alone_or_the_loop_say_when() -> None:
    steps: list[int] = []
    loop = make(slow=At(2) | Every(epochs=2), eval_every=At(5))
    loop.on(Event.EVAL_END)(lambda moment: steps.append(moment.step))
    loop.run(epochs=2)
    assert steps == [2, 5, 6]


@pytest.mark.parametrize(
    ("every", "message"),
    [
        (Every(seconds=3), r"Evaluation 'val' \(every=...\) must be in steps or epochs.*Every\(seconds=3"),
        (1000, r"Evaluation\(every=...\) needs a trigger, as in Every\(steps=1000\) or None. Received: 1000"),
    ],
)
def test_a_schedule_is_the_same_in_every_run(every: object, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Evaluation(lambda batch: {"n": 1.0}, tf.data.Dataset.range(3), every=every)


def test_an_evaluation_that_was_put_off_and_is_no_more_is_no_event(tmp_path: Path) -> None:
    class Stops(Hook):
        every = At(3)

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def on_step_end(self, moment: Moment) -> None:
            self.loop.stop("at once")

    count = tf.Variable(0.0, name="count")
    data = tf.data.Dataset.range(3).batch(1)
    make(Stops(), Checkpoint(tmp_path)).run(epochs=2)
    heard: list[tuple[str, int]] = []
    loop = Loop(lambda batch: {"n": count.assign_add(1.0)}, data, state={"count": count}, hooks=[Checkpoint(tmp_path)])
    for event in (Event.EVAL_BEGIN, Event.EVAL_END, Event.EPOCH_BEGIN, Event.EPOCH_END):
        loop.on(event)(lambda moment: heard.append((str(moment.event), moment.step)))
    loop.run(epochs=2)
    assert heard == [("epoch_end", 3), ("epoch_begin", 3), ("epoch_end", 6)]


def test_a_schedule_of_an_evaluation_is_its_own_whatever_it_is_taken_for() -> None:
    class Empty(At):
        """Is false, as what has a length of 0 is."""

        def __len__(self) -> int:
            return 0

    notes = Notes()
    make(notes, slow=Empty(2)).run(epochs=1)
    assert notes.lines == ["2: slow_n=2", "3: val_n=3", "end of 1: val_n slow_n"]
