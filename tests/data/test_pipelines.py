"""Each `tf.data` pipeline is resumed exactly from every position, or refused before the first step.

    PYTHONPATH=.:tests python tests/data/test_pipelines.py DIRECTORY PIPELINE STEP

is one life of a training over a pipeline, killed by SIGKILL when that step is saved; to the end, if it is 0.
"""

import itertools
import json
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import nursery
import pytest
import tensorflow as tf
from pipelines import PIPELINES
from pipelines.cases import CLOCK, EPOCHS, ROWS, Dataset
from tensorflow.python.framework.config import disable_op_determinism

from hooks import Checkpoint
from loop import NEVER, At, Every, Hook, Loop, Moment, StreamData, Trigger
from loop.data.pipelines.passes import PassesSoFar


class FilesKept(Hook):
    """Keeps the files that a pipeline has made by the end of each step."""

    every: Trigger = Every(steps=1)

    def __init__(self, files: Path, kept: Path) -> None:
        super().__init__()
        self._files, self._kept = files, kept

    def on_settled(self, moment: Moment) -> None:
        shutil.copytree(self._files, self._kept / str(moment.step))


class Killer(Hook):
    """Kills the process when a step is saved."""

    saves = True  # and so it comes after the checkpoint
    every: Trigger = Every(steps=1)

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def on_settled(self, moment: Moment) -> None:
        if moment.step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def start(
    directory: Path,
    name: str,
    every: Trigger = NEVER,
    *,
    hooks: Sequence[Hook] = (),
    exact: bool = True,
    changed: str = "refuse",
) -> tuple[Loop, tf.Variable]:
    """Returns a loop over a pipeline, all of it made as a script makes it when it starts, and all its batches so far.

    The batches are a variable: they are saved and restored, and so compared from the first one on.
    """
    (directory / "files").mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    given = PIPELINES[name]
    data = given.make(directory / "files")
    if not isinstance(data, keras.utils.PyDataset):
        data = StreamData(data, resume=given.resume, steps_per_epoch=given.steps)
    batches = tf.Variable(tf.zeros([0], tf.string), shape=[None], trainable=False, name="batches")

    def step(elements: object) -> dict[str, tf.Tensor]:
        tensors = tf.nest.flatten(elements, expand_composites=True)
        batch = tf.strings.join([tf.io.serialize_tensor(tensor) for tensor in tensors])
        batches.assign(tf.concat([batches, [batch]], axis=0))
        return {"x": tf.constant(0)}

    checkpoint = Checkpoint(directory / "checkpoints", every, keep=99, background=False, resume_changed=changed)
    return Loop(step, data, state={"batches": batches}, hooks=[*hooks, checkpoint], exact=exact), batches


def resumed(root: Path, name: str, *positions: int) -> list[str]:
    """Runs a pipeline without interruption, and then from what was saved after some of its steps; after all, if none.

    Returns:
        A line for each position from which the run went on with other batches.
    """
    directory, saved, kept = root / "run", root / "saved", root / "kept"
    every = At(*positions) if positions else Every(steps=1)
    loop, batches = start(directory, name, every, hooks=[FilesKept(directory / "files", kept)])
    loop.run(epochs=EPOCHS)
    (directory / "checkpoints").rename(saved)
    expected, wrong = batches.numpy().tolist(), []
    for step in positions or range(1, len(expected)):
        shutil.rmtree(directory)
        shutil.copytree(kept / str(step), directory / "files")
        (directory / "checkpoints").mkdir()
        for file in saved.glob(f"ckpt-{step}.*"):
            (directory / "checkpoints" / file.name).hardlink_to(file)
        loop, batches = start(directory, name)
        loop.run(epochs=EPOCHS)
        if (found := batches.numpy().tolist()) != expected:
            first = next(i for i, pair in enumerate(itertools.zip_longest(found, expected)) if pair[0] != pair[1])
            wrong.append(f"resumed after {step} of {len(expected)}: step {first + 1} is another one")
    return wrong


@pytest.fixture(autouse=True)
def _as_in_a_script() -> Iterator[None]:
    """Op determinism, which the other tests have, would hide here what scripts meet that do not have it."""
    disable_op_determinism()
    yield
    tf.config.experimental.enable_op_determinism()


