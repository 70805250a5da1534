"""What every public object says before it has been in a run: a value, or when there will be one."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import exactloop
import hooks
import loop
from hooks import Checkpoint, EarlyStopping, KerasCallbacks, Preemption, Profile, Progress, TensorBoard
from loop import (
    ArrayData,
    At,
    Evaluation,
    Event,
    Every,
    Finding,
    Halt,
    Hook,
    HookRegistry,
    IndexedData,
    InexactRun,
    Loop,
    Moment,
    RunResult,
    StatefulData,
    Step,
    StreamData,
    TrainingState,
)


class Nothing(Hook):
    """A hook that does nothing."""


class Numbers:
    """An iterator with a state."""

    def __init__(self) -> None:
        self.n = 0

    def __iter__(self) -> "Numbers":
        return self

    def __next__(self) -> np.ndarray:
        self.n += 1
        return np.zeros([2])

    def get_state(self) -> int:
        return self.n

    def set_state(self, state: int) -> None:
        self.n = state


def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"loss": tf.reduce_mean(tf.cast(batch, tf.float32))}


def make_loop(*given: Hook, evaluate: bool = True) -> Loop:
    evaluation = Evaluation(step, tf.data.Dataset.range(4).batch(2))
    data = ArrayData(np.arange(4), batch_size=2)
    return Loop(step, data, state={}, evaluate=evaluation if evaluate else None, hooks=given)


def moment(event: Event = Event.EPOCH_END) -> Moment:
    return Moment(event, 2, 1, 0, {"loss": 1.0}, False, False, None, lambda reason: None)


FRESH: dict[str, Callable[[Path], object]] = {
    "ArrayData": lambda path: ArrayData(np.arange(4), batch_size=2),
    "At": lambda path: At(3),
    "Checkpoint": lambda path: Checkpoint(path / "checkpoints", best="loss", mode="min"),
    "CorruptCheckpoint": lambda path: hooks.CorruptCheckpoint("file", "torn"),
    "EarlyStopping": lambda path: EarlyStopping("loss", mode="min", restore_best="weights"),
    "Evaluation": lambda path: Evaluation(step, tf.data.Dataset.range(4).batch(2)),
    "Every": lambda path: Every(steps=2),
    "Event": lambda path: Event.SETUP,
    "Export": lambda path: hooks.Export(path / "models", keras.Sequential([keras.Input([1])]), "end"),
    "Finding": lambda path: Finding("what", "where", "instead"),
    "Halt": lambda path: Halt(1, None, 0.0, 0.0),
    "Hook": lambda path: Nothing(),
    "HookRegistry": lambda path: HookRegistry(),
    "IndexedData": lambda path: IndexedData([1.0, 2.0], batch_size=2),
    "InexactRun": lambda path: InexactRun([]),
    "KerasCallbacks": lambda path: KerasCallbacks([keras.callbacks.LambdaCallback()]),
    "LearningRate": lambda path: hooks.LearningRate(lambda step: 0.1),
    "Loop": lambda path: make_loop(),
    "MetricsLog": lambda path: hooks.MetricsLog(path / "run.csv"),
    "NaNGuard": lambda path: hooks.NaNGuard("raise"),
    "Moment": lambda path: moment(),
    "Preemption": lambda path: Preemption(),
    "Profile": lambda path: Profile(path / "profile", first=100),
    "Progress": lambda path: Progress(),
    "Proof": lambda path: exactloop.Proof(True, (), 1),
    "ReduceLROnPlateau": lambda path: hooks.ReduceLROnPlateau("loss", mode="min"),
    "RunResult": lambda path: RunResult(1, 1, "over", {}, 0.0),
    "StatefulData": lambda path: StatefulData(Numbers()),
    "Step": lambda path: Step(step),
    "StreamData": lambda path: StreamData(tf.data.Dataset.range(4).batch(2).filter(lambda x: True)),
    "TensorBoard": lambda path: TensorBoard(path / "tensorboard"),
    "TimeBudget": lambda path: hooks.TimeBudget(hours=1),
    "Tracker": lambda path: hooks.Tracker(lambda values, step: None, path / "run.jsonl"),
    "WeightAverage": lambda path: hooks.WeightAverage(),
    "TrainingState": lambda path: TrainingState({"x": tf.Variable(1)}),
}
GIVEN: dict[str, Callable[[], object]] = {
    "abandon": lambda: lambda: False,
    "batch": lambda: tf.constant([1, 2]),
    "epoch": lambda: 0,
    "event": lambda: Event.EPOCH_END,
    "first_step": lambda: 1,
    "function": lambda: print,
    "halt": lambda: Halt(2, 1, 0.0, 1.0),
    "hook": lambda: Nothing(),
    "kind": lambda: tf.Variable,
    "loop": lambda: make_loop(),
    "moment": lambda: moment(),
    "name": lambda: "nothing",
    "reason": lambda: "over",
    "seconds": lambda: 1.0,
    "step": lambda: 1,
    "trigger": lambda: Every(steps=2),
    "values": lambda: {"loss": np.zeros(2, np.float32)},
}


PACKAGES = (loop, hooks, exactloop)


def calls(instance: object) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields each public name of an object, and what reads it, or calls it with the arguments of `GIVEN`."""
    kind = type(instance)
    ours = [
        base for base in kind.__mro__ if base.__module__.startswith(("loop", "hooks", "exactloop", "tests", "test_"))
    ]
    own = [name for base in ours for name in [*vars(base), *getattr(base, "__annotations__", {})]]
    for name in sorted({name for name in [*own, *getattr(instance, "__dict__", {})] if not name.startswith("_")}):
        method = inspect.getattr_static(kind, name, None)
        if not inspect.isfunction(method):
            yield name, lambda name=name: getattr(instance, name)
            continue
        needed = [p.name for p in inspect.signature(method).parameters.values() if p.default is p.empty][1:]
        if {*needed} <= {*GIVEN}:
            yield name, lambda name=name, needed=needed: getattr(instance, name)(*(GIVEN[key]() for key in needed))


