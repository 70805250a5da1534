"""What hooks report is a value like any other: it is watched, written, shown, saved, and there after a resume."""

import dataclasses
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import keras
import pytest
import rich.console
import tensorflow as tf
from lives import points
from tiny import make_counter

import hooks
from hooks import Checkpoint, EarlyStopping, Progress, TensorBoard, restore
from loop import ArrayData, Evaluation, Event, Every, Hook, Loop, Moment

VALUES = (3.0, 1.0, 2.0, 2.5, 0.5, 0.25)


class Probe(Hook):
    """Reports one of the values at the end of each epoch."""

    reports = ("probe",)

    def on_epoch_end(self, moment: Moment) -> None:
        moment.report(probe=VALUES[moment.epoch - 1])


class At(Hook):
    """Reports the step, after each second one."""

    reports = ("at",)
    every = Every(steps=2)

    def on_step_end(self, moment: Moment) -> None:
        moment.report(at=tf.constant(moment.step))


class Seen(Hook):
    """Notes the logs of all events, and what is reported."""

    every = Every(steps=1)

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.seen: list[tuple[str, int, dict[str, float]]] = []

    def note(self, moment: Moment) -> None:
        self.seen.append((str(moment.event), moment.step, {n: v for n, v in moment.logs.items() if "loss" not in n}))

    on_step_end = on_eval_end = on_epoch_end = on_settled = note

    def on_report(self, moment: Moment) -> None:
        self.seen.append((f"{moment.event} report", moment.step, dict(moment.logs)))


def make(of: Sequence[Hook], *, evaluate: Sequence[str] = ()) -> Loop:
    """Returns a loop of 2 steps an epoch over one variable."""
    w = tf.Variable(0.0)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": w.assign_add(tf.reduce_mean(x))}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": w + tf.reduce_mean(x)}

    def data() -> ArrayData:
        return ArrayData(tf.range(4.0), batch_size=2, shuffle=False)

    evaluations = [Evaluation(eval_step, data(), name=name) for name in evaluate]
    return Loop(train_step, data(), state={"w": w}, evaluate=evaluations or None, hooks=of)


def test_a_report_is_in_the_logs_from_then_on_and_is_told_to_all_once() -> None:
    before, after = Seen("before"), Seen("after")
    make([before, Probe(), after]).run(epochs=2)
    of_epoch = [("step_end", 2, {}), ("epoch_end", 2, {}), ("epoch_end report", 2, {"probe": 3.0})]
    assert before.seen[2:5] == [*of_epoch]
    assert after.seen[2:5] == [("step_end", 2, {}), ("epoch_end", 2, {"probe": 3.0}), of_epoch[2]]
    assert before.seen[5:8] == [("settled", 2, {"probe": 3.0}), ("step_end", 3, {}), ("settled", 3, {})]


@pytest.mark.more
def test_a_report_can_be_watched_wherever_its_hook_stands_and_a_resume_goes_on_with_it(tmp_path: Path) -> None:
    def of(name: str, *, stop: bool = True) -> list[Hook]:
        stopping = [EarlyStopping("probe", mode="min", patience=2)] if stop else []
        return [*stopping, Checkpoint(tmp_path / name, best="probe", mode="min", keep=1, background=False), Probe()]

    whole = make(of("whole")).run(epochs=6)
    assert whole.reason == "probe has not improved on 1 at step 4 in 2 checks"
    assert (whole.step, whole.logs["probe"]) == (8, 2.5)
    assert json.loads((tmp_path / "whole" / "ckpt-4.json").read_text())["best"]["value"] == 1.0
    assert json.loads((tmp_path / "whole" / "ckpt-8.json").read_text())["logs"]["probe"] == 2.5
    assert restore(tmp_path / "whole", {"w": tf.Variable(0.0)}, which="best") == 4

    cut = make(of("cut"))
    assert cut.run(steps=5).logs["probe"] == 1.0  # the latest
    again = make(of("cut"))
    result = again.run(epochs=6)
    assert dataclasses.replace(result, seconds=whole.seconds) == whole
    assert make(of("cut")).run(epochs=6).logs == whole.logs  # with nothing left to run


def test_a_report_after_steps_is_checked_each_time() -> None:
    result = make([EarlyStopping("at", mode="min", patience=2), At()]).run(steps=20)
    assert (result.step, result.reason) == (6, "at has not improved on 2 at step 2 in 2 checks")


def test_reports_are_written_and_shown_once(tmp_path: Path) -> None:
    class Fid(Hook):
        reports = ("val_fid",)

        def on_eval_end(self, moment: Moment) -> None:
            moment.report(val_fid=moment.logs["val_loss"] * 2)

    text = io.StringIO()
    shown = Progress(Every(steps=100), console=rich.console.Console(file=text, width=200))
    late = Probe()
    loop = make([TensorBoard(tmp_path / "tensorboard"), shown, Fid(), late], evaluate=["val"])
    result = loop.run(epochs=1)
    lines = [line.split("  (")[0] for line in text.getvalue().splitlines()]
    assert lines[:2] == ["epoch 1, step 2 of 2  loss 1.75  val_loss 4.5  val_fid 9", "step 2 of 2  probe 3"]
    assert {*points(tmp_path)} >= {("val", 2, "fid", 9.0), ("train", 2, "probe", 3.0)}
    assert result.logs == {"loss": 1.75, "val_loss": 4.5, "val_fid": 9.0, "probe": 3.0}


