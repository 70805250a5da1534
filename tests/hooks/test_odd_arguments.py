"""Names, values and times that people give hooks and evaluations, and what they are told of those that cannot be."""

import logging
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_counter

from hooks import (
    Checkpoint,
    EarlyStopping,
    Export,
    KerasCallbacks,
    MetricsLog,
    NaNGuard,
    Preemption,
    TensorBoard,
    TimeBudget,
    Tracker,
)
from loop import NEVER, ArrayData, Evaluation, Event, Every, Hook, Loop, Moment


def over(dataset: object, name: str = "val", **more: object) -> Loop:
    """Returns a loop that evaluates on a dataset."""
    x = ArrayData(tf.range(6.0), batch_size=2, seed=1)
    evaluation = Evaluation(lambda x: {"loss": tf.reduce_mean(x)}, dataset, name=name)  # type: ignore[arg-type]
    return Loop(lambda x: {"loss": tf.reduce_mean(x)}, x, state={}, evaluate=evaluation, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "word"), [("val/a", "val_a"), ("val set", "val_set"), ("", "my_own"), ("1st", "my_1st"), ("über", "ber")]
)
def test_a_name_that_cannot_be_saved_is_refused_with_one_that_can(name: str, word: str) -> None:
    data = ArrayData(tf.range(4.0), batch_size=2)
    with pytest.raises(ValueError, match=rf"Evaluation\(name=...\) needs a name of .*Write name='{word}'\."):
        over(data, name)
    with pytest.raises(ValueError, match=rf"EarlyStopping\(name=...\) needs a name of .*Write name='{word}'\."):
        EarlyStopping("loss", mode="min", name=name)
    loop = over(tf.data.Dataset.from_tensors(tf.range(4.0)), word, hooks=[EarlyStopping("loss", mode="min", name=word)])
    assert [name for name in loop.run(epochs=1).logs if name.endswith("_loss")] == [f"{word}_loss"]


def test_functions_and_classes_of_any_language_are_hooks_or_told_to_have_a_name() -> None:
    seen = []

    def größe(moment: Moment) -> None:
        seen.append(moment.epoch)

    loop = make_counter([])
    loop.on(Event.EPOCH_END)(größe)
    loop.run(epochs=2)
    assert (seen, [hook.name for hook in loop.hooks]) == ([1, 2], ["on_epoch_end"])

    class Größe(Hook):
        pass

    with pytest.raises(ValueError, match=r"Größe\(name=...\) needs a name of letters"):
        Größe()
    assert Größe(name="size").name == "size"


class Counting(Hook):
    def __init__(self) -> None:
        super().__init__()
        self.epochs = tf.Variable(0)

    def on_epoch_end(self, moment: Moment) -> None:
        self.epochs.assign_add(1)


@pytest.mark.more
def test_a_hook_with_a_state_that_comes_too_late_to_be_saved_is_refused(tmp_path: Path) -> None:
    loop = make_counter([Checkpoint(tmp_path)])
    loop.on(Event.EPOCH_END)(lambda moment: loop.hooks.add(Counting()))
    with pytest.raises(RuntimeError, match=r"Hook 'counting' has a state, .* and the run .* Add it before run\(\)"):
        loop.run(epochs=2)
    loop = make_counter([Checkpoint(tmp_path)])
    loop.hooks.add(Counting())
    loop.run(epochs=2)
    again = make_counter([Checkpoint(tmp_path), Counting()])
    again.run(epochs=3)
    assert int(again.hooks["counting"].epochs) == 3  # type: ignore[attr-defined]


def test_a_function_that_reports_nothing_may_come_at_any_time() -> None:
    loop, seen = make_counter([]), list[int]()
    late = lambda moment: seen.append(moment.epoch)  # noqa: E731
    loop.on(Event.EPOCH_BEGIN)(lambda moment: loop.on(Event.EPOCH_END)(late) if moment.epoch == 1 else None)
    loop.run(epochs=3)
    assert seen == [2, 3]


def test_an_evaluation_without_a_batch_is_named() -> None:
    none = tf.data.Dataset.range(4).filter(lambda x: x > 9).map(lambda x: tf.cast(x, tf.float32)).batch(2)
    with pytest.raises(ValueError, match="has no element") as raised:
        over(none, "test").run(epochs=1)
    assert "Raised in evaluation 'test', before its first batch." in raised.value.__notes__


@pytest.mark.more
@pytest.mark.parametrize(
    "hook",
    [lambda path: EarlyStopping("val_loss", mode="min"), lambda path: Checkpoint(path, best="val_loss", mode="min")],
)
def test_who_waits_for_what_no_run_evaluates_is_refused(hook: Callable[[Path], Hook], tmp_path: Path) -> None:
    data = tf.data.Dataset.range(4).map(lambda x: tf.cast(x, tf.float32)).batch(2)
    with pytest.raises(ValueError, match=r"watches 'val_loss', but no run evaluates that.*Every\(epochs=1\)"):
        over(data, hooks=[hook(tmp_path)], eval_every=NEVER).run(epochs=1)
    assert over(data, hooks=[hook(tmp_path)], eval_every=Every(epochs=1)).run(epochs=1).epoch == 1
    assert over(data, hooks=[MetricsLog(tmp_path / "a.csv")], eval_every=NEVER).run(epochs=1).epoch == 1


