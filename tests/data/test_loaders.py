"""Keras' loaders that were given no seed go on in the order that they drew when the run began.

    PYTHONPATH=.:tests python tests/data/test_loaders.py CHECKPOINTS LOADER SEED STEP

is one life of a training over what a loader reads in the working directory, killed by SIGKILL when that step is saved.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf
from places import environment
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import Every, Hook, Loop, Moment

EPOCHS, STEPS = 3, 4  # of each pass
SERIES = np.arange(17.0)


def images() -> tf.data.Dataset:
    pictures = keras.utils.image_dataset_from_directory("images", image_size=(4, 4), batch_size=3, verbose=False)
    return pictures.map(lambda x, y: (x / 255, y)).prefetch(2)


def flipped() -> tf.data.Dataset:
    """What is drawn, above labels that a function of Keras' own makes."""
    directory = {"image_size": (4, 4), "batch_size": 3, "label_mode": "categorical", "verbose": False}
    pictures = keras.utils.image_dataset_from_directory("images", **directory)
    return pictures.map(lambda x, y: (x + tf.random.normal([3, 1, 1, 1]), y))


def texts() -> tf.data.Dataset:
    return keras.utils.text_dataset_from_directory("texts", batch_size=3, verbose=False).cache().shuffle(4, seed=5)


def series() -> tf.data.Dataset:
    windows = keras.utils.timeseries_dataset_from_array(SERIES, SERIES, 3, batch_size=4, shuffle=True)
    return windows.map(lambda x, y: (x * 2, y))


def files() -> tf.data.Dataset:
    names = sorted(str(file) for file in Path("images").glob("*/*"))
    np.random.shuffle(names)
    pictures = tf.data.Dataset.from_tensor_slices(names).map(lambda name: tf.io.decode_png(tf.io.read_file(name)))
    return pictures.map(lambda x: (x, tf.reduce_sum(tf.cast(x, tf.int32)))).batch(3)  # in the same order in each pass


