"""What callbacks keep is written when it is wanted, and not at each batch: a list of all losses grows with the run."""

from pathlib import Path

import keras
import pytest
import tensorflow as tf

from hooks import Checkpoint, Preemption
from hooks.callbacks.state import taken
from loop import ArrayData, At, Event, Every, Loop, Moment


class Losses(keras.callbacks.Callback):
    """That of Keras' own documentation."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.losses.append(float((logs or {})["loss"]))


def make(directory: Path, losses: Losses) -> Loop:
    weight = tf.Variable(1.0, name="weight")
    data = ArrayData(tf.range(20.0), batch_size=1, seed=1)
    hooks = [losses, Preemption(), Checkpoint(directory, Every(steps=7), keep=9)]
    return Loop(lambda x: {"loss": weight.assign_add(x[0])}, data, state={"weight": weight}, hooks=hooks)


def fail(moment: Moment) -> None:
    raise ZeroDivisionError


def test_what_is_kept_is_written_for_saves_and_ends_of_epochs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = list[int]()
    whole, losses = Losses(), Losses()
    monkeypatch.setattr(
        "hooks.keras_callbacks.taken", lambda states, lengths: (written.append(1), taken(states, lengths))[1]
    )
    make(tmp_path / "whole", whole).run(epochs=2)
    assert len(written) < 20  # of 40 steps, of which each comes to a halt
    cut = make(tmp_path / "cut", Losses())
    cut.on(Event.STEP_END, At(17))(fail)
    with pytest.raises(ZeroDivisionError):
        cut.run(epochs=2)
    make(tmp_path / "cut", losses).run(epochs=2)
    assert losses.losses == whole.losses
    assert len(losses.losses) == 40
