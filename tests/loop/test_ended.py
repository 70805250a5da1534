"""A run that was ended, and goes on when the program is started again, is told of where another loop begins."""

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Hook, Loop, Moment
from loop.running.ended import GOES_ON


class Stops(Hook):
    def on_epoch_end(self, moment: Moment) -> None:
        moment.stop("it is good")


class SaysSo(Hook):
    """Ends the run again, as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.over = tf.Variable(False)

    def reason_to_end(self) -> str:
        return "it is good" if self.over else ""

    def on_run_begin(self, moment: Moment) -> None:
        if reason := self.reason_to_end():
            moment.stop(reason)

    def on_epoch_end(self, moment: Moment) -> None:
        self.over.assign(True)
        moment.stop(self.reason_to_end())


class Callback(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.model.stop_training = True


def make(directory: Path | None, *hooks: Hook | keras.callbacks.Callback) -> Loop:
    weight = tf.Variable(1.0, name="weight")
    data, saving = ArrayData(tf.range(2.0), batch_size=1, seed=1), [Checkpoint(directory)] if directory else []
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    state = {"weight": weight, "model": model}
    return Loop(lambda x: {"weight": weight.assign_add(x[0])}, data, state=state, hooks=[*hooks, *saving])


@pytest.mark.parametrize(
    ("hook", "epochs", "is_told"),
    [
        (Stops, 2, True),
        (Stops, 1, False),  # which is all that was asked for
        pytest.param(SaysSo, 2, False, marks=pytest.mark.more),
        pytest.param(Callback, 2, False, marks=pytest.mark.more),
    ],
)
def test_a_run_that_would_go_on_is_told_where_another_loop_begins(
    hook: Callable[[], Hook], epochs: int, is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make(tmp_path / "a", hook())
    assert loop.run(epochs=epochs).epoch == 1
    for name in "bc":  # once
        make(tmp_path / name).run(epochs=1)
    assert caplog.messages.count(GOES_ON % "it is good") == is_told


def test_a_run_that_goes_on_in_this_process_or_is_not_saved_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = make(tmp_path / "a", Stops())
    for _ in range(2):
        loop.run(epochs=2)
    make(None, Stops()).run(epochs=2)
    make(tmp_path / "b").run(epochs=1)
    assert GOES_ON % "it is good" not in caplog.messages
