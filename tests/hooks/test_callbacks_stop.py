"""A callback that stops the training in the middle of an epoch stops it where `fit` ends, and so does a resumed run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, KerasCallbacks
from loop import ArrayData, Evaluation, Every, Hook, Loop, Moment, StreamData, keras_steps

Logs: TypeAlias = Any
X = np.random.default_rng(3).normal(size=[24, 3]).astype("float32")  # 6 batches an epoch
Y = X[:, :1] * 2
EPOCHS = 5


class Stops(keras.callbacks.Callback):
    """Asks for the end in its `count`-th call of one method, and writes down all calls."""

    def __init__(self, method: str, count: int) -> None:
        super().__init__()
        self.method, self.count, self.calls = method, count, []

    def note(self, method: str, *counts: int, logs: Logs = None) -> None:
        self.calls.append((method, *counts, {name: round(float(value), 4) for name, value in (logs or {}).items()}))
        if method == self.method and [each[0] for each in self.calls].count(method) == self.count:
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.note("epoch begin", epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.note("batch begin", batch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.note("batch end", batch)

    def on_test_begin(self, logs: Logs = None) -> None:
        self.note("test begin")

    def on_test_end(self, logs: Logs = None) -> None:
        self.note("test end", logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.note("epoch end", epoch, logs=logs)
        if logs is not None:
            logs["added"] = 1.0

    def on_train_end(self, logs: Logs = None) -> None:
        self.note("train end", logs=logs)


OFTEN = {"batch end": ("batch end", 9)}
RARE = {
    "epoch begin": ("epoch begin", 3),
    "batch begin": ("batch begin", 9),
    "first batch begin": ("batch begin", 7),
    "last batch end": ("batch end", 12),
    "test end": ("test end", 2),
}
ASKED = OFTEN | RARE
SOURCES: dict[str, Callable[[], object]] = {
    "arrays": lambda: ArrayData((X, Y), batch_size=4, shuffle=False),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),
    "unknown length": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True).batch(4),
    "read again": lambda: StreamData(tf.data.Dataset.from_tensor_slices((X, Y)).batch(4), resume="replay"),
}
CUT = [(asked, "arrays") for asked in ASKED] + [("batch end", source) for source in SOURCES if source != "arrays"]


def compiled() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return model


def make(asked: str, log: Path, *hooks: Hook, source: str = "arrays", validation_freq: int = 1) -> tuple[Loop, Stops]:
    model, stops = compiled(), Stops(*ASKED[asked])
    step, eval_step = keras_steps(model)
    evaluation = Evaluation(eval_step, ArrayData((X[:8], Y[:8]), batch_size=8, shuffle=False))
    callbacks = KerasCallbacks([stops, keras.callbacks.CSVLogger(str(log))])
    every, data = Every(epochs=validation_freq), SOURCES[source]()
    loop = Loop(step, data, state={"model": model}, evaluate=evaluation, eval_every=every, hooks=[callbacks, *hooks])
    return loop, stops


def left(loop: Loop, stops: Stops, log: Path) -> tuple[object, ...]:
    result = loop.run(epochs=EPOCHS)
    bits = {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if "seconds" not in path}
    place = loop.step, loop.epoch, loop.step_in_epoch, result.reason
    return place, result.history, result.logs, stops.calls, log.read_bytes(), bits


@pytest.mark.parametrize("validation_freq", [1, pytest.param(2, marks=pytest.mark.more)])
@pytest.mark.parametrize("asked", [*OFTEN, *[pytest.param(each, marks=pytest.mark.more) for each in RARE]])
def test_calls_history_weights_and_files_are_those_of_fit(tmp_path: Path, asked: str, validation_freq: int) -> None:
    loop, ours = make(asked, tmp_path / "ours.csv", validation_freq=validation_freq)
    result = loop.run(epochs=EPOCHS)
    model, theirs = compiled(), Stops(*ASKED[asked])
    more = {"validation_data": (X[:8], Y[:8]), "validation_freq": validation_freq, "verbose": 0, "shuffle": False}
    callbacks = [theirs, keras.callbacks.CSVLogger(str(tmp_path / "theirs.csv"))]
    history = model.fit(X, Y, batch_size=4, epochs=EPOCHS, callbacks=callbacks, **more).history
    assert ours.calls == theirs.calls
    assert {name: result.history[name] for name in history if name != "added"} == {
        name: pytest.approx(values, abs=1e-5) for name, values in history.items() if name != "added"
    }
    shown = loop.state.objects(keras.Model)["model"]
    for mine, other in zip(shown.get_weights(), model.get_weights(), strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    rows = [(tmp_path / name).read_text().splitlines() for name in ("ours.csv", "theirs.csv")]
    assert (rows[0][0], len(rows[0])) == (rows[1][0], len(rows[1]))


@pytest.mark.long
@pytest.mark.parametrize(("asked", "source"), CUT)
def test_a_run_that_is_cut_anywhere_stops_in_the_same_way(tmp_path: Path, asked: str, source: str) -> None:
    def run(root: Path) -> tuple[object, ...]:
        checkpoint = Checkpoint(root / "checkpoints", Every(steps=1), keep=100, background=False)
        loop, stops = make(asked, root / "log.csv", checkpoint, source=source)
        return left(loop, stops, root / "log.csv")

    (whole := tmp_path / "whole").mkdir()
    ended = run(whole)
    for step in range(ended[0][0] - 2, ended[0][0] + 1):
        shutil.copytree(whole, cut := tmp_path / f"{step}")
        for path in (cut / "checkpoints").glob("ckpt-*"):
            if int(path.name.split("-")[1].split(".")[0]) > step:
                path.unlink()
        assert run(cut) == ended, step
    assert run(whole)[0] == ended[0]  # ends again at once


class Ends(Hook):
    """Ends an epoch after step 6, and writes down the events."""

    every = Every(steps=2)

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[object, ...]] = []

    def on_epoch_begin(self, moment: Moment) -> None:
        self.events.append((str(moment.event), moment.step, moment.epoch, moment.step_in_epoch))

    on_eval_end = on_epoch_end = on_epoch_begin

    def on_step_end(self, moment: Moment) -> None:
        self.on_epoch_begin(moment)
        if moment.step == 6:
            moment.stop("enough", end_epoch=True)


def test_a_hook_ends_an_epoch_and_the_next_run_begins_the_next_one() -> None:
    total, ends = tf.Variable(0.0), Ends()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": total.assign_add(tf.reduce_mean(x))}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": total + tf.reduce_mean(x)}

    evaluation = Evaluation(eval_step, ArrayData(tf.range(2.0), batch_size=2))
    data = ArrayData(tf.range(8.0), batch_size=2, shuffle=False)
    loop = Loop(step, data, state={"total": total}, evaluate=evaluation, hooks=[ends])
    assert loop.run(epochs=3).reason == "enough"
    assert ends.events[-3:] == [("step_end", 6, 1, 2), ("eval_end", 6, 1, 2), ("epoch_end", 6, 2, 0)]
    ends.events.clear()
    result = loop.run(epochs=3)
    assert (result.step, len(result.history["loss"])) == (10, 3)
    assert ends.events[0] == ("epoch_begin", 6, 2, 0)


class Ending(Hook):
    """A hook that was a callback once, and asks for the end as one."""

    def __init__(self, model: keras.Model, event: str) -> None:
        super().__init__()
        self.model, self.event, self.every = model, event, Every(steps=1)
        self.heard: list[tuple[str, int, bool]] = []

    def on_step_end(self, moment: Moment) -> None:
        self.hear("step", moment)

    def on_epoch_end(self, moment: Moment) -> None:
        self.hear("epoch", moment)

    def hear(self, event: str, moment: Moment) -> None:
        self.heard.append((event, moment.step, moment.last))
        if event == self.event and moment.step >= 2:
            self.model.stop_training = True


@pytest.mark.parametrize(
    ("event", "heard"),
    {
        # The epoch ends there, as in `fit`.
        "step": [("step", 1, False), ("step", 2, False), ("epoch", 2, True)],
        "epoch": [*(("step", i, False) for i in range(1, 7)), ("epoch", 6, False)],
    }.items(),
)
def test_a_hook_that_sets_stop_training_ends_the_run(event: str, heard: list[tuple[str, int, bool]]) -> None:
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.stop_training = True  # as an earlier run may have left it
    ends = Ending(model, event)
    result = Loop(keras_steps(model)[0], ArrayData((X, Y), batch_size=4), state={"model": model}, hooks=[ends]).run(
        epochs=3
    )
    assert ends.heard == heard
    assert (result.epoch, result.reason) == (1, "model.stop_training was set")
