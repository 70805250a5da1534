"""What is in the file of a cache is part of what the data are: with other contents, no run goes on in silence."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import Evaluation, Every, Loop

Dataset = tf.data.Dataset


def filled(file: Path, numbers: Sequence[int]) -> Dataset:
    """Returns numbers out of the file of a cache, which is filled anew before, as a script may do at each start."""
    for old in file.parent.glob(f"{file.name}.*"):
        old.unlink()
    cached = Dataset.from_generator(lambda: iter(numbers), output_signature=tf.TensorSpec([], tf.int32))
    cached = cached.cache(str(file))
    for _ in cached:
        pass
    return cached.batch(2)


def train(directory: Path, numbers: Sequence[int], held_out: Sequence[int], steps: int, **arguments: object) -> int:
    """Trains on numbers in the file of a cache, and evaluates on others. Returns the sum of what was trained on."""
    directory.mkdir(exist_ok=True)
    total = tf.Variable(0, trainable=False, name="total")

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": total.assign_add(tf.reduce_sum(batch))}

    evaluation = Evaluation(lambda batch: {"x": tf.reduce_sum(batch)}, filled(directory / "held_out", held_out))
    hooks = [Checkpoint(directory / "checkpoints", Every(steps=1), background=False)]
    data = filled(directory / "rows", numbers)
    Loop(step, data, state={"total": total}, evaluate=evaluation, hooks=hooks, **arguments).run(steps=steps)
    return int(total)


@pytest.mark.more
@pytest.mark.parametrize(
    ("numbers", "held_out", "said"),
    [
        (range(8), range(4), None),
        ([0, 1, 2, 3, 4, 5, 6, 8], range(4), "data: the files of its caches hold other elements than when the"),
        (range(8), [0, 1, 2, 4], "data of evaluation 'val': the files of its caches hold other elements"),
    ],
)
def test_a_cache_that_was_filled_with_other_elements_is_refused_and_one_with_the_same_is_not(
    numbers: Sequence[int], held_out: Sequence[int], said: str | None, tmp_path: Path
) -> None:
    assert train(tmp_path, range(8), range(4), 2) == 6
    if said is None:
        assert train(tmp_path, numbers, held_out, 4) == 28
        return
    with pytest.raises(ValueError, match=re.escape(said)):
        train(tmp_path, numbers, held_out, 4)


@pytest.mark.more
def test_a_cache_that_the_run_fills_itself_as_it_was_told_to_is_no_difference(tmp_path: Path) -> None:
    total = 0
    for steps in (2, 4, 6):
        count = tf.Variable(0, trainable=False, name="count")
        data = Dataset.range(4).cache(str(tmp_path / "rows")).batch(2)
        checkpoint = Checkpoint(tmp_path / "checkpoints", Every(epochs=1), background=False)
        loop = Loop(lambda x: {"n": count.assign_add(1)}, data, state={"count": count}, hooks=[checkpoint], exact=False)  # noqa: B023
        loop.run(steps=steps)
        total += int(count)
    assert total == 12