EXACT = [name for name, given in PIPELINES.items() if given.refused is None]
REFUSED = [name for name, given in PIPELINES.items() if given.refused is not None]
QUICK = (  # the others are tried by `make test-long`
    "two shuffles, no seed at all",
    "interleave of what is shuffled",
    "sample_from_datasets, no seed at all",
    "filter, endless",
    "py_function that draws, after shuffle",
    "shuffle before endless repeat",
    "groups that are shuffled",
    "concatenate within apply, of what is shuffled",
    "rows that are filled up, shuffled",
    "map, parallel, in any order",
    "random numbers of a generator",
    "cache before shuffle, endless",
    "choose_from_datasets by a shuffle",
    "files found by pattern, no seed at all",
    "Keras' texts in directories, no seed",
    "generator with NumPy's global random numbers",
    "numpy_function with random numbers of its own and of all, in parallel",
    "a Keras layer that draws",
    "function of the epoch that draws",
    "options: all, below what is shuffled and repeated",
    "public: two of everything, mixed",
    "public: files that are shuffled and repeated, interleaved in any order, shuffled again",
    "public: batches that Python augments",
    "public: pictures of directories without a seed, scaled",
    "public: files that are listed, cropped, flipped on a condition, and repeated",
    "public: records in any order, with noise, repeated, shuffled and padded",
    "public: a PyDataset that shuffles",
    "public: layers that augment batches",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_pipeline_that_is_taken_goes_on_with_the_same_batches(name: str, tmp_path: Path) -> None:
    assert resumed(tmp_path, name, 2, 6, 8) == []  # in the middle of the first epoch, of the second, and at its end


@pytest.mark.long
@pytest.mark.parametrize("name", EXACT)
def test_a_pipeline_that_is_taken_goes_on_with_the_same_batches_from_every_step(name: str, tmp_path: Path) -> None:
    assert resumed(tmp_path, name) == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_pipeline_that_is_not_taken_is_refused_before_the_first_step(name: str, tmp_path: Path) -> None:
    loop, batches = start(tmp_path, name)
    with pytest.raises(ValueError, match=re.compile(str(PIPELINES[name].refused), re.DOTALL)):
        loop.run(epochs=EPOCHS)
    assert batches.shape == [None]
    assert len(batches.numpy()) == 0


def life(directory: Path, name: str, step: int = 0) -> int:
    """Returns the exit status of a process that trains; negative for the signal that ended it."""
    return nursery.run(__file__, directory, name, str(step)).returncode


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "two shuffles, no seed at all",
        "cache in a file that is filled before, then shuffle",
        "generator behind a cache",
        "choose_from_datasets by a shuffle",
        "py_function that draws, after shuffle",
        "Keras' texts in directories, no seed",
    ],
)
def test_processes_that_are_killed_see_the_same_batches_as_one_that_is_not(name: str, tmp_path: Path) -> None:
    assert life(tmp_path / "whole", name) == 0
    killed = [life(tmp_path / "killed", name, step) for step in (2, 4, 7)]
    assert killed == [-signal.SIGKILL] * 3
    assert life(tmp_path / "killed", name) == 0
    assert (tmp_path / "killed/batches.json").read_text() == (tmp_path / "whole/batches.json").read_text()


def test_with_exact_false_a_pipeline_that_would_be_refused_is_logged_and_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop, batches = start(tmp_path, "the time of day", exact=False)
    with caplog.at_level(logging.WARNING, "exactloop"):
        loop.run(epochs=1)
    assert len(batches.numpy()) == 4
    (message,) = [record.getMessage() for record in caplog.records if "could not be resumed" in record.getMessage()]
    assert re.search(CLOCK, message, re.DOTALL)


def test_what_has_to_be_read_for_the_audit_is_read_once_however_often_a_loop_is_run(tmp_path: Path) -> None:
    calls = tmp_path / "calls"  # a list would be put back when the audit is over

    def numbers() -> Iterator[int]:
        with calls.open("a") as file:
            file.write("x")
        yield from range(4)

    dataset = Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    loop = Loop(lambda batch: {"x": batch}, dataset, state={})
    for epoch in (1, 2, 3):
        loop.run(epochs=epoch)
    assert len(calls.read_text()) == 2 + 3  # twice to compare, and once for each epoch


CHANGED = r"data: read again, the first 2 batches of the pass are not those that the run saw"


def changed(directory: Path, text: str) -> None:
    """Trains for an epoch and two steps, and then changes the file that a generator reads."""
    loop, _ = start(directory, "generator of a file", NEVER)
    loop.run(steps=6)
    (directory / "files/numbers").write_text(text)


@pytest.mark.more
def test_data_that_have_changed_between_two_lives_are_refused_before_anything_is_assigned(tmp_path: Path) -> None:
    changed(tmp_path, "".join(f"{i}\n" for i in [*range(7), 99, *range(8, ROWS)]))
    loop, batches = start(tmp_path, "generator of a file")
    with pytest.raises(ValueError, match=CHANGED):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (0, 0)


@pytest.mark.more
def test_data_that_end_before_the_place_of_the_run_are_refused_before_anything_is_assigned(tmp_path: Path) -> None:
    changed(tmp_path, "0\n1\n2\n3\n")
    loop, batches = start(tmp_path, "generator of a file")
    with pytest.raises(ValueError, match=r"epoch 2 ends before the 2 batches that the run saw of it"):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (0, 0)


@pytest.mark.more
def test_data_that_have_changed_are_a_warning_if_one_wants_to_go_on(tmp_path: Path) -> None:
    changed(tmp_path, "".join(f"{i + 1}\n" for i in range(ROWS)))
    loop, batches = start(tmp_path, "generator of a file", changed="warn")
    with pytest.warns(UserWarning, match=f"The run goes on with other numbers: {CHANGED}"):
        loop.run(epochs=EPOCHS)
    assert (loop.step, len(batches.numpy())) == (12, 12)


@pytest.mark.more
def test_without_the_digest_changed_data_would_be_noticed_at_the_end_of_the_pass_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, expected = start(tmp_path / "whole", "generator of a file")
    whole.run(epochs=EPOCHS)
    changed(tmp_path / "cut", "".join(f"{i + 1}\n" for i in range(ROWS)))
    seek = StreamData.seek
    monkeypatch.setattr(PassesSoFar, "forget", lambda passes: None)
    monkeypatch.setattr(StreamData, "seek", lambda data, *at: seek(data, *at)[:0])
    loop, batches = start(tmp_path / "cut", "generator of a file")
    with pytest.raises(ValueError, match="yielded something else in a later pass"):
        loop.run(epochs=EPOCHS)
    same = [a == b for a, b in zip(batches.numpy(), expected.numpy(), strict=False)]
    assert same == [True] * 6 + [False] * 2


def main(directory: Path, name: str, step: int) -> None:
    loop, batches = start(directory, name, Every(steps=1))
    if step:
        loop.hooks.add(Killer(step))
    loop.run(epochs=EPOCHS)
    (directory / "batches.json").write_text(json.dumps([batch.hex() for batch in batches.numpy()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
