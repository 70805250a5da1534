"""`tf.summary` in steps, evaluations and hooks: each point once, whatever happens to the run."""

from pathlib import Path

import keras
import nursery
import pytest
import tensorflow as tf
from places import TESTS
from summary_lives import Accident, Point, expected, make_loop, points, steps_of

from exactloop import find_learning_rate
from hooks import TensorBoard
from hooks.board import recorded
from loop import ArrayData, Loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    directory = tmp_path_factory.mktemp("whole")
    make_loop(directory).run(epochs=3)
    return points(directory)


@pytest.mark.more
def test_what_a_step_writes_has_the_step_and_the_value(tmp_path: Path) -> None:
    make_loop(tmp_path, more=True).run(epochs=3)
    assert steps_of(points(tmp_path)) == expected(15, more=True)
    values = {(tag, step): value for _, step, tag, value in points(tmp_path)}
    assert [values["before", step] for step in range(1, 16)] == [10.0 - step for step in range(1, 16)]
    assert [values["inside", step] for step in (5, 10, 15)] == [2.0 * (9 - step) for step in (5, 10, 15)]
    assert values["by_hand", 9] == 90.0
    assert values["weights", 3] == 9.0
    assert values["picture", 3] == 4  # width, height, and two
    assert values["said", 3] == b"6.000000"


def test_a_resumed_run_has_each_point_once(whole: list[Point], tmp_path: Path) -> None:
    for at in (6, 13):
        with pytest.raises(ConnectionError):
            make_loop(tmp_path, Accident(at)).run(epochs=3)
    make_loop(tmp_path).run(epochs=3)
    assert points(tmp_path) == whole


@pytest.mark.more
def test_what_is_only_tried_is_not_there(whole: list[Point], tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    assert loop.audit() == []
    loop.dry_run()
    assert not (tmp_path / "tensorboard").exists()
    loop.run(epochs=1)
    loop.run(epochs=3)  # in the same process, by what was traced before
    assert points(tmp_path) == whole


def test_a_step_that_is_traced_again_to_be_compared_is_the_same(tmp_path: Path) -> None:
    class Settings:
        factor, label = 2.0, "first"

    weight, board, settings = tf.Variable(1.0), TensorBoard(tmp_path / "tensorboard"), Settings()

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        return {"loss": weight.assign_add(x[0] * settings.factor, name=settings.label)}

    loop = Loop(step, ArrayData(tf.range(2.0), batch_size=1), state={"weight": weight}, hooks=[board])
    loop.run(epochs=1)
    settings.label = "second"  # of which the step makes nothing
    loop.run(epochs=2)
    assert [step for _, step, _, _ in points(tmp_path)] == [1, 2, 3, 4]
    settings.factor = 3.0
    with pytest.raises(RuntimeError, match="factor"):
        loop.run(epochs=3)


@pytest.mark.long
def test_a_search_for_a_rate_leaves_no_points(tmp_path: Path) -> None:
    weight, optimizer, board = keras.Variable(1.0), keras.optimizers.SGD(0.1), TensorBoard(tmp_path / "tensorboard")
    optimizer.build([weight])

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = weight.value * weight.value
        optimizer.apply([2.0 * weight.value], [weight])
        with board.summaries():
            tf.summary.scalar("inside", loss)
        return {"loss": loss}

    data = ArrayData(tf.range(5.0), batch_size=1, seed=1)
    loop = Loop(step, data, state={"weight": weight.value, "optimizer": optimizer}, hooks=[board])
    find_learning_rate(loop, steps=10, lowest=1e-3, highest=1.0)
    loop.run(epochs=1)
    assert [(step, tag) for _, step, tag, _ in points(tmp_path)] == [(step, "inside") for step in range(1, 6)]


@pytest.mark.long
def test_what_has_been_read_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "FREED", 0)
    loop = make_loop(tmp_path)
    loop.run(epochs=3)
    assert steps_of(points(tmp_path)) == expected(15, more=False)


@pytest.mark.more
def test_a_writer_of_ones_own_in_the_step_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer, weight = tf.summary.create_file_writer(str(tmp_path)), tf.Variable(1.0)
    board, other = TensorBoard(tmp_path / "own"), TensorBoard(tmp_path / "ours")

    def own(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        with writer.as_default():
            tf.summary.scalar("x", x[0], step=3)
        return {"loss": weight.assign_add(1.0)}

    def ours(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with other.summaries():
            tf.summary.scalar("inside", weight)
        return {"loss": weight.assign_add(1.0)}

    for step, hook, told in ((own, board, 1), (ours, other, 0)):
        caplog.clear()
        data = ArrayData(tf.range(5.0), batch_size=1, seed=1)
        Loop(step, data, state={"weight": weight}, hooks=[hook]).run(epochs=1)
        assert [record.message.count("`with tensorboard.summaries():`") for record in caplog.records] == [1] * told


def test_wrong_uses_are_told(tmp_path: Path) -> None:
    board, weight = TensorBoard(tmp_path / "tensorboard"), tf.Variable(1.0)
    data = ArrayData(tf.range(2.0), batch_size=1)
    Loop(lambda x: {"loss": weight.assign_add(1.0)}, data, state={"weight": weight}, hooks=[board]).run(epochs=1)
    with pytest.raises(RuntimeError, match=r"summaries\(\) is for steps, and for hooks while a run"), board.summaries():
        pass
    with pytest.raises(ValueError, match=r"TensorBoard has the runs 'train', 'val'\. Received: run='test'"):
        make_loop(tmp_path, name="test").run(epochs=1)


@pytest.mark.more
def test_xla_cannot_compile_it_and_says_where_it_is(tmp_path: Path) -> None:
    weight, board = tf.Variable(1.0), TensorBoard(tmp_path)

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with board.summaries():
            tf.summary.scalar("inside", weight)
        return {"loss": weight.assign_add(1.0)}

    for jit_compile in (True, False):  # which is the remedy
        data = ArrayData(tf.range(2.0), batch_size=1)
        loop = Loop(step, data, state={"weight": weight}, hooks=[board], jit_compile=jit_compile)
        if jit_compile:
            with pytest.raises(
                ValueError, match=r"WriteSummary.*\n.*tf\.summary\.scalar\(.inside., weight\)\n.*Leave out"
            ):
                loop.run(epochs=1)
        else:
            assert loop.run(epochs=1).step == 2


EVENTS = ("step_end", "epoch_end", "settled")


@pytest.mark.long
def test_a_run_that_is_killed_at_every_step_has_each_point_once(tmp_path: Path) -> None:
    kills = [f"{event}:{step}" for event in EVENTS for step in range(1, 16) if event != "epoch_end" or step % 5 == 0]
    done = nursery.run(TESTS / "summary_lives.py", tmp_path, *kills)
    assert (done.returncode, done.stdout) == (0, "")