def permuted() -> tf.data.Dataset:
    order = np.random.permutation(12)
    rows = tf.data.Dataset.from_tensor_slices({"x": np.arange(36.0).reshape([12, 3])[order], "y": order // 5})
    return rows.batch(3).map(lambda row: (row["x"], row["y"])).shuffle(3)


LOADERS: dict[str, Callable[[], tf.data.Dataset]] = {
    "texts": texts,
    "images": images,
    "flipped": flipped,
    "series": series,
    "files": files,
    "permuted": permuted,
}


def fill(directory: Path) -> None:
    """Writes 12 pictures and 12 texts, of three kinds."""
    for i in range(12):
        for kind, end in (("images", "png"), ("texts", "txt")):
            (directory / kind / f"{i % 3}").mkdir(parents=True, exist_ok=True)
            picture = tf.io.encode_png(tf.fill([4, 4, 3], tf.constant(i, tf.uint8))).numpy()
            (directory / kind / f"{i % 3}" / f"{i}.{end}").write_bytes(picture if kind == "images" else b"%d" % i)


def start(checkpoints: Path, name: str) -> tuple[Loop, tf.Variable]:
    """Returns a loop, and the variable in which it keeps all batches."""
    batches = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False, name="batches")

    def step(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = tf.strings.join([tf.io.serialize_tensor(x), tf.io.serialize_tensor(y)])
        batches.assign(tf.concat([batches, [batch]], axis=0))
        return {"x": tf.constant(0)}

    hooks = [Checkpoint(checkpoints, Every(steps=1), background=False)]
    return Loop(lambda batch: step(*batch), LOADERS[name](), state={"batches": batches}, hooks=hooks), batches


@pytest.fixture(autouse=True)
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    disable_op_determinism()  # which demands a seed
    yield
    tf.config.experimental.enable_op_determinism()


def life(checkpoints: Path, name: str, seed: int, steps: int | None = None) -> list[bytes]:
    """Trains as another process would, in which the loader draws another seed."""
    tf.random.set_seed(None)
    np.random.seed(seed)
    random.seed(1)  # by which what has no seed is drawn, when a run begins
    loop, batches = start(checkpoints, name)
    loop.run(epochs=EPOCHS, steps=steps)
    return batches.numpy().tolist()


@pytest.mark.more
@pytest.mark.parametrize("name", LOADERS)
def test_the_order_that_was_drawn_is_taken_over(name: str, tmp_path: Path) -> None:
    other = life(tmp_path / "other", name, 2, STEPS)  # the first in a process draws more for itself
    whole = life(tmp_path / "whole", name, 1)
    passes = [whole[i * STEPS : (i + 1) * STEPS] for i in range(EPOCHS)]
    assert len({*map(tuple, passes)}) == (1 if name == "files" else EPOCHS)
    assert other != passes[0]
    for seed, step in ((1, 2), (2, 4)):  # in the middle of an epoch, and at its end
        assert life(tmp_path / "cut", name, seed, step) == whole[:step]
    assert life(tmp_path / "cut", name, 3) == whole


@pytest.mark.more
@pytest.mark.parametrize("change", ["content", "more", "another kind"])
def test_a_directory_that_has_changed_is_refused(change: str, tmp_path: Path) -> None:
    life(tmp_path / "saved", "texts", 1, 2)
    if change == "content":
        (tmp_path / "texts/1/4.txt").write_text("5")
    elif change == "more":
        (tmp_path / "texts/1/12.txt").write_text("12")
    else:
        (tmp_path / "texts/1/4.txt").rename(tmp_path / "texts/0/4.txt")
    with pytest.raises(ValueError, match=r"Nothing was restored:\n(?s:.*)  data: the pipeline has other .*TensorSlice"):
        life(tmp_path / "saved", "texts", 2)


def test_other_series_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life(tmp_path / "saved", "series", 1, 2)
    monkeypatch.setitem(globals(), "SERIES", np.arange(17.0) + 1)
    with pytest.raises(ValueError, match=r"Nothing was restored:\n  data: the pipeline"):
        life(tmp_path / "saved", "series", 2)


@pytest.mark.more
def test_labels_numbered_in_the_order_of_a_set_are_refused_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def labelled(kinds: Iterable[str]) -> Callable[[], tf.data.Dataset]:
        numbers = {kind: i for i, kind in enumerate(kinds)}
        labels = [numbers[f"{i % 3}"] for i in range(12)]
        return lambda: tf.data.Dataset.from_tensor_slices((np.arange(12.0), labels)).batch(3)

    sets = ["012", "120", "201"]  # as list(set("012")) is in three processes
    for number, order in enumerate(map(sorted, sets)):
        monkeypatch.setitem(LOADERS, "sorted", labelled(order))
        assert len(life(tmp_path / "sorted", "sorted", 1, number + 1)) == number + 1
    monkeypatch.setitem(LOADERS, "set", labelled(sets[0]))
    life(tmp_path / "set", "set", 1, 2)
    monkeypatch.setitem(LOADERS, "set", labelled(sets[1]))
    with pytest.raises(ValueError, match=r"the order of a set, .*: write sorted\(set\(names\)\)"):
        life(tmp_path / "set", "set", 1)


def process(directory: Path, checkpoints: Path, name: str, seed: int, step: int = 0) -> int:
    """Returns the exit status of a process in a directory, which has its own hash seed."""
    command = [sys.executable, __file__, checkpoints, name, str(seed), str(step)]
    more = {"PYTHONHASHSEED": str(seed + 1)}
    return subprocess.run(command, env=environment(**more), cwd=directory, check=False).returncode


@pytest.mark.long
@pytest.mark.parametrize("name", ["images", "series"])
def test_processes_elsewhere_that_are_killed_see_the_same_batches_as_one_that_is_not(name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "images", elsewhere / "images")
    assert process(tmp_path, tmp_path / "whole", name, 1) == 0
    assert process(tmp_path, tmp_path / "killed", name, 1, 2) == -signal.SIGKILL
    assert process(elsewhere, tmp_path / "killed", name, 2, 7) == -signal.SIGKILL
    assert process(elsewhere, tmp_path / "killed", name, 3) == 0
    assert (tmp_path / "killed.json").read_text() == (tmp_path / "whole.json").read_text()


class Killer(Hook):
    """Kills the process when a step is saved."""

    saves = True  # and so it comes after the checkpoint
    every = Every(steps=1)

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def on_settled(self, moment: Moment) -> None:
        if moment.step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(checkpoints: Path, name: str, seed: int, step: int) -> None:
    np.random.seed(seed)
    loop, batches = start(checkpoints, name)
    loop.hooks.add(Killer(step))
    loop.run(epochs=EPOCHS)
    Path(f"{checkpoints}.json").write_text(json.dumps([batch.hex() for batch in batches.numpy()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
