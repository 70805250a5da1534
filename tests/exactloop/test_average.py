"""`exactloop average`: the mean of the weights of the latest checkpoints, which everybody can restore."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from exactloop import cli
from hooks import Checkpoint, restore
from hooks.checkpoint.differences import differences
from loop import Every, Loop, StreamData, supervised

X = np.arange(8.0, dtype=np.float32).reshape(4, 2)


def make(directory: Path | None = None, *, wide: bool = False) -> tuple[keras.Model, Loop]:
    """Returns a model of all kinds of variables, and a loop over a pipeline, whose iterator is saved."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.BatchNormalization(), keras.layers.Dense(3 if wide else 2), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input([2]), *layers, keras.layers.Dense(1, dtype="float64" if wide else None)])
    optimizer = keras.optimizers.Adam(0.01)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    dataset = tf.data.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(4, seed=1).batch(2)
    hooks = [Checkpoint(directory, Every(steps=2), keep=9)] if directory else []
    state = {"model": model, "optimizer": optimizer, "complex": tf.Variable(1j, dtype=tf.complex64)}
    return model, Loop(step, StreamData(dataset), state=state, hooks=hooks)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was saved after steps 2, 4, 6 and 8, and, cut short in its round, 9."""
    directory = tmp_path_factory.mktemp("original")
    make(directory)[1].run(steps=8)
    return directory


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    flags.FLAGS.mark_as_parsed()
    return Path(shutil.copytree(original, tmp_path / "saved"))


def run(capsys: pytest.CaptureFixture[str], directory: Path, **given: object) -> tuple[int, str, str]:
    with flagsaver.flagsaver(**given):
        status = cli.main(["exactloop", "average", str(directory)])
    said = capsys.readouterr()
    return status, said.out.strip(), said.err.strip()


def weights(directory: Path, which: str | int = "latest") -> list[np.ndarray]:
    model, _ = make()
    restore(directory, {"model": model}, which=which)
    return [weight.numpy() for weight in model.weights]


@pytest.mark.more
def test_the_mean_of_the_last_is_restored_by_name_and_by_tensorflow(
    saved: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = run(capsys, saved, last=3)
    written = f"{saved}/average/ckpt-8"
    assert (status, err) == (0, "")
    assert out == f"Averaged 9 values of ckpt-4, ckpt-6, ckpt-8. Written: {written}"
    of_steps = [weights(saved, step) for step in (4, 6, 8)]
    expected = [np.mean(np.stack(each).astype(np.float64), axis=0) for each in zip(*of_steps, strict=True)]
    model, _ = make()
    status_ = tf.train.Checkpoint(model=model).restore(tf.train.latest_checkpoint(str(saved / "average")))
    status_.assert_existing_objects_matched()
    for mine, theirs, right, last in zip(
        weights(saved / "average"), model.weights, expected, of_steps[-1], strict=True
    ):
        same = right.astype(mine.dtype) if mine.dtype.kind == "f" else last
        assert mine.tobytes() == theirs.numpy().tobytes() == same.tobytes()
    assert cli.main(["exactloop", "verify", str(saved / "average")]) == 0
    capsys.readouterr()
    _, found = differences(str(saved / "ckpt-8"), written)
    _, out, _ = run(capsys, saved, last=3, out=str(tmp_path / "other"), json=True)
    assert {each.name for each in found} <= {*json.loads(out)["averaged"]}
    assert all("optimizer/_iterations" not in each.name and "moment" not in each.name for each in found)
    assert len(found) >= 6


def test_of_one_checkpoint_the_average_is_itself(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, saved, last=1, out=f"{saved}-other")[0] == 0
    assert differences(str(saved / "ckpt-8"), f"{saved}-other/ckpt-8")[1] == []


def test_what_cannot_be_averaged_is_said(saved: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capsys, saved, last=5)
    said = f"There are 4 checkpoints in '{saved}', not 5: ckpt-2, ckpt-4, ckpt-6, ckpt-8. Give --last 4, or train with"
    assert (status, said in err) == (2, True)
    assert run(capsys, tmp_path / "none")[0] == 2
    assert run(capsys, saved, last=2)[0] == 0
    status, _, err = run(capsys, saved, last=2)
    assert (status, "Give another directory: --out PATH" in err) == (2, True)
    data = saved / "ckpt-4.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    status, _, err = run(capsys, saved, last=3, out=str(tmp_path / "other"))
    assert (status, "ckpt-4.data-00000-of-00001: its SHA-256 is not the one" in err) == (2, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.more
def test_checkpoints_of_other_variables_have_no_average(
    saved: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make(tmp_path / "wide", wide=True)[1].run(steps=10)
    for path in (tmp_path / "wide").glob("ckpt-10*"):
        shutil.copy(path, saved)
    status, _, err = run(capsys, saved, last=2)
    assert (status, "ckpt-8 and ckpt-10 have other variables, and no average: model/" in err) == (2, True), err


@pytest.mark.more
def test_a_run_goes_on_beside_its_average(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, saved, last=2)[0] == 0
    assert make(saved)[1].run(steps=10).step == 10
