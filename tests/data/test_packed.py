"""A checkpoint holds no more bytes of an iterator than TensorFlow does of that of the pipeline as it was written."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Loop, StreamData
from loop.data import packed, stream
from loop.data.iterators import state_of
from loop.rebuilt.pipeline import ByPass
from loop.tf_internals import restore_iterator

Dataset = tf.data.Dataset
PICTURES = np.random.default_rng(1).integers(0, 255, [60, 24, 24, 3]).astype("uint8")


def pictures() -> Dataset:
    return Dataset.from_tensor_slices(PICTURES)


def brighter(picture: tf.Tensor) -> tf.Tensor:
    return tf.cast(picture, tf.float32) * tf.random.uniform([])


def moved(x: tf.Tensor) -> tf.Tensor:
    return x + tf.random.uniform([], 0, 9, tf.int64, seed=2)


def of_range(i: tf.Tensor) -> Dataset:
    return Dataset.range(i, i + 9).map(moved)


def ready(dataset: Dataset, steps: int = 4) -> tf.data.Iterator:
    """Returns an iterator that has read ahead as far as it does."""
    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE  # it refuses, else
    options.autotune.enabled = False
    iterator, before = iter(dataset.with_options(options)), -1
    for _ in range(steps):
        next(iterator)
    while before != (before := size(state_of(iterator))):
        time.sleep(0.05)
    return iterator


def size(state: tf.Tensor) -> int:
    return len(tf.io.serialize_tensor(state).numpy())


@pytest.mark.parametrize(
    "make",
    [
        lambda: pictures().shuffle(40).map(brighter, num_parallel_calls=2).batch(4).prefetch(2),
        lambda: Dataset.range(9).map(moved),
        *(
            pytest.param(make, marks=pytest.mark.long)
            for make in (
                lambda: pictures().shuffle(40).repeat().map(brighter).batch(4),
                lambda: pictures().map(brighter).cache().shuffle(40).batch(4).prefetch(2),
                lambda: pictures().shuffle(40).filter(lambda x: tf.random.uniform([]) < 0.9).batch(4),
                lambda: Dataset.zip((pictures().shuffle(20), pictures().shuffle(30))).map(lambda x, y: (x, y)).batch(4),
                lambda: Dataset.range(900).shuffle(600).repeat().batch(4),
                lambda: Dataset.range(9).shuffle(9).interleave(of_range, num_parallel_calls=2).shuffle(30).batch(4),
                lambda: Dataset.range(9).flat_map(of_range).repeat().batch(4),
                lambda: Dataset.range(999).map(moved).map(moved).map(moved).repeat(),
            )
        ),
    ],
)
def test_the_state_of_an_iterator_is_no_larger_than_that_of_the_pipeline_as_it_was_written(
    make: Callable[[], Dataset],
) -> None:
    made_anew = ready(ByPass(make()).of(5, 1))
    assert size(packed.packed(state_of(made_anew))) <= size(state_of(ready(make())))


@pytest.mark.parametrize("large", [False, True])
def test_what_is_packed_is_what_it_was(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "TOGETHER", 8)
    if large:
        monkeypatch.setattr(packed, "SMALL", 2**10)

    def make() -> tf.data.Iterator:
        return iter((pictures() if large else Dataset.range(60)).shuffle(30, seed=1))

    iterator, again = make(), make()
    for _ in range(4):
        next(iterator)
    state = state_of(iterator)
    texts = packed.packed(state)
    assert {text[0] for text in texts.numpy()} == ({0} if large else {1})  # marked, or compressed
    found = packed.unpacked(texts)
    assert tf.io.serialize_tensor(found).numpy() == tf.io.serialize_tensor(state).numpy()
    restore_iterator(again, found)
    assert all(np.array_equal(x, y) for x, y in zip(iterator, again, strict=True))


def test_a_mark_is_none_that_is_there_already() -> None:
    part = b"".join([*packed.MARKS[:3], *packed.TEXTS, packed.MARKS[4][:3], packed.TEXTS[0], packed.MARKS[4][1:]])
    for given in (part, b"".join([*packed.MARKS, part])):
        assert packed.whole(packed.marked(given)) == given


@pytest.mark.long
def test_a_checkpoint_whose_iterator_is_not_packed_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(directory: str, steps: int) -> float:
        total = tf.Variable(0.0, dtype=tf.float64)
        rows = StreamData(Dataset.range(1, 40).shuffle(20, seed=3).batch(2), resume="state")
        checkpoint = Checkpoint(tmp_path / directory, At(6), background=False)

        def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"x": total.assign(total * 2 + tf.cast(x[0], tf.float64))}

        loop = Loop(step, rows, state={"total": total}, hooks=[checkpoint])
        loop.run(steps=steps)
        return float(total)

    expected = run("whole", 9)
    with monkeypatch.context() as before:
        before.setattr(stream, "packed", lambda state: state)
        before.setattr(stream, "PACKED", "before")
        run("cut", 6)
    assert run("cut", 9) == expected
