"""A resume that is refused touches nothing: the same loop then runs as if nobody had tried."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import ArrayData, Every, Loop, StreamData, TrainingState

STEPS = 4  # in an epoch, of three elements each
X = np.arange(12, dtype=np.float32)
SLICES = tf.data.Dataset.from_tensor_slices(X)
CHANGED = {"by": 0.0}  # what the generator adds


def generated() -> tf.data.Dataset:
    def generator() -> Iterator[float]:
        for x in X:
            yield x + CHANGED["by"]

    return tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec([], tf.float32))


def of_epoch(rows: Callable[[], tf.data.Dataset]) -> Callable[[int], tf.data.Dataset]:
    return lambda epoch: rows().shuffle(12, seed=epoch).batch(3)


DATA: dict[str, Callable[[], ArrayData | StreamData]] = {
    "arrays": lambda: ArrayData(X, batch_size=3, seed=1),
    "arrays without a seed": lambda: ArrayData(X, batch_size=3),
    "arrays in order": lambda: ArrayData(X, batch_size=3, shuffle=False),
    "dataset": lambda: StreamData(SLICES.batch(3)),
    "shuffled": lambda: StreamData(SLICES.shuffle(12, seed=1).batch(3)),
    "of unknown length": lambda: StreamData(SLICES.filter(lambda x: x >= 0).shuffle(12, seed=1).batch(3)),
    "function": lambda: StreamData(of_epoch(lambda: SLICES)),
    "endless": lambda: StreamData(SLICES.repeat().shuffle(12, seed=1).batch(3), steps_per_epoch=STEPS),
    "endless, repeated": lambda: StreamData(
        SLICES.shuffle(12, seed=1).batch(3), resume="replay", steps_per_epoch=STEPS
    ),
    "generator": lambda: StreamData(generated().batch(3), resume="replay"),
    "generator, shuffled": lambda: StreamData(generated().shuffle(12, seed=1).batch(3), resume="replay"),
    "generator, shuffled twice": lambda: StreamData(
        generated().shuffle(12, seed=1).shuffle(3, seed=2).batch(3), resume="replay"
    ),
    "generator, function": lambda: StreamData(of_epoch(generated), resume="replay"),
    "generator, endless": lambda: StreamData(
        generated().repeat().shuffle(12, seed=1).batch(3), resume="replay", steps_per_epoch=STEPS
    ),
    "shuffled, replayed": lambda: StreamData(SLICES.shuffle(12, seed=1).batch(3), resume="replay"),
}


def make_loop(data: Callable[[], ArrayData | StreamData], *hooks: Checkpoint, factor: float = 0.5) -> Loop:
    keras.utils.set_random_seed(1)
    weight = tf.Variable(1.0, name="weight")

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": weight.assign(factor * weight + tf.reduce_sum(x * [1.0, 2.0, 3.0]))}  # tells orders apart

    return Loop(step, data(), state={"weight": weight}, hooks=hooks)


def all_of(loop: Loop) -> tuple[dict[str, bytes], str]:
    """Returns every variable of the state but the time as bytes, and the random states of Python and NumPy."""
    values = {path: v.numpy().tobytes() for path, v in loop.state.variables.items() if path != "clock/seconds"}
    return values, loop.state.capture().host


class Refused(ValueError):
    """What is raised here in the place of what TensorFlow raises."""


def restored_in_vain(state: TrainingState, path: str) -> None:
    """Restores all there is, draws numbers, and fails."""
    RESTORE(state, path)
    random.random()
    np.random.random()
    raise Refused


RESTORE = TrainingState.restore


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("stopped", [2 * STEPS, STEPS + 3])
def test_after_a_refusal_the_same_loop_begins_like_a_fresh_one(
    kind: str, stopped: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_loop(DATA[kind], Checkpoint(tmp_path)).run(steps=stopped)
    fresh = make_loop(DATA[kind])
    fresh.run(epochs=3)
    loop = make_loop(DATA[kind], Checkpoint(tmp_path))
    loop.audit()
    before, files = all_of(loop), sorted(tmp_path.iterdir())
    monkeypatch.setattr(TrainingState, "restore", restored_in_vain)
    for _ in range(2):
        with pytest.raises(Refused):
            loop.run(epochs=3)
        assert [all_of(loop) == before, sorted(tmp_path.iterdir()) == files] == [True, True]
    monkeypatch.undo()
    loop.hooks.remove("checkpoint")
    loop.run(epochs=3)
    assert all_of(loop) == all_of(fresh)


@pytest.mark.more
@pytest.mark.parametrize("kind", ["generator, shuffled", "shuffled, replayed", "shuffled", "arrays without a seed"])
def test_after_a_refusal_the_same_loop_resumes_where_it_can(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = make_loop(DATA[kind])
    fresh.run(epochs=3)
    make_loop(DATA[kind], Checkpoint(tmp_path)).run(steps=STEPS + 3)
    loop = make_loop(DATA[kind], Checkpoint(tmp_path))
    monkeypatch.setattr(TrainingState, "restore", restored_in_vain)
    with pytest.raises(Refused):
        loop.run(epochs=3)
    monkeypatch.undo()
    loop.run(epochs=3)
    assert trained(loop) == trained(fresh)


def trained(loop: Loop) -> bytes:
    return loop.state.variables["weight"].numpy().tobytes()


@pytest.fixture
def changed() -> Iterator[None]:
    yield
    CHANGED["by"] = 0.0


@pytest.mark.more
def test_data_that_are_seen_to_differ_when_they_are_read_again(tmp_path: Path, changed: None) -> None:
    kind = DATA["generator, shuffled"]
    make_loop(kind, Checkpoint(tmp_path)).run(steps=STEPS + 3)
    CHANGED["by"] = 1.0
    fresh, loop = make_loop(kind), make_loop(kind, Checkpoint(tmp_path))
    fresh.run(epochs=2)
    with pytest.raises(ValueError, match=r"Nothing was restored:\n  data: read again, (?s:.*)resume_changed='warn'"):
        loop.run(epochs=2)
    loop.hooks.remove("checkpoint")
    loop.run(epochs=2)
    assert all_of(loop) == all_of(fresh)


def test_a_pipeline_with_other_stages_that_tensorflow_refuses(tmp_path: Path) -> None:
    make_loop(DATA["shuffled"], Checkpoint(tmp_path)).run(steps=STEPS + 2)

    def other() -> StreamData:
        return StreamData(SLICES.batch(3).shuffle(4, seed=1))

    fresh, loop = make_loop(other), make_loop(other, Checkpoint(tmp_path, resume_changed="warn"))
    fresh.run(epochs=2)
    with (
        pytest.warns(UserWarning, match="The run goes on with other numbers"),
        pytest.raises(ValueError, match="TensorFlow could not restore"),
    ):
        loop.run(epochs=2)
    loop.hooks.remove("checkpoint")
    loop.run(epochs=2)
    assert all_of(loop) == all_of(fresh)


def test_what_can_be_decided_without_reading_is_decided_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_loop(DATA["generator"], Checkpoint(tmp_path, Every(steps=2))).run(steps=3)
    sought: list[object] = []
    monkeypatch.setattr(TrainingState, "seek", lambda state, notes: sought.append(notes))
    with pytest.raises(ValueError, match="the 'train' step has other constants now"):
        make_loop(DATA["generator"], Checkpoint(tmp_path), factor=0.25).run(steps=4)
    assert sought == []
