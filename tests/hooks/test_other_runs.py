"""What a hook has seen of another metric, in another loop, or in a place of another hook, is not taken for its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tiny import make_counter

from hooks import Checkpoint, EarlyStopping, Export, KerasCallbacks, MetricsLog, ReduceLROnPlateau, TensorBoard, Tracker
from loop import ArrayData, Every, Hook, Loop

ANEW = "{} begins anew: the saved run watched 'loss' with mode='min', now it is {!r} with mode={!r}."


def told(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith(start)]


@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("loss", "max"), ("val_accuracy", "max")])
def test_early_stopping_that_watches_another_metric_begins_anew(
    monitor: str, mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = EarlyStopping("loss", mode="min", patience=9)
    make_counter([first, Checkpoint(tmp_path)]).run(epochs=2)
    assert (int(first.checks), int(first.best_step)) == (2, 7)
    other = EarlyStopping(monitor, mode=mode, patience=9)  # type: ignore[arg-type]
    loop = make_counter([other, Checkpoint(tmp_path)])
    result = loop.run(epochs=4)
    assert told(caplog, "Early") == [ANEW.format(f"EarlyStopping({monitor!r})", monitor, mode)]
    values = [result.history[monitor][epoch] for epoch in (2, 3)]
    assert float(other.best) == (min if mode == "min" else max)(values)
    assert int(other.checks) == 2


@pytest.mark.more
def test_a_run_that_was_ended_by_another_metric_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended = make_counter([EarlyStopping("loss", mode="min", patience=1), Checkpoint(tmp_path)]).run(epochs=9)
    assert ended.epoch == 2
    again = make_counter([EarlyStopping("loss", mode="min", patience=1), Checkpoint(tmp_path)]).run(epochs=9)
    assert (again.epoch, told(caplog, "EarlyStopping")) == (2, [])
    other = make_counter([EarlyStopping("loss", mode="max", patience=1), Checkpoint(tmp_path)]).run(epochs=4)
    assert other.epoch == 4
    assert told(caplog, "EarlyStopping") == [ANEW.format("EarlyStopping('loss')", "loss", "max")]


def rated(hook: Hook, directory: Path) -> Loop:
    """Returns a loop whose loss rises and rises, with an optimizer."""
    keras.utils.set_random_seed(1)
    dense, optimizer = keras.layers.Dense(1, use_bias=False), keras.optimizers.SGD(1.0)
    dense.build([None, 1])
    optimizer.build(dense.trainable_variables)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        optimizer.apply([tf.reshape(-tf.reduce_mean(x), [1, 1])], dense.trainable_variables)
        return {"loss": tf.reduce_sum(dense.kernel), "other": tf.reduce_sum(dense.kernel)}

    data = ArrayData(tf.ones([4]), batch_size=2, seed=1)
    return Loop(step, data, state={"dense": dense, "optimizer": optimizer}, hooks=[hook, Checkpoint(directory)])


@pytest.mark.more
def test_a_plateau_of_another_metric_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rated(ReduceLROnPlateau("loss", mode="min", patience=3), tmp_path).run(epochs=3)  # two checks without improvement
    hook = ReduceLROnPlateau("other", mode="min", patience=3)
    rates = rated(hook, tmp_path).run(epochs=6).history["learning_rate"]
    assert rates[3:] == [1.0, 1.0, 1.0]  # the first check is the best, and two come after it
    assert told(caplog, "Reduce") == [ANEW.format("ReduceLROnPlateau('other')", "other", "min")]


@pytest.mark.more
def test_the_best_export_by_another_metric_is_another_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    arguments = {"on": "best", "format": "weights", "keep": 9}
    first = Export(tmp_path / "e", model, monitor="loss", mode="min", **arguments)  # type: ignore[arg-type]
    make_counter([first, Checkpoint(tmp_path / "c")]).run(epochs=2)
    other = Export(tmp_path / "e", model, monitor="val_accuracy", mode="max", **arguments)  # type: ignore[arg-type]
    make_counter([other, Checkpoint(tmp_path / "c")]).run(epochs=3)
    assert [path.name for path in map(Path, other.paths())] == ["7.weights.h5", "21.weights.h5"]
    assert told(caplog, "Export") == [ANEW.format("Export(on='best')", "val_accuracy", "max")]


@pytest.mark.more
def test_an_export_that_watched_nothing_begins_to_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    for steps, arguments in {7: {}, 14: {"on": "best", "monitor": "loss", "mode": "max"}}.items():
        hook = Export(tmp_path / "e", model, format="weights", **arguments)  # type: ignore[arg-type]
        make_counter([hook, Checkpoint(tmp_path / "c")]).run(steps=steps)
    assert [path.name for path in map(Path, hook.paths())] == ["14.weights.h5"]
    assert told(caplog, "Export") == []


@pytest.mark.more
def test_a_hook_that_was_in_another_run_is_named(caplog: pytest.LogCaptureFixture) -> None:
    stopping = EarlyStopping("loss", mode="min", patience=1)
    first = make_counter([stopping])
    first.run(epochs=1)
    assert first.run(epochs=9).epoch == 2
    assert told(caplog, "Hook") == []
    assert make_counter([stopping]).run(epochs=9).step == 0
    (line,) = told(caplog, "Hook")
    assert line.startswith(
        "Hook 'early_stopping' was in a run of another loop, and goes on with what it has seen there."
    )
    assert "give its Loop a new EarlyStopping(...)" in line
    assert make_counter([EarlyStopping("loss", mode="min", patience=1)]).run(epochs=9).epoch == 2  # as it says
    assert len(told(caplog, "Hook")) == 1


@pytest.mark.more
def test_a_hook_without_a_state_may_be_in_another_loop_and_one_that_is_restored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, stopping = MetricsLog(tmp_path / "a.csv"), EarlyStopping("loss", mode="min", patience=9)
    for epochs in (1, 2):
        make_counter([rows, stopping, Checkpoint(tmp_path / "c")]).run(epochs=epochs)
    assert told(caplog, "Hook") == []


def exports(directory: Path, name: str | None = None, kind: str = "weights") -> Export:
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    return Export(directory, model, format=kind, name=name)  # type: ignore[arg-type]


def nowhere(values: dict[str, float], step: int) -> None: ...


PAIRS: dict[str, Callable[[Path], Sequence[Hook]]] = {
    "file": lambda path: [MetricsLog(path / "a.csv"), MetricsLog(path / "a.csv", Every(steps=1), name="b")],
    "file of a tracker": lambda path: [
        MetricsLog(path / "a.jsonl"),
        Tracker(nowhere, path / "a.jsonl", name="b"),
    ],
    "file of a callback": lambda path: [
        KerasCallbacks([keras.callbacks.CSVLogger(path / "a.csv")]),
        MetricsLog(path / "a.csv", name="b"),
    ],
    "file of two callbacks": lambda path: [
        KerasCallbacks([keras.callbacks.CSVLogger(path / "a.csv"), keras.callbacks.CSVLogger(path / "a.csv")])
    ],
    "directory of a callback": lambda path: [TensorBoard(path), KerasCallbacks(keras.callbacks.TensorBoard(path))],
    "directory": lambda path: [TensorBoard(path), TensorBoard(path / "." / "", name="b")],
    "directory of exports": lambda path: [exports(path), exports(path, "b")],
}


@pytest.mark.parametrize("kind", PAIRS)
def test_two_hooks_that_would_write_to_one_place_are_refused(kind: str, tmp_path: Path) -> None:
    hooks = PAIRS[kind](tmp_path)
    message = rf"^Hooks .*'b' would both write to '{tmp_path}.*'\. Give each a {kind.split()[0]} of its own\."
    with pytest.raises(ValueError, match=message.replace("Hooks .*'b'", "(Hooks|Two in) '.*'")):
        make_counter(hooks).run(epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_other_places_are_none_of_these(tmp_path: Path) -> None:
    places = [MetricsLog(tmp_path / "a.csv"), MetricsLog(tmp_path / "b.csv", name="b"), TensorBoard(tmp_path)]
    kinds = [exports(tmp_path), exports(tmp_path, "other", "keras")]
    assert make_counter([*places, *kinds]).run(epochs=1).epoch == 1
