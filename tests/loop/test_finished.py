"""A run that is finished and started again: nothing is traced, everything is what it was, and a longer run goes on."""

import contextlib
import dataclasses
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
from tensorflow.python.summary.summary_iterator import summary_iterator
from tiny import DATA, array_data, arrays, make_counter, make_loop, model

from hooks import Checkpoint, CorruptCheckpoint, EarlyStopping, Preemption, Progress, TensorBoard
from loop import (
    ArrayData,
    At,
    Evaluation,
    Event,
    Every,
    Hook,
    InexactRun,
    Loop,
    Moment,
    RunResult,
    Step,
    digest,
    supervised,
)

Row = tuple[str, int, int, int, bool, bool]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Gets an entry for each call of a step function in Python, and for each function that is traced.

    But for those that make the passes of a pipeline, or read it: where the data stood is gone to in any case.
    """
    calls, call, function = list[object](), Step.__call__, tf.function

    def of_any(*args: object, **named: object) -> object:
        module = getattr(args[0], "__module__", "") if args else ""
        calls.extend([] if module.startswith(("loop.rebuilt", "loop.data")) else [args])
        return function(*args, **named)

    monkeypatch.setattr(Step, "__call__", lambda step, batch: calls.append(step) or call(step, batch))
    monkeypatch.setattr(tf, "function", of_any)
    return calls


def values(loop: Loop) -> dict[str, str]:
    """Returns a digest of every variable of the state, the training time included."""
    return {path: digest(variable.read_value()) for path, variable in loop.state.variables.items()}


def without_time(loop: Loop) -> dict[str, str]:
    return {path: value for path, value in values(loop).items() if path != "clock/seconds"}


class Recorder(Hook):
    """Notes each event, and the names that are known in SETUP."""

    every = Every(steps=2)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []

    def record(self, moment: Moment) -> None:
        place = moment.step, moment.epoch, moment.step_in_epoch
        self._rows.append((str(moment.event), *place, moment.last, moment.resumed))

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.names = (loop.train_names, loop.evaluation_names["val"], loop.total_steps)
        self.record(moment)

    on_run_begin = on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = record
    on_epoch_end = on_settled = on_run_end = record


class Life(NamedTuple):
    loop: Loop
    recorder: Recorder
    console: rich.console.Console

    def said(self) -> list[str]:
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue().splitlines()


def start(directory: Path, make: Callable[[Sequence[Hook]], Loop] = make_loop, **arguments: object) -> Life:
    """Returns a loop with everything that keeps something of a run."""
    recorder, console = Recorder(), rich.console.Console(file=io.StringIO(), width=200)
    patience = {"patience": 9, "restore_best": "weights"} | arguments
    hooks = [
        Progress(Every(epochs=1), console=console),
        TensorBoard(directory / "tensorboard", Every(steps=2)),
        EarlyStopping("val_accuracy", mode="min", **patience),  # it rises: the first check is the best
        Checkpoint(directory / "checkpoints", Every(steps=5), best="val_loss", mode="min"),
        Preemption(),
        recorder,
    ]
    return Life(make(hooks), recorder, console)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult, dict[str, str]]:
    """The directory of a run of 3 epochs, 21 steps, its result, and the state when it had ended."""
    directory = tmp_path_factory.mktemp("finished")
    loop = start(directory).loop
    return directory, loop.run(epochs=3), values(loop)


@pytest.fixture
def copied(finished: tuple[Path, RunResult, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "copied"))


def files(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file() and p.name != ".lock"}


def curves(directory: Path) -> list[tuple[str, int, str, float]]:
    """Returns every point of every curve."""
    return [
        (path.parent.name, event.step, value.tag, value.simple_value)
        for path in sorted(directory.rglob("events*"))
        for event in summary_iterator(str(path))
        for value in event.summary.value
    ]


EQUAL = [{"epochs": 3}, {"steps": 21}, {"epochs": 3, "steps": 500}]
FEWER = [({"epochs": 1}, "1 epoch was asked for, 3 are complete"), ({"steps": 2}, "2 steps were asked for, 21 are")]


@pytest.mark.more
@pytest.mark.parametrize("asked", [*EQUAL, *(asked for asked, _ in FEWER)])
def test_nothing_is_traced_and_everything_is_what_it_was(
    asked: dict[str, int],
    finished: tuple[Path, RunResult, dict[str, str]],
    copied: Path,
    traced: list[object],
) -> None:
    _, result, state = finished
    before = files(copied / "checkpoints"), curves(copied / "tensorboard")
    loop, recorder, _ = start(copied)
    again = loop.run(**asked)
    assert traced == []
    assert (again.step, again.epoch, again.logs, again.seconds) == (21, 3, result.logs, result.seconds)
    assert values(loop) == state
    assert (loop.step, loop.epoch, loop.step_in_epoch) == (21, 3, 0)
    assert recorder._rows == [
        ("setup", 0, 0, 0, False, False),
        ("run_begin", 21, 3, 0, True, True),
        ("run_end", 21, 3, 0, True, True),
    ]
    assert recorder.names[:2] == (("accuracy", "loss", "learning_rate"), ("val_accuracy", "val_loss"))
    assert (files(copied / "checkpoints"), curves(copied / "tensorboard")) == before
    assert "tracing" not in again.spent
    loop.run(**asked)  # the lock was given back
    assert traced == []
    assert values(loop) == state


@pytest.mark.parametrize("asked", EQUAL[:2])
def test_the_result_of_a_run_of_which_as_much_is_asked_is_what_it_was(
    asked: dict[str, int], finished: tuple[Path, RunResult, dict[str, str]], copied: Path
) -> None:
    again = start(copied).loop.run(**asked)
    reason = "3 epochs are complete" if "epochs" in asked else "21 steps are complete"
    assert again == dataclasses.replace(finished[1], reason=reason)


@pytest.mark.parametrize(("asked", "reason"), FEWER)
def test_the_result_of_a_run_of_which_less_is_asked_says_so(asked: dict[str, int], reason: str, copied: Path) -> None:
    assert start(copied).loop.run(**asked).reason.startswith(reason)


def lines_of(life: Life) -> list[str]:
    """Returns what it has said, without what depends on time."""
    return [line for line in life.said() if " s: " not in line]


def test_a_finished_run_says_that_there_is_nothing_to_do(copied: Path) -> None:
    life = start(copied)
    life.loop.run(epochs=1)
    life.loop.run(epochs=3)
    life.loop.run(steps=1)
    life.loop.run(steps=21)
    assert lines_of(life) == [
        "1 epoch was asked for, 3 are complete: nothing to do",
        "3 epochs were asked for, 3 are complete: nothing to do",
        "1 step was asked for, 21 are complete: nothing to do",
        "21 steps were asked for, 21 are complete: nothing to do",
    ]


def test_a_run_that_is_finished_in_the_same_process_says_so_too(tmp_path: Path) -> None:
    life = start(tmp_path, make_counter)
    first = life.loop.run(steps=1)
    assert life.loop.run(steps=1) == first
    assert lines_of(life) == ["1 step was asked for, 1 is complete: nothing to do"]
    life.loop.run(steps=2)
    assert lines_of(life)[1:] == ["Going on from step 1, epoch 1."]


@pytest.mark.more
def test_a_loop_that_was_not_traced_goes_on_as_one_that_was_never_stopped(
    copied: Path, tmp_path: Path, traced: list[object]
) -> None:
    whole = start(tmp_path / "whole")
    expected = whole.loop.run(epochs=5)
    del traced[:]
    loop, recorder, _ = start(copied)
    loop.run(epochs=3)
    assert traced == []
    result = loop.run(epochs=5)
    assert traced != []
    assert (result.step, result.logs, result.reason) == (35, expected.logs, expected.reason)
    assert without_time(loop) == without_time(whole.loop)
    begun = next(i for i, row in enumerate(recorder._rows) if row[0] == "epoch_begin")
    expected_rows = [row[:5] for row in whole.recorder._rows if row[1] > 21 or row[:2] == ("epoch_begin", 21)]
    assert [row[:5] for row in recorder._rows[begun:]] == expected_rows


@pytest.mark.more
def test_what_needs_a_trace_makes_one_and_leaves_the_state_as_it_is(
    finished: tuple[Path, RunResult, dict[str, str]], copied: Path, traced: list[object]
) -> None:
    loop = start(copied, restore_best=None).loop
    result, state = loop.run(epochs=3), values(loop)
    assert traced == []
    assert loop.evaluate() == {name: value for name, value in result.logs.items() if name.startswith("val_")}
    assert traced != []
    assert loop.audit() == []
    assert values(loop) == state
    assert (loop.train_names, loop.evaluation_names) == (
        ("accuracy", "loss", "learning_rate"),
        {"val": ("val_accuracy", "val_loss")},
    )
    assert (loop.total_steps, "loop" in loop.spent) == (21, True)
    assert loop.run(epochs=3) == result


@pytest.mark.more
def test_a_hook_may_evaluate_when_a_finished_run_ends(copied: Path) -> None:
    loop, found = start(copied).loop, []

    @loop.on(Event.RUN_END)
    def evaluate(moment: Moment) -> None:
        found.append(loop.evaluate())

    before = loop.run(epochs=3)
    assert [{*results} for results in found] == [{"val_accuracy", "val_loss"}]
    loop.run(epochs=4)  # from the last step, and not from the best weights, which were shown
    whole = start(copied.parent / "whole").loop
    whole.run(epochs=4)
    assert (before.step, without_time(loop)) == (21, without_time(whole))


# Runs that a hook has ended.


@pytest.mark.more
def test_a_run_that_early_stopping_has_ended_ends_again_without_a_trace(tmp_path: Path, traced: list[object]) -> None:
    ended = start(tmp_path, make_counter, patience=2)
    result, state = ended.loop.run(epochs=9), values(ended.loop)
    assert (result.step, ended.recorder._rows[-1]) == (21, ("run_end", 21, 3, 0, True, False))
    del traced[:]
    again = start(tmp_path, make_counter, patience=2)
    assert again.loop.run(epochs=9) == result
    assert traced == []
    assert values(again.loop) == state
    assert [row[0] for row in again.recorder._rows] == ["setup", "run_begin", "run_end"]
    assert lines_of(again) == [f"{result.reason}: nothing to do"]
    patient, whole = start(tmp_path, make_counter, patience=5), start(tmp_path / "whole", make_counter, patience=5)
    assert patient.loop.run(epochs=9).logs == whole.loop.run(epochs=9).logs
    assert without_time(patient.loop) == without_time(whole.loop)
    assert lines_of(patient)[0] == "Going on from step 21, epoch 4."
    assert patient.recorder._rows[0] == ("setup", 0, 0, 0, False, False)


# Where there is something to compare, or to be made, that only a trace can.


class Factor:
    """Nothing in its attributes says what it does, unlike those of other objects."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value = value

    def __rmul__(self, other: tf.Tensor) -> tf.Tensor:
        return other * self.value


