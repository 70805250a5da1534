"""Which events come, in which order, at which step."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny import DATA, array_data, bits, make_counter, make_loop

from hooks import Checkpoint, EarlyStopping
from loop import NEVER, ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, Trigger
from loop.engine.traced.ring import LONGEST

Row = tuple[str, int, int, int, bool]


class Recorder(Hook):
    """Writes down each event it gets: name, step, epoch, step in epoch, whether it is the last round."""

    def __init__(self, every: Trigger = Every(steps=1), name: str | None = None) -> None:
        super().__init__(name=name)
        self.every = every
        self._rows: list[Row] = []

    @property
    def rows(self) -> list[Row]:
        return list(self._rows)

    def record(self, moment: Moment) -> None:
        self._rows.append((str(moment.event), moment.step, moment.epoch, moment.step_in_epoch, moment.last))

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.record(moment)

    on_run_begin = on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = record
    on_epoch_end = on_settled = on_run_end = record


def test_complete_list_of_a_run_with_evaluation_checkpoint_and_early_stop(tmp_path: object) -> None:
    recorder = Recorder(every=At(3, 9))
    # "accuracy" cannot exceed 1, so nothing improves on the first check and the second one ends the run.
    stopping = EarlyStopping("val_accuracy", mode="max", patience=1, min_delta=1.0)
    loop = make_counter([recorder, stopping, Checkpoint(f"{tmp_path}/checkpoints", Every(steps=5))])
    result = loop.run(epochs=9)
    assert recorder.rows == [
        ("setup", 0, 0, 0, False),
        ("run_begin", 0, 0, 0, False),
        ("epoch_begin", 0, 0, 0, False),
        ("step_end", 3, 0, 3, False),
        ("settled", 3, 0, 3, False),
        ("settled", 5, 0, 5, False),
        ("eval_begin", 7, 0, 7, False),
        ("eval_end", 7, 0, 7, False),
        ("epoch_end", 7, 1, 0, False),
        ("settled", 7, 1, 0, False),
        ("epoch_begin", 7, 1, 0, False),
        ("step_end", 9, 1, 2, False),
        ("settled", 9, 1, 2, False),
        ("settled", 10, 1, 3, False),
        ("eval_begin", 14, 1, 7, False),
        ("eval_end", 14, 1, 7, False),
        ("epoch_end", 14, 2, 0, True),
        ("settled", 14, 2, 0, True),
        ("run_end", 14, 2, 0, True),
    ]
    assert "val_accuracy has not improved" in result.reason
    again = Recorder(every=At(3, 9))
    stopping = EarlyStopping("val_accuracy", mode="max", patience=1, min_delta=1.0)
    resumed = make_counter([again, stopping, Checkpoint(f"{tmp_path}/checkpoints", Every(steps=5))])
    assert dataclasses.replace(resumed.run(epochs=9), seconds=result.seconds) == result
    assert again.rows[:3] == [
        ("setup", 0, 0, 0, False),
        ("run_begin", 14, 2, 0, False),
        ("run_end", 14, 2, 0, True),
    ]


@pytest.mark.parametrize("data", DATA)
def test_steps_are_counted_exactly_for_each_kind_of_data(data: str) -> None:
    recorder = Recorder(every=Every(steps=5))
    loop = make_counter([recorder], DATA[data](), evaluate=False)
    loop.run(epochs=2)
    assert [row for row in recorder.rows if row[0] in ("step_end", "epoch_end")] == [
        ("step_end", 5, 0, 5, False),
        ("epoch_end", 7, 1, 0, False),
        ("step_end", 10, 1, 3, False),
        ("epoch_end", 14, 2, 0, True),
    ]


@pytest.mark.parametrize("data", ["arrays", "dataset", "unknown length"])
def test_an_epoch_that_ends_at_a_wanted_step_is_one_round(data: str) -> None:
    recorder = Recorder(every=At(7) | Every(epochs=1))
    loop = make_counter([recorder], DATA[data](), eval_every=Every(steps=7) | Every(epochs=1))
    loop.run(epochs=2)
    a_round = ["step_end", "eval_begin", "eval_end", "epoch_end", "settled"]
    names = [row[0] for row in recorder.rows]
    assert names == ["setup", "run_begin", *["epoch_begin", *a_round] * 2, "run_end"]


@pytest.mark.parametrize("data", DATA)
def test_splitting_a_run_changes_neither_bits_nor_events(data: str) -> None:
    recorder = Recorder(every=Every(steps=3))
    loop = make_loop([recorder], DATA[data]())
    loop.audit()  # traced once, and taken back to the beginning
    with loop.state.put_back_after():
        loop.run(epochs=3)
        whole, expected = recorder.rows, bits(loop)
    for steps in (1, 6, 7, 8, 14, 20):
        assert loop.run(steps=steps).step == steps
    loop.run(epochs=3)
    assert bits(loop) == expected
    mine = ("setup", "run_begin", "run_end", "settled")
    scheduled = [row[:4] for row in recorder.rows[len(whole) :] if row[0] not in mine]
    assert scheduled == [row[:4] for row in whole if row[0] not in mine]


@pytest.mark.more
def test_values_of_all_steps_come_in_order_and_once_whatever_the_cuts() -> None:
    def values(every: Trigger) -> list[tuple[int, float]]:
        found = []

        class Values(Hook):
            def on_steps(self, first_step: int, values: dict) -> None:
                found.extend(zip(itertools.count(first_step), values["loss"].tolist(), strict=False))

        make_counter([Values(), Recorder(every)]).run(epochs=3)
        return found

    uncut = values(At())
    assert [step for step, _ in uncut] == list(range(1, 22))
    assert values(Every(steps=1)) == uncut
    assert values(Every(steps=4)) == uncut


def test_values_of_more_steps_than_are_kept_come_in_order_and_once() -> None:
    """Within one epoch, in calls of the compiled loop that begin anywhere in the ring."""
    count, seen = tf.Variable(0.0), list[float]()

    class All(Hook):
        every = Every(steps=5_000)

        def on_step_end(self, moment: Moment) -> None:
            assert moment.logs == {"count": moment.step, "twice": 2 * moment.step}

        def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
            assert first_step == len(seen) + 1
            assert (values["twice"] == 2 * values["count"]).all()
            seen.extend(values["count"].tolist())

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        value = count.assign_add(1.0)
        return {"count": value, "twice": 2 * value}

    steps = 2 * LONGEST + 4_000
    loop = Loop(step, ArrayData(tf.range(steps), batch_size=1), state={"count": count}, hooks=[All()])
    loop.run(steps=3)
    loop.run(epochs=1)
    assert seen == [*range(1, steps + 1)]


def test_step_values_are_those_of_exactly_that_step() -> None:
    losses = {}

    class Values(Hook):
        def on_steps(self, first_step: int, values: dict) -> None:
            losses.update(zip(itertools.count(first_step), values["loss"].tolist(), strict=False))

    seen = {}
    loop = make_counter([Values()])
    loop.on(Event.STEP_END, every=At(2, 7, 13))(lambda moment: seen.update({moment.step: moment.logs["loss"]}))
    loop.run(epochs=2)
    assert seen == {step: losses[step] for step in (2, 7, 13)}


@pytest.mark.more
def test_epoch_means_are_weighted_by_examples_and_a_metric_replaces_the_mean_of_its_name() -> None:
    rows, logs = [], []
    loop = make_loop([], array_data(), evaluate=False)

    class Values(Hook):
        def on_steps(self, first_step: int, values: dict) -> None:
            rows.extend(values["loss"].astype("float64").tolist())

    loop.hooks.add(Values())
    loop.on(Event.EPOCH_END)(lambda moment: logs.append(dict(moment.logs)))
    loop.run(epochs=1)
    sizes = [8, 8, 8, 8, 8, 8, 2]
    expected = sum(loss * size for loss, size in zip(rows, sizes, strict=True)) / sum(sizes)
    assert logs[0]["loss"] == pytest.approx(expected, rel=1e-12)
    assert sorted(logs[0]) == ["accuracy", "learning_rate", "loss"]
    assert logs[0]["accuracy"] * 50 == pytest.approx(round(logs[0]["accuracy"] * 50))


@pytest.mark.parametrize("event", [Event.SETUP, Event.RUN_BEGIN])
def test_a_stop_before_the_first_step_runs_none(event: Event) -> None:
    recorder = Recorder()
    loop = make_counter([recorder])
    if event is Event.SETUP:
        loop.on(event)(lambda loop, moment: moment.stop("enough"))
    else:
        loop.on(event)(lambda moment: moment.stop("enough"))
    result = loop.run(epochs=3)
    assert (result.step, result.reason) == (0, "enough")
    assert [row[0] for row in recorder.rows] == ["setup", "run_begin", "run_end"]


def test_a_stop_asked_of_the_moment_comes_after_the_whole_round() -> None:
    recorder = Recorder(every=At(7))
    loop = make_counter([recorder])
    loop.on(Event.STEP_END, every=At(7))(lambda moment: moment.stop("enough"))
    loop.run(epochs=3)
    assert [(row[0], row[4]) for row in recorder.rows[3:]] == [
        ("step_end", False),
        ("eval_begin", True),
        ("eval_end", True),
        ("epoch_end", True),
        ("settled", True),
        ("run_end", True),
    ]


@pytest.mark.parametrize("stop_at", [Event.STEP_END, Event.EVAL_BEGIN])
def test_a_stop_asked_of_the_loop_puts_the_evaluation_off_until_the_run_goes_on(stop_at: Event) -> None:
    whole = Recorder(every=At(7))
    reference = make_counter([whole])
    reference.run(epochs=2)

    recorder, stopped = Recorder(every=At(7)), []
    loop = make_counter([recorder])

    def stop(moment: Moment) -> None:
        if moment.step == 7 and not stopped:
            stopped.append(loop.stop("now"))

    loop.on(stop_at, **({"every": At(7)} if stop_at is Event.STEP_END else {}))(stop)
    result = loop.run(epochs=2)
    assert (result.step, result.epoch, result.reason) == (7, 0, "now")
    begun = [("eval_begin", 7, 0, 7, False)] if stop_at is Event.EVAL_BEGIN else []
    assert recorder.rows[3:] == [
        ("step_end", 7, 0, 7, False),
        *begun,
        ("settled", 7, 0, 7, True),
        ("run_end", 7, 0, 7, True),
    ]
    before = len(recorder.rows)
    loop.run(epochs=2)
    # What was put off comes first, then everything as if nothing had happened.
    assert recorder.rows[before + 2 :] == whole.rows[4:]
    assert bits(loop) == bits(reference)


@pytest.mark.more
def test_a_stop_asked_for_when_an_epoch_begins_ends_with_its_first_step() -> None:
    loop = make_counter()
    loop.on(Event.EPOCH_BEGIN)(lambda moment: moment.stop("enough"))
    assert loop.run(epochs=3).step == 1


def test_a_stop_that_comes_while_hooks_are_settling_is_saved(tmp_path: object) -> None:
    settled: list[tuple[int, bool]] = []
    loop = make_counter([Checkpoint(f"{tmp_path}/checkpoints", Every(steps=100))])

    @loop.on(Event.SETTLED)
    def stop(moment: Moment) -> None:
        settled.append((moment.step, moment.last))
        loop.stop("now")

    loop.on(Event.STEP_END, every=At(3))(lambda moment: None)
    assert loop.run(epochs=3).step == 3
    assert settled == [(3, False)]  # only those that save are told again
    assert tf.train.latest_checkpoint(f"{tmp_path}/checkpoints") == f"{tmp_path}/checkpoints/ckpt-3"


@pytest.mark.more
@pytest.mark.parametrize("steps", [7, 14])
def test_an_evaluation_that_was_put_off_is_made_up_for_once_and_saved(tmp_path: object, steps: int) -> None:
    reference = make_counter()
    reference.run(steps=steps)
    lives = []
    for life in range(3):
        recorder = Recorder(every=At(7))
        loop = make_counter([recorder, Checkpoint(f"{tmp_path}/checkpoints", NEVER, best="val_accuracy", mode="max")])
        if life == 0:
            loop.on(Event.EVAL_BEGIN)(lambda moment, loop=loop: loop.stop("now"))
        loop.run(steps=steps)
        lives.append([row[0] for row in recorder.rows if row[1] == 7])
    made_up_for = ["run_begin", "eval_begin", "eval_end", "epoch_end", "settled"]
    assert lives[0] == ["step_end", "eval_begin", "settled", "run_end"]
    assert lives[1] == (made_up_for + ["run_end"] if steps == 7 else made_up_for + ["epoch_begin"])
    assert lives[2] == (["run_begin", "run_end"] if steps == 7 else [])
    assert {p: v for p, v in bits(loop).items() if not p.startswith("hooks/")} == bits(reference)
    assert [*Path(f"{tmp_path}/checkpoints/pending").glob("ckpt*")] == []


@pytest.mark.more
def test_a_stop_that_comes_during_the_save_is_saved_once_more(tmp_path: object) -> None:
    class Late(Hook):
        saves = True

        def on_settled(self, moment: Moment) -> None:
            if moment.step == 3:
                loop.stop("now")

    loop = make_counter([Checkpoint(f"{tmp_path}/checkpoints", NEVER), Late()])
    loop.on(Event.STEP_END, every=At(3))(lambda moment: None)
    assert loop.run(epochs=3).step == 3
    assert tf.train.latest_checkpoint(f"{tmp_path}/checkpoints") == f"{tmp_path}/checkpoints/ckpt-3"


@pytest.mark.more
def test_what_hooks_change_when_they_settle_is_saved_wherever_they_stand(tmp_path: object) -> None:
    class Budget(Hook):
        def __init__(self) -> None:
            super().__init__()
            self.rounds, self.over = tf.Variable(0), tf.Variable(False)

        def on_run_begin(self, moment: Moment) -> None:
            if self.over:
                moment.stop("budget")

        def on_settled(self, moment: Moment) -> None:
            self.rounds.assign_add(1)
            if moment.step >= 4:
                self.over.assign(True)
                moment.stop("budget")

    for directory, first in (("before", True), ("behind", False)):
        for _ in range(3):
            hooks = [Budget(), Checkpoint(f"{tmp_path}/{directory}", Every(steps=2))]
            loop = make_counter(hooks if first else hooks[::-1])
            assert (loop.run(steps=10).step, int(hooks[0].rounds)) == (4, 2)


def test_an_exception_when_hooks_settle_leaves_the_state_whole() -> None:
    loop, whole = make_counter(), make_counter()
    loop.on(Event.SETTLED)(lambda moment: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run(epochs=2)
    loop.hooks.remove("on_settled")
    loop.run(epochs=2)
    whole.run(epochs=2)
    assert bits(loop) == bits(whole)


def test_a_stop_that_comes_while_the_step_is_traced_counts() -> None:
    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        thread = threading.Thread(target=loop.stop, args=("early",))
        thread.start()
        thread.join()
        return {"x": batch}

    loop = Loop(step, tf.data.Dataset.range(6), state={})
    assert (loop.run(epochs=1).step, loop.run(epochs=1).step) == (0, 6)


def test_hooks_are_called_in_order_and_run_end_backwards() -> None:
    order: list[str] = []

    class Named(Hook):
        def on_run_begin(self, moment: Moment) -> None:
            order.append(f"begin {self.name}")

        def on_run_end(self, moment: Moment) -> None:
            order.append(f"end {self.name}")

    make_counter([Named(name="a"), Named(name="b")]).run(steps=1)
    assert order == ["begin a", "begin b", "end b", "end a"]


def test_an_exception_of_a_hook_names_it_and_every_hook_that_began_gets_run_end() -> None:
    ended: list[str] = []

    class Begun(Hook):
        def on_run_end(self, moment: Moment) -> None:
            ended.append(f"{self.name}: {moment.error!r}")

    class Failing(Hook):
        def on_epoch_begin(self, moment: Moment) -> None:
            raise OSError("no more paper")

    loop = make_counter([Begun(name="first"), Failing(), Begun(name="last")])
    with pytest.raises(OSError, match="no more paper") as caught:
        loop.run(epochs=1)
    assert caught.value.__notes__ == ["Raised by hook 'failing' in on_epoch_begin."]
    assert ended == ["last: OSError('no more paper')", "first: OSError('no more paper')"]
    with pytest.raises(RuntimeError, match="half-updated"):
        loop.run(epochs=1)


def test_a_failing_setup_ends_only_the_hooks_before_it() -> None:
    ended: list[str] = []

    class Begun(Hook):
        def on_run_end(self, moment: Moment) -> None:
            ended.append(self.name)

    class Failing(Hook):
        def on_setup(self, loop: Loop, moment: Moment) -> None:
            raise ValueError("not ready")

        def on_run_end(self, moment: Moment) -> None:
            ended.append(self.name)

    with pytest.raises(ValueError, match="not ready"):
        make_counter([Begun(name="first"), Failing(), Begun(name="last")]).run(epochs=1)
    assert ended == ["first"]


def test_an_error_at_the_end_does_not_hide_the_first_one_nor_keep_others_from_ending() -> None:
    ended: list[str] = []

    class Ending(Hook):
        def on_run_end(self, moment: Moment) -> None:
            ended.append(self.name)
            raise OSError(f"{self.name} cannot close")

    loop = make_counter([Ending(name="a"), Ending(name="b")])
    loop.on(Event.EPOCH_END)(lambda moment: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        loop.run(epochs=1)
    assert ended == ["b", "a"]
    assert [note for note in caught.value.__notes__ if "cannot close" in note] == caught.value.__notes__[1:]


def test_several_evaluations_are_one_round_with_all_results() -> None:
    weight = tf.Variable(1.0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        weight.assign_add(1.0)
        return {"loss": weight}

    data = tf.data.Dataset.range(3)
    logs = []
    loop = Loop(
        step,
        data,
        state={"weight": weight},
        evaluate=[
            Evaluation(lambda batch: {"x": tf.cast(batch, tf.float32)}, data),
            Evaluation(lambda batch: {"x": weight}, data, name="test", steps=1),
        ],
    )
    loop.on(Event.EVAL_END)(lambda moment: logs.append(dict(moment.logs)))
    loop.run(epochs=2)
    assert logs == [{"val_x": 1.0, "test_x": 4.0}, {"val_x": 1.0, "test_x": 7.0}]
    assert loop.evaluate() == {"val_x": 1.0, "test_x": 7.0}


@pytest.mark.more
def test_plain_lists_and_dicts_of_a_hook_are_its_own_affair_and_variables_in_them_are_state(tmp_path: object) -> None:
    class Noting(Hook):
        every: Trigger = Every(steps=1)

        def __init__(self) -> None:
            super().__init__()
            self.notes: list[dict[str, int]] = []
            self.counts = {"steps": tf.Variable(0)}

        def on_step_end(self, moment: Moment) -> None:
            self.notes.append({"step": moment.step})
            self.notes[0]["again"] = moment.step
            del self.notes[1:]
            self.counts["steps"].assign_add(1)

    make_counter([Noting(), Checkpoint(f"{tmp_path}/checkpoints", Every(steps=1))]).run(steps=3)
    noting = Noting()
    make_counter([noting, Checkpoint(f"{tmp_path}/checkpoints", Every(steps=1))]).run(steps=5)
    assert (int(noting.counts["steps"]), type(noting.notes)) == (5, list)


def test_the_time_of_a_run_is_told_by_what_it_went_into() -> None:
    loop = make_counter([Recorder()])
    began = time.monotonic()
    spent = loop.run(epochs=2).spent
    took = time.monotonic() - began
    assert sorted(spent) == ["evaluation", "loop", "recorder", "steps", "tracing"]
    assert all(seconds > 0 for seconds in spent.values())
    assert sum(spent.values()) <= took
    again = loop.run(epochs=2).spent
    assert again.keys() == {"loop", "recorder", "tracing"}  # of this run alone, in which nothing was left to do


def test_the_time_of_a_step_that_fails_is_told_too() -> None:
    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_less(x[0], 3)
        return {"x": x[0]}

    loop = Loop(train_step, ArrayData(tf.range(5), batch_size=1, shuffle=False), state={})
    with pytest.raises(tf.errors.InvalidArgumentError):
        loop.run(epochs=1)
    assert loop.spent["steps"] > 0
