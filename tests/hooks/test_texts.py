"""Values as texts: every dtype, shape and size comes back bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint, EarlyStopping
from hooks.shared import texts
from hooks.shared.texts import as_texts, from_texts
from loop import ArrayData, Loop

VALUES = {
    "scalar": tf.constant(3.5),
    "flags": tf.constant([True, False, True]),
    "halves": tf.cast([[1.5, -2.0], [np.nan, 3.0]], tf.bfloat16),
    "wide": tf.constant([2**62 + 1, -1], tf.int64),
    "complex": tf.constant([1 + 2j], tf.complex128),
    "nothing": tf.zeros([0, 4]),
    "words": tf.constant([["a", ""], ["b\0c", "déjà"]]),
    "a word": tf.constant("a\\0"),
    "no words": tf.constant([], tf.string),
    "quarters": tf.cast([1.5, -2.0], tf.dtypes.experimental.float8_e5m2),
    "long": tf.range(1000.0),
}


@pytest.mark.parametrize("longest", [1, 7, 2**28])
def test_values_come_back(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LONGEST", longest)
    variables = {name: tf.Variable(value) for name, value in VALUES.items()}
    said = as_texts(variables.values())
    back = from_texts(tf.Variable(said, shape=[None]).numpy(), variables)  # as a checkpoint has them
    for name, value in VALUES.items():
        assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape), name
        if value.dtype == tf.string:
            assert np.asarray(back[name].numpy(), object).tolist() == np.asarray(value.numpy(), object).tolist(), name
        else:
            assert back[name].numpy().tobytes() == value.numpy().tobytes(), name
        assert as_texts([tf.Variable(back[name])]) == as_texts([tf.Variable(value)]), name


def test_texts_of_other_values_are_refused() -> None:
    one, two = {"a": tf.Variable([1.0, 2.0])}, {"a": tf.Variable([1.0]), "b": tf.Variable([1.0])}
    for said, like in [(as_texts(one.values()), two), (as_texts(two.values()), one), ([], one)]:
        with pytest.raises(ValueError, match=r"no value of|more texts"):
            from_texts(said, like)


def test_damaged_or_missing_texts_are_refused() -> None:
    numbers, words = {"a": tf.Variable([1.0, 2.0])}, {"a": tf.Variable(["b", "c"])}
    shape, data = as_texts(numbers.values())
    short = [[], [shape], [shape, data[:1]], [shape, data[:-1]], [shape, data + b"0"], [shape, b""]]
    shapes = [[text, data] for text in (b"null", b"", b"\xff", b"{}", b"2", b'["a"]', b"[-2]", b"[2.5]", b"[null]")]
    one = {"a": tf.Variable(1.0)}
    of_one = [([text, data[:4]], one) for text in (b"{}", b'""', b"[" * 100_000)]
    for said, like in [*((said, numbers) for said in short + shapes), (as_texts(words.values())[:-1], words), *of_one]:
        with pytest.raises(ValueError, match="no value of"):
            from_texts(said, like)
    assert from_texts([shape, data], numbers)["a"].numpy().tolist() == [1.0, 2.0]


def test_what_was_kept_under_another_argument_is_not_put_back_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def life(restore_best: str | None, steps: int) -> float:
        count = tf.Variable(0.0, name="count")
        stopping = EarlyStopping("loss", mode="min", patience=9, restore_best=restore_best)
        loop = Loop(
            lambda x: {"loss": count.assign_add(1.0)},
            ArrayData(tf.range(1), batch_size=1),
            state={"count": count},
            hooks=[stopping, Checkpoint(tmp_path)],
        )
        loop.run(steps=steps)
        return float(count)

    assert life(None, 2) == 2.0
    assert life("state", 4) == 4.0
    (said,) = [record.message for record in caplog.records if "keeps nothing" in record.message]
    assert "restore_best was another one when loss was best, at step 1" in said


@pytest.mark.long
def test_more_than_two_gigabytes_are_kept_saved_and_put_back(tmp_path: Path) -> None:
    rows = 2_200_000_000 // 2**20 + 1

    def make() -> tuple[tf.Variable, Loop]:
        large, step = tf.Variable(tf.zeros([rows, 2**20], tf.int8), name="large"), tf.Variable(0, name="step")

        def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
            count = tf.cast(step.assign_add(1), tf.int8)
            large.scatter_nd_update([[rows - 1, 5]], [count])
            return {"loss": tf.abs(tf.cast(count, tf.float32) - 2.0)}  # best after the second step

        stopping = EarlyStopping("loss", mode="min", patience=9, restore_best="state")
        checkpoint = Checkpoint(tmp_path, keep=1)
        data = ArrayData(tf.range(1), batch_size=1)
        return large, Loop(train_step, data, state={"large": large, "step": step}, hooks=[stopping, checkpoint])

    large, loop = make()
    loop.run(steps=3)
    assert int(large[rows - 1, 5]) == 2
    del large, loop  # or all of it would be there twice
    large, loop = make()
    loop.run(steps=3)  # nothing but to restore, and to put back
    assert int(large[rows - 1, 5]) == 2