def said(call: Callable[[], object]) -> str:
    """Returns what is raised, as text; nothing if nothing is."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_every_public_class_is_here() -> None:
    classes = {name for package in PACKAGES for name in package.__all__ if inspect.isclass(getattr(package, name))}
    assert classes - {"Trigger", "OptunaPruning"} == {*FRESH}  # which needs a package that need not be there


@pytest.mark.more
@pytest.mark.parametrize("kind", FRESH)
def test_a_fresh_instance_has_a_value_or_says_when_it_will_have_one(kind: str, tmp_path: Path) -> None:
    names = [name for name, _ in calls(FRESH[kind](tmp_path))]
    told = {name: said(dict(calls(FRESH[kind](tmp_path)))[name]) for name in names}  # each of a fresh one
    assert [
        line for line in told.values() if re.search(r"AttributeError|['.]_\w|has no attribute|NoneType", line)
    ] == []
    assert [
        line for line in told.values() if line.startswith("NotYet") and "SETUP" not in line and "on_setup" not in line
    ] == []


def test_what_a_loop_has_before_it_runs() -> None:
    loop = make_loop()
    assert (loop.step, loop.epoch, loop.step_in_epoch, loop.total_steps, loop.spent) == (0, 0, 0, None, {})
    for name in ("state", "train_names", "evaluation_names"):
        with pytest.raises(RuntimeError, match="from SETUP on: in a hook's on_setup, or after run"):
            getattr(loop, name)
        assert getattr(loop, name, "later") == "later"  # as Python asks whether it is there
    loop.audit()
    assert (loop.train_names, loop.evaluation_names) == (("loss",), {"val": ("val_loss",)})
    assert loop.state.variables["position/step"].numpy() == 0
    loop.run(epochs=1)
    assert (loop.total_steps, {*loop.spent} >= {"steps", "tracing", "loop"}) == (2, True)


def test_an_evaluation_has_no_results_before_and_says_when_it_has_names() -> None:
    evaluation = Evaluation(step, tf.data.Dataset.range(4).batch(2))
    assert evaluation.results() == {}
    with pytest.raises(RuntimeError, match="from SETUP on: in a hook's on_setup, or after run"):
        _ = evaluation.names
    loop = Loop(step, tf.data.Dataset.range(4).batch(2), state={}, evaluate=evaluation)
    assert loop.evaluate() == {"val_loss": 1.5}
    assert evaluation.names == ("val_loss",)


def test_a_checkpoint_waits_for_nothing_before_a_run_and_after_one_that_failed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoints")
    checkpoint.wait()
    assert checkpoint.directory == str(tmp_path / "checkpoints")

    class Failing(Hook):
        def on_setup(self, loop: Loop, moment: Moment) -> None:
            raise OSError("no")

    for given in ([Failing(), checkpoint], [checkpoint, Failing()]):
        loop = make_loop(*given)
        with pytest.raises(OSError, match="no"):
            loop.run(epochs=1)
        checkpoint.wait()
        assert (loop.step, loop.total_steps, loop.train_names) == (0, 2, ("loss",))
        assert loop.spent["tracing"] > 0


def test_a_hook_of_ones_own_may_say_so_too() -> None:
    class Late(Hook):
        length: int = Hook.later()

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.length = loop.total_steps or 0

    late = Late()
    with pytest.raises(RuntimeError, match="no loop has called its on_setup yet"):
        _ = late.length
    make_loop(late).run(epochs=3)
    assert late.length == 6