def test_a_report_is_written_beside_the_evaluation_that_it_is_of(tmp_path: Path) -> None:
    class Fid(Hook):
        reports = ("val_hard_fid", "val_fid")

        def on_eval_end(self, moment: Moment) -> None:
            moment.report(val_hard_fid=2.0, val_fid=1.0)

    make([TensorBoard(tmp_path / "tensorboard"), Fid()], evaluate=("val", "val_hard")).run(epochs=1)
    found = {(run, tag) for run, _, tag, _ in points(tmp_path) if tag.endswith("fid")}
    assert found == {("val", "fid"), ("val_hard", "fid")}


def test_what_is_unknown_or_missing_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        ValueError, match=r"watches 'prob', but this loop reports: 'loss', 'probe'. Did you mean 'probe'"
    ):
        make([Probe(), EarlyStopping("prob", mode="max")]).run(epochs=1)

    class Wrong(Hook):
        reports = ("probe",)

        def on_epoch_end(self, moment: Moment) -> None:
            moment.report(prob=1)

    with pytest.raises(ValueError, match=r"No hook announces 'prob'.*reports = \('prob',\).*Did you mean 'probe'\?"):
        make([Wrong()]).run(epochs=1)
    two = At()
    two.reports = ["at", "never"]
    make([two]).run(epochs=2)
    assert [line.split(". ")[0] for line in caplog.messages if "'at'" in line] == [
        "Hook 'at' announces 'never' and has not reported it in an epoch"
    ]
    loop = make([])
    loop.on(Event.EPOCH_END, reports=("loss",))(report_loss)
    with pytest.raises(ValueError, match="logged as 'loss': hook 'report_loss' reports one"):
        loop.run(epochs=1)


def report_loss(moment: Moment) -> None:
    moment.report(loss=1.0)


@pytest.mark.more
def test_what_cannot_be_reported_is_refused() -> None:
    kept: list[Moment] = []

    def reports(value: object) -> Loop:
        loop = make([])

        @loop.on(Event.EPOCH_END, reports=["x"])
        def report(moment: Moment) -> None:
            kept.append(moment)
            moment.report(x=value)

        return loop

    for value in ("1", None, [1.0, 2.0], 1j):
        with pytest.raises(TypeError, match=r"moment.report\(x=...\) needs a number"):
            reports(value).run(epochs=1)
    with pytest.raises(ValueError, match=r"moment.report\(x=...\) needs a number below 1.8e308"):
        reports(10**400).run(epochs=1)
    for value, is_taken in ((True, 1.0), (tf.constant(0.5, tf.bfloat16), 0.5), (math.inf, math.inf)):
        assert reports(value).run(epochs=1).logs["x"] == is_taken
    with pytest.raises(RuntimeError, match="for on_step_end, on_eval_end, on_epoch_end, while they run"):
        kept[-1].report(x=1.0)

    class Text(Probe):
        reports = "probe"

    with pytest.raises(TypeError, match=r"reports = \('probe',\), names in a tuple. Received: 'probe'"):
        make([Text()])
    with pytest.raises(ValueError, match="Hooks 'probe' and 'other' both report 'probe'"):
        make([Probe(), Probe(name="other")])


def test_what_callbacks_put_into_the_logs_can_be_reported() -> None:
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            (logs or {})["f1"] = VALUES[epoch]

    callbacks = hooks.KerasCallbacks([Adds()], reports=["f1"])
    assert make([callbacks, EarlyStopping("f1", mode="min", patience=2)]).run(epochs=6).step == 8


def test_a_hook_that_only_warns_may_report_and_may_be_in_a_second_loop() -> None:
    class Fails(Hook):
        reports = ("probe",)
        on_error = "warn"

        def on_epoch_end(self, moment: Moment) -> None:
            moment.report(probe=1.0)
            if moment.epoch == 2:
                raise OSError("no")

    hook = Fails()
    assert make([hook]).run(epochs=3).logs["probe"] == 1.0
    assert make([hook]).run(epochs=1).logs["probe"] == 1.0


@pytest.mark.more
@pytest.mark.parametrize("unnamed", [("probe", 1.0), ({"probe": 1.0},)])
def test_values_without_a_name_are_told_how_to_be_given(unnamed: tuple[object, ...]) -> None:
    loop = make_counter([])
    loop.on(Event.EPOCH_END, reports=["probe"])(lambda moment: moment.report(*unnamed))
    with pytest.raises(TypeError, match=r"takes values by name, as in moment\.report\(probe=0\.5\), or .*'probe'"):
        loop.run(epochs=1)
    given = make_counter([])
    given.on(Event.EPOCH_END, reports=["probe"])(lambda moment: moment.report(**{"probe": 0.5}))
    assert given.run(epochs=1).logs["probe"] == 0.5