def line_loop(
    directory: Path,
    factor: object = 1.0,
    *hooks: Hook,
    loss: Callable[[tf.Tensor], tf.Tensor] = tf.square,
    changed: str = "refuse",
    data: object = None,
) -> Loop:
    """Returns a loop over one weight, of which the step is traced in no time."""
    weight = tf.Variable(2.0)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        value = loss(weight) * factor
        weight.assign_sub(0.1 * value)
        return {"loss": value}

    made = ArrayData(tf.range(8.0), batch_size=2, seed=1) if data is None else data
    checkpoint = Checkpoint(directory, Every(steps=3), resume_changed=changed)
    return Loop(step, made, state={"weight": weight}, hooks=[*hooks, checkpoint])


@pytest.mark.parametrize(
    "changed", [{"factor": 0.5}, {"loss": tf.abs}, {"loss": lambda weight: weight**2}, {"factor": None}]
)
def test_a_changed_program_is_refused_though_nothing_is_left_to_run(
    changed: dict, tmp_path: Path, traced: list[object]
) -> None:
    line_loop(tmp_path).run(steps=4)
    before = files(tmp_path)
    del traced[:]
    if changed == {"factor": None}:  # the neighbour: the same program
        assert line_loop(tmp_path).run(steps=4).step == 4
        assert traced == []
        return
    loop = line_loop(tmp_path, **changed)
    with pytest.raises(ValueError, match="Nothing was restored:\n  the 'train' step has other"):
        loop.run(steps=4)
    assert (files(tmp_path), loop.step) == (before, 0)
    with pytest.warns(UserWarning, match="goes on with other numbers: the 'train' step has other"):
        assert line_loop(tmp_path, changed="warn", **changed).run(steps=4).step == 4


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (lambda: ArrayData(tf.range(8.0), batch_size=2, seed=1), lambda: ArrayData(tf.ones([8]), batch_size=2, seed=1)),
        (lambda: tf.data.Dataset.range(8).batch(2), lambda: tf.data.Dataset.range(1, 9).batch(2)),
    ],
)
def test_other_data_are_refused_though_nothing_is_left_to_run(
    then: Callable[[], object], now: Callable[[], object], tmp_path: Path, traced: list[object]
) -> None:
    line_loop(tmp_path, data=then()).run(steps=4)
    del traced[:]
    assert line_loop(tmp_path, data=then()).run(steps=4).step == 4
    assert [call for call in traced if isinstance(call, Step)] == []
    loop = line_loop(tmp_path, data=now())
    with pytest.raises(ValueError, match="Nothing was restored:\n  data"):
        loop.run(steps=4)


