"""Which checkpoints are kept for good, beside the latest and the best."""

import types
from pathlib import Path

import pytest
import tensorflow as tf
from storage import EVERY_1, EVERY_2, counting_loop, files, names, rows, steps_in

from hooks import Checkpoint
from loop import NEVER, ArrayData, At, Event, Every, Loop, Moment, Trigger


@pytest.mark.parametrize(
    ("keep_every", "kept"),
    [
        (NEVER, [9]),
        (Every(steps=4), [4, 8, 9]),
        (Every(epochs=1), [8, 9]),
        (At(3, 5), [3, 9]),  # 5 is never saved: this does not make anything be saved
        (Every(steps=4) | At(6), [4, 6, 8, 9]),
    ],
    ids=repr,
)
def test_some_are_kept_for_good(keep_every: Trigger, kept: list[int], tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, EVERY_2 | At(3), keep=1, keep_every=keep_every)).run(steps=9)
    assert files(tmp_path).keys() == names(*kept)


def test_epochs_are_kept_for_good_by_their_number(tmp_path: Path) -> None:
    counting_loop(Checkpoint(tmp_path, keep=1, keep_every=Every(epochs=2))).run(epochs=5)
    assert files(tmp_path).keys() == names(16, 32, 40)


@pytest.mark.more
def test_what_is_kept_for_good_stays_so_when_a_run_is_resumed(tmp_path: Path) -> None:
    for steps in (3, 5, 9):
        counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=Every(steps=4))).run(steps=steps)
    assert files(tmp_path).keys() == names(4, 8, 9)


def test_the_first_in_each_interval_of_training_time_is_kept_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every step takes 10 seconds, and 1000 more pass between two runs, which are none of training.
    now = [0.0]
    monkeypatch.setattr("loop.engine.clock.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    kept = []
    for steps in (5, 12):
        loop = counting_loop(Checkpoint(tmp_path, EVERY_1, keep=1, keep_every=Every(seconds=35)))

        @loop.on(Event.STEP_END, every=EVERY_1)
        def tick(moment: Moment) -> None:
            now[0] += 10

        loop.run(steps=steps)
        kept.append(steps_in(tmp_path))
        now[0] += 1000
    # The grid is at 35, 70 and 105 seconds.
    assert kept == [[4, 5], [4, 7, 11, 12]]


def test_the_latest_the_best_and_those_for_good_are_kept_together(tmp_path: Path) -> None:
    total = tf.Variable(0, dtype=tf.int32, name="total")
    losses = tf.constant([5.0, 4.0, 1.0, 3.0, 2.0, 6.0, 7.0, 8.0, 9.0, 9.5])
    loop = Loop(
        lambda x: {"loss": losses[total.assign_add(1) - 1]},
        ArrayData(rows()[:1], batch_size=1, seed=3),
        state={"total": total},
        hooks=[Checkpoint(tmp_path, EVERY_1, keep=2, best="loss", mode="min", keep_best=2, keep_every=Every(steps=4))],
    )
    loop.run(epochs=10)
    assert files(tmp_path).keys() == names(3, 5, 4, 8, 9, 10)  # best: 3, 5; for good: 4, 8; latest: 9, 10


@pytest.mark.parametrize("wrong", [4, 4.0, "4", None])
def test_what_is_kept_for_good_is_said_by_a_trigger(wrong: object, tmp_path: Path) -> None:
    message = rf"^Checkpoint\(keep_every=...\) needs a trigger, as in Every\(steps=(4|5000)\). Received: {wrong!r}"
    with pytest.raises(TypeError, match=message):
        Checkpoint(tmp_path, keep_every=wrong)
