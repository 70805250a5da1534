"""An evaluation may be given to one loop after the other; loops that go on in turns need one each."""

from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Loop


def make(directory: Path, evaluation: Evaluation) -> Loop:
    weight = tf.Variable(0.0)
    data = ArrayData(tf.range(4.0), batch_size=1, seed=1)
    step = lambda x: {"weight": weight.assign_add(x[0])}  # noqa: E731
    return Loop(step, data, state={"weight": weight}, evaluate=evaluation, hooks=[Checkpoint(directory)])


def evaluation() -> Evaluation:
    return Evaluation(lambda x: {"x": x[0]}, ArrayData(tf.range(2.0), batch_size=1, shuffle=False))


def test_one_after_the_other_have_it_and_in_turns_it_is_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    shared = evaluation()
    first, second = make(tmp_path / "1", shared), make(tmp_path / "2", shared)
    assert first.run(epochs=1).logs["val_x"] == second.run(epochs=1).logs["val_x"] == 0.5
    assert second.run(epochs=2).logs["val_x"] == 0.5
    for again in (lambda: first.run(epochs=2), first.evaluate):
        with pytest.raises(RuntimeError, match="Evaluation 'val' is in another loop since"):
            again()
    loops = [make(tmp_path / str(i), evaluation()) for i in (3, 4)]
    for epochs in (1, 2):
        assert [loop.run(epochs=epochs).logs["val_x"] for loop in loops] == [0.5, 0.5]