def test_another_learning_rate_is_refused_though_nothing_is_left_to_run(tmp_path: Path, traced: list[object]) -> None:
    def loop(rate: float) -> Loop:
        network, optimizer = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)]), keras.optimizers.SGD(rate)
        step, _ = supervised(network, optimizer, keras.losses.MeanSquaredError())
        data, state = (
            ArrayData((tf.ones([8, 1]),) * 2, batch_size=2, seed=1),
            {"model": network, "optimizer": optimizer},
        )
        return Loop(step, data, state=state, hooks=[Checkpoint(tmp_path)])

    first = loop(0.1)
    first.run(epochs=1)
    optimizer = first._parts.given["optimizer"]
    assert isinstance(optimizer, keras.optimizers.SGD)
    optimizer.learning_rate = 0.05  # as a hook may do: no difference
    first.run(epochs=2)
    del traced[:]
    assert loop(0.1).run(epochs=2).epoch == 2
    assert traced == []
    with pytest.raises(ValueError, match=r"learning_rate was 0.1 .* and is 0.2 in the program now"):
        loop(0.2).run(epochs=2)


def test_a_change_that_only_a_trace_shows_is_refused_when_the_run_is_to_go_on(tmp_path: Path) -> None:
    line_loop(tmp_path, Factor(1.0)).run(steps=4)
    loop = line_loop(tmp_path, Factor(0.5))
    assert loop.run(steps=4).step == 4
    state = values(loop)
    for _ in range(2):
        with pytest.raises(ValueError, match="Nothing was trained:\n  the 'train' step has other constants now"):
            loop.run(steps=8)
        assert (values(loop), loop.step) == (state, 4)
    loop = line_loop(tmp_path, Factor(0.5), changed="warn")
    loop.run(steps=4)
    with pytest.warns(UserWarning, match="goes on with other numbers: the 'train' step has other constants now"):
        assert loop.run(steps=8).step == 8


