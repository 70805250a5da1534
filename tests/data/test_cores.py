"""What `interleave` yields if it is left to TensorFlow depends on the cores: a run keeps to those it began with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import Every, Loop, StreamData
from loop.data.pipelines import epochs
from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import UnknownStage

Dataset = tf.data.Dataset
PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE}


def parts(i: tf.Tensor) -> Dataset:
    return Dataset.from_tensors(i).repeat(3)


def nested(**arguments: object) -> Dataset:
    """Returns one within a function."""
    return Dataset.range(2).flat_map(
        lambda x: Dataset.range(6).interleave(parts, **arguments).map(lambda y: 10 * x + y)
    )


def drawn(**arguments: object) -> Dataset:
    """Returns one whose function is made anew, too."""
    return Dataset.range(6).interleave(lambda i: parts(i).shuffle(3, seed=1).map(lambda y: i + y), **arguments)


PIPELINES: dict[str, Callable[[], StreamData]] = {
    "interleave": lambda: StreamData(Dataset.range(6).interleave(parts).batch(3)),
    "in parallel": lambda: StreamData(Dataset.range(6).interleave(parts, **PARALLEL).batch(3)),
    "in a function": lambda: StreamData(nested().batch(3)),
    "that shuffles": lambda: StreamData(drawn(**PARALLEL).batch(3)),
    "in any order": lambda: StreamData(Dataset.range(6).interleave(parts, deterministic=False, **PARALLEL).batch(3)),
    "of the epoch": lambda: StreamData(lambda epoch: Dataset.range(epoch, 6).interleave(parts).batch(3)),
    "endless": lambda: StreamData(Dataset.range(6).repeat().interleave(parts).batch(3), steps_per_epoch=6),
}


def run(directory: Path, steps: int, data: StreamData) -> list[list[int]]:
    seen = tf.Variable(tf.zeros([0, 3], tf.int64), shape=[None, 3], trainable=False, name="seen")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        seen.assign(tf.concat([seen, [batch]], 0))
        return {"x": tf.size(batch)}

    checkpoint = Checkpoint(directory, Every(steps=1), background=False)
    Loop(step, data, state={"seen": seen}, hooks=[checkpoint]).run(steps=steps)
    return seen.numpy().tolist()


def with_cores(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(epochs, "cores", lambda: number)


@pytest.mark.parametrize(
    "name",
    ["in parallel", *(pytest.param(name, marks=pytest.mark.long) for name in PIPELINES if name != "in parallel")],
)
def test_an_order_by_the_number_of_cores_is_kept_with_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cores(monkeypatch, 3)
    whole = run(tmp_path / "whole", 8, PIPELINES[name]())
    with_cores(monkeypatch, 6)
    other = run(tmp_path / "other", 8, PIPELINES[name]())
    with_cores(monkeypatch, 3)
    run(tmp_path / "cut", 2, PIPELINES[name]())
    with_cores(monkeypatch, 6)
    run(tmp_path / "cut", 5, PIPELINES[name]())
    with_cores(monkeypatch, 1)
    assert run(tmp_path / "cut", 8, PIPELINES[name]()) == whole != other


@pytest.mark.parametrize("arguments", [{}, PARALLEL, {"num_parallel_calls": 2}])
@pytest.mark.parametrize("make", [lambda **given: Dataset.range(6).interleave(parts, **given), nested, drawn])
def test_the_order_is_that_of_tensorflow_with_these_cores(
    make: Callable[..., Dataset], arguments: dict[str, int]
) -> None:
    disable_op_determinism()  # under which TensorFlow makes others of some that are parallel
    left_open = ByPass(make(**arguments)).of(0, 0, cores=epochs.cores())
    assert list(left_open.as_numpy_iterator()) == list(make(**arguments).as_numpy_iterator())
    tf.config.experimental.enable_op_determinism()


@pytest.mark.more
def test_one_that_cannot_be_made_anew_runs_and_is_refused_with_other_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(self: ByPass) -> None:
        raise UnknownStage("a stage that nobody knows")

    monkeypatch.setattr(ByPass, "trace", unknown)
    with_cores(monkeypatch, 3)
    run(tmp_path, 1, PIPELINES["interleave"]())
    run(tmp_path, 2, PIPELINES["interleave"]())
    with_cores(monkeypatch, 6)
    run(tmp_path / "given", 1, StreamData(Dataset.range(6).interleave(parts, cycle_length=2).batch(3)))
    with pytest.raises(ValueError, match="there were 3 cores when the run began, and are 6"):
        run(tmp_path, 3, PIPELINES["interleave"]())