def test_numbers_of_numpy_are_hyperparameters(tmp_path: Path) -> None:
    given = {"rate": np.float32(0.5), "layers": np.int64(3), "big": np.bool_(True), "name": np.str_("a")}
    assert make_counter([TensorBoard(tmp_path, hparams=given)]).run(epochs=1).epoch == 1
    with pytest.raises(TypeError, match=r"'layers': \[1, 2\]. Write str\(...\) around it"):
        TensorBoard(tmp_path, hparams={"layers": [1, 2]})  # type: ignore[dict-item]


@pytest.mark.more
@pytest.mark.parametrize("given", [None, 5, ["a"]])
def test_what_is_no_text_is_named(given: object, tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, text={"said": lambda moment: given}, on_error="raise")  # type: ignore[dict-item, return-value]
    with pytest.raises(
        TypeError, match=f"A text for 'said' needs a str, in Markdown. Received: {type(given).__name__}"
    ):
        make_counter([board]).run(epochs=1)


@pytest.mark.more
@pytest.mark.parametrize(("low", "high", "said"), [(0, 1, 0), (-1e-6, 1 + 1e-6, 0), (-1, 1, 1), (0, 255, 1)])
def test_pictures_of_which_not_all_is_seen_are_told_once(
    low: float, high: float, said: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"of_{low}_{high}"
    board = TensorBoard(tmp_path, images={name: lambda moment: np.linspace(low, high, 16).reshape(4, 4)})
    with caplog.at_level(logging.WARNING, "exactloop"):
        make_counter([board]).run(epochs=3)
    told = [record.getMessage() for record in caplog.records if "picture" in record.getMessage()]
    values = f"The picture '{name}' has values from {low:g} to {high:g}, of which only 0..1 is seen. Write "
    assert [line[: len(values)] for line in told] == [values] * said


def test_a_tracker_that_would_fail_later_is_refused_at_once(tmp_path: Path) -> None:
    class Run:
        def log(self, values: dict[str, float], step: int) -> None: ...

    wrong: list[tuple[object, str]] = [
        (Run, r"Received: the class Run\. Write Tracker\(run"),
        (lambda values: None, r"calls log\(values, step=...\).*'step'.*def log\(values, step\)"),
        ("wandb", r"Received: str\. Write Tracker\(run"),
    ]
    for run, message in wrong:
        with pytest.raises(TypeError, match=message):
            Tracker(run, tmp_path / "a.jsonl")  # type: ignore[arg-type]
    assert Tracker(Run(), tmp_path / "a.jsonl").name == "tracker"


@pytest.mark.parametrize("argument", ["limits", "spike"])
@pytest.mark.parametrize("given", [5, {"loss": "x"}, ["loss"], {"loss": None}])
def test_limits_are_numbers_by_name(argument: str, given: object) -> None:
    with pytest.raises(TypeError, match=rf"NaNGuard\({argument}=...\) needs numbers by the names of values, as in"):
        NaNGuard(**{argument: given})  # type: ignore[arg-type]
    assert NaNGuard(**{argument: {"loss": np.float32(5.0)}}).name == "nan_guard"  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["model", None, keras.layers.Dense(1)])
def test_what_cannot_be_exported_is_refused_at_once(model: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Export\(directory, model\) needs a keras.Model. Received: "):
        Export(tmp_path, model)  # type: ignore[arg-type]


def test_who_hears_no_signal_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Preemption\(signals=...\) needs at least one signal.*Or leave the hook out"):
        Preemption(signals=[])


@pytest.mark.parametrize(
    ("method", "meant"),
    [
        ("on_train_batch_end", "on_step_end"),
        ("on_batch_end", "on_step_end"),
        ("on_fit_start", "on_run_begin"),
        ("on_validation_end", "on_eval_end"),
        ("on_train_epoch_start", "on_epoch_begin"),
        ("on_epoch_ends", "on_epoch_end"),
    ],
)
def test_what_keras_and_lightning_call_a_method_is_told_as_what_it_is_here(method: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine\.{method} would never be called.* Did you mean {meant}\?"):
        type("Mine", (Hook,), {method: lambda self, moment: None})


WRONG: dict[str, tuple[Callable[[keras.Model], object], str]] = {
    "images": (lambda model: TensorBoard("tb", images=3), r"images=...\) needs functions by name.*Received: 3\."),
    "an image": (lambda model: TensorBoard("tb", images={"a": np.ones(3)}), r"images=...\) needs functions by name"),
    "text": (lambda model: TensorBoard("tb", text=["a"]), r"text=...\) needs functions by name.*Received: \['a'\]"),
    "no text": (lambda model: TensorBoard("tb", text=[]), r"text=...\) needs functions by name"),
    "histograms": (lambda model: TensorBoard("tb", histograms=1), r"functions by name.*, or True. Received: 1\."),
    "hparams": (lambda model: TensorBoard("tb", hparams=[1]), r"hparams=...\) needs a dict.*Received: \[1\]"),
    "model": (lambda model: KerasCallbacks([], model="m"), r"model=...\) needs a keras.Model, one that .*'m'"),
    "optimizer": (lambda model: KerasCallbacks([], optimizer="adam"), r"optimizer=...\) needs a keras.Optim.*'adam'"),
    "until": (lambda model: TimeBudget(until="08:00"), r"until=...\) needs a datetime, or seconds.*Received: '08:00'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_argument_of_another_kind_is_refused_when_the_hook_is_made(case: str) -> None:
    make, said = WRONG[case]
    with pytest.raises(TypeError, match=said):
        make(keras.Sequential())


@pytest.mark.parametrize("on", [2, keras.optimizers, None])
def test_an_export_says_when(on: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Export\(on=...\) must be 'best', 'end' or a trigger"):
        Export(tmp_path, keras.Sequential([keras.Input([1])]), on)  # type: ignore[arg-type]