def test_what_cannot_be_resumed_exactly_is_refused_when_the_run_is_to_go_on(tmp_path: Path) -> None:
    def loop(*, exact: bool) -> Loop:
        count, weight = tf.Variable(0.0), tf.Variable(1.0)

        def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            count.assign_add(1.0)
            return {"loss": weight.assign(weight * 0.5)}

        data = ArrayData(tf.range(8.0), batch_size=2, seed=1)
        return Loop(step, data, state={"weight": weight}, hooks=[Checkpoint(tmp_path)], exact=exact)

    loop(exact=False).run(steps=4)
    again = loop(exact=True)
    again.run(steps=4)
    with pytest.raises(InexactRun, match="changes what no checkpoint would hold"):
        again.run(steps=8)


class Late(keras.Model):
    """Is built by its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.dense(x)


@pytest.mark.more
@pytest.mark.parametrize("late", ["model", "optimizer"])
def test_what_is_built_by_the_trace_is_traced_and_right(late: str, tmp_path: Path, traced: list[object]) -> None:
    def loop() -> Loop:
        keras.utils.set_random_seed(1)
        network, optimizer = Late() if late == "model" else model(), keras.optimizers.Adam(1e-2)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                value = loss(batch[1], network(batch[0], training=True))
            optimizer.apply(tape.gradient(value, network.trainable_variables), network.trainable_variables)
            return {"loss": value}

        state = {"model": network, "optimizer": optimizer}
        return Loop(step, array_data(), state=state, hooks=[Checkpoint(tmp_path)])

    first = loop()
    result = first.run(steps=3)
    del traced[:]
    again = loop()
    assert again.run(steps=3) == result
    assert traced != []
    assert values(again) == values(first)


@pytest.mark.more
def test_a_round_that_a_stop_has_cut_short_is_not_finished(tmp_path: Path) -> None:
    whole = make_counter([Checkpoint(tmp_path / "whole")])
    expected = whole.run(epochs=1)
    stopped = make_counter([Checkpoint(tmp_path / "cut")])
    stopped.on(Event.EVAL_BEGIN)(lambda moment: stopped.stop("for a while"))
    assert stopped.run(epochs=1).reason == "for a while"
    again = make_counter([Recorder(), Checkpoint(tmp_path / "cut")])
    assert again.run(epochs=1).logs == expected.logs
    recorder = again.hooks["recorder"]
    assert isinstance(recorder, Recorder)
    assert [row[0] for row in recorder._rows][:4] == ["setup", "run_begin", "eval_begin", "eval_end"]
    assert {p: v for p, v in without_time(again).items() if "hooks/" not in p} == without_time(whole)


@pytest.mark.parametrize("named", ["data-00000-of-00001", "json"])
def test_where_the_newest_is_damaged_the_run_goes_on_from_the_one_before(named: str, tmp_path: Path) -> None:
    whole = line_loop(tmp_path, Factor(1.0))
    expected = whole.run(steps=7)
    file = tmp_path / f"ckpt-7.{named}"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # of the same size: seen only when it is hashed
    file.write_bytes(content)
    changed = line_loop(tmp_path, Factor(0.5))
    with (
        pytest.warns(CorruptCheckpoint, match="ckpt-7"),
        pytest.raises(ValueError, match="Nothing was restored:\n  the 'train' step has other constants now"),
    ):
        changed.run(steps=7)
    assert changed.step == 0
    again = line_loop(tmp_path, Factor(1.0))
    with pytest.warns(CorruptCheckpoint, match="ckpt-7"):
        assert again.run(steps=7).logs == expected.logs
    assert without_time(again) == without_time(whole)


@pytest.mark.more
@pytest.mark.parametrize("kind", DATA)
def test_data_go_on_from_where_they_were(kind: str, tmp_path: Path, traced: list[object]) -> None:
    whole = make_counter([], DATA[kind](), evaluate=False)
    whole.run(steps=16)
    make_counter([Checkpoint(tmp_path)], DATA[kind](), evaluate=False).run(steps=10)
    del traced[:]
    loop = make_counter([Checkpoint(tmp_path)], DATA[kind](), evaluate=False)
    assert loop.run(steps=10).step == 10
    assert traced == []
    loop.run(steps=16)
    assert without_time(loop) == without_time(whole)


# Hooks that save.


def two(directory: Path, *resume: str) -> Sequence[Checkpoint]:
    return [Checkpoint(directory / name, resume=how, name=name) for name, how in zip("ab", resume, strict=True)]


@pytest.mark.parametrize(
    ("there", "resume", "untraced"),
    [
        ("a", ("auto", "auto"), True),
        ("b", ("auto", "auto"), True),
        ("ab", ("never", "auto"), True),
        ("ab", ("auto", "never"), True),
        ("ab", ("must", "must"), True),
        ("ab", ("never", "never"), False),
    ],
)
def test_the_first_checkpoint_that_restores_decides(
    there: str, resume: tuple[str, str], untraced: bool, tmp_path: Path, traced: list[object]
) -> None:
    def loop(*hooks: Hook) -> Loop:
        weight = tf.Variable(2.0)
        data = ArrayData(tf.range(8.0), batch_size=2, seed=1)
        return Loop(lambda batch: {"loss": weight.assign(weight * 0.5)}, data, state={"weight": weight}, hooks=[*hooks])

    first = loop(*two(tmp_path, "auto", "auto"))
    first.run(steps=4)
    for name in {*"ab"} - {*there}:
        shutil.rmtree(tmp_path / name)
    del traced[:]
    again = loop(*two(tmp_path, *resume))
    again.run(steps=4)
    assert (traced == []) is untraced
    assert values(again)["weight"] == values(first)["weight"]
    again.run(steps=8)
    first.run(steps=8)
    assert values(again)["weight"] == values(first)["weight"]


def test_a_loop_that_another_process_keeps_from_its_checkpoints_is_refused_and_can_be_run_later(tmp_path: Path) -> None:
    line_loop(tmp_path).run(steps=4)
    holder, refused = line_loop(tmp_path), line_loop(tmp_path)

    @holder.on(Event.RUN_BEGIN)
    def meanwhile(moment: Moment) -> None:
        with pytest.raises(RuntimeError, match="is being written by another trainer"):
            refused.run(steps=4)

    holder.run(steps=4)
    assert refused.step == 0
    assert refused.run(steps=4).step == 4
    assert refused.run(steps=6).step == 6


@pytest.mark.more
def test_hooks_and_evaluations_that_are_new_begin(tmp_path: Path) -> None:
    def loop(*hooks: Hook, evaluate: bool) -> Loop:
        weight = tf.Variable(2.0)
        evaluation = Evaluation(lambda batch: {"loss": weight * 1.0}, ArrayData(tf.range(4.0), batch_size=2))
        return Loop(
            lambda batch: {"loss": weight.assign(weight * 0.5)},
            ArrayData(tf.range(8.0), batch_size=2, seed=1),
            state={"weight": weight},
            evaluate=evaluation if evaluate else None,
            hooks=[*hooks, Checkpoint(tmp_path)],
        )

    assert loop(evaluate=False).run(epochs=1).step == 4
    stopping = EarlyStopping("val_loss", mode="min")
    assert loop(stopping, evaluate=True).run(epochs=1).logs == {"loss": 0.46875}
    assert loop(stopping, evaluate=True).run(epochs=2).logs.keys() == {"loss", "val_loss"}
    assert loop(evaluate=False).run(epochs=1).logs.keys() == {"loss"}


def test_supervised_builds_what_the_trace_would(tmp_path: Path) -> None:
    network, optimizer = model(), keras.optimizers.Adam()
    train_step, _ = supervised(network, optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = arrays()
    loop = Loop(train_step, ArrayData((x, y), batch_size=10), state={"model": network, "optimizer": optimizer})
    built = {id(variable) for variable in optimizer.variables}
    loop.audit()
    assert {id(variable) for variable in optimizer.variables} == built


class Halves(Hook):
    """Halves a number at the end of each epoch, and ends a life in the middle of one."""

    def __init__(self, rate: tf.Variable, dies_at: int) -> None:
        super().__init__()
        self.every, self._rate = At(dies_at), [rate]

    def on_step_end(self, moment: Moment) -> None:
        raise SystemExit

    def on_epoch_end(self, moment: Moment) -> None:
        self._rate[0].assign(self._rate[0] / 2)


# Killed in the first run, where it ends, before and behind the end of an epoch of the second, and never.
@pytest.mark.parametrize("dies_at", [3, 4, 5, 7, 99])
def test_what_a_program_changes_between_two_runs_is_changed_once(
    dies_at: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def life(directory: Path, dies_at: int) -> tuple[list[float], list[float]]:
        weight, rate = tf.Variable(0.0), tf.Variable(1.0)
        loop = Loop(
            lambda x: {"loss": weight.assign_add(rate * tf.reduce_sum(x))},
            ArrayData(np.ones(4, np.float32), batch_size=2),
            state={"weight": weight, "rate": rate},
            hooks=[Halves(rate, dies_at), Checkpoint(directory, Every(steps=1), background=False)],
        )
        loop.run(epochs=2)
        rate.assign(8.0)
        weight.assign_add(np.random.normal())
        return loop.run(epochs=4).history["loss"], [float(weight), float(rate), *np.random.normal(size=1)]

    np.random.seed(3)
    whole = life(tmp_path / "whole", 99)
    np.random.seed(3)
    with contextlib.suppress(SystemExit):
        life(tmp_path / "cut", dies_at)
    np.random.seed(3)
    caplog.clear()
    assert life(tmp_path / "cut", 99) == whole
    told = [record.getMessage() for record in caplog.records if "later run than" in record.getMessage()]
    assert len(told) == (dies_at > 5)
    assert all("put back to what was saved: rate, weight. What is" in line for line in told)
