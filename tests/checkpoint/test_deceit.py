"""Checkpoints that somebody has put together, with right hashes: none is believed that is not what a run has saved."""

import contextlib
import hashlib
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from hooks import Checkpoint, CorruptCheckpoint
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.manifest import canonical, content
from loop import ArrayData, Every, Loop

SHARD = "data-00000-of-00001"


def make_loop(directory: Path) -> tuple[Loop, tf.Variable]:
    keras.utils.set_random_seed(1)
    count = tf.Variable(0.0)
    loop = Loop(
        lambda batch: {"count": count.assign_add(tf.reduce_sum(batch))},
        ArrayData(np.arange(1.0, 6.0, dtype=np.float32), batch_size=2, seed=1),
        state={"count": count},
        hooks=[Checkpoint(directory, Every(steps=1))],
    )
    return loop, count


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of the steps 2, 3 and 4."""
    directory = tmp_path_factory.mktemp("deceit") / "run"
    make_loop(directory)[0].run(steps=4)
    return directory


def said(directory: Path, stem: str) -> dict[str, Any]:
    with contextlib.closing(open_files(directory)) as files:
        return dict(content(Store(files).read(stem)))


def write(directory: Path, stem: str, said: dict[str, Any]) -> None:
    """Writes a manifest with right hashes of the files of its stem, whatever they are."""
    files = {}
    for ending in ("index", SHARD):
        raw = (directory / f"{stem}.{ending}").read_bytes()
        files[f"{stem}.{ending}"] = [len(raw), hashlib.sha256(raw).hexdigest()]
    (directory / f"{stem}.json").write_bytes(canonical(said | {"files": files}))


def exchange_files(directory: Path) -> None:
    for ending in ("index", SHARD):
        shutil.copy(directory / f"ckpt-2.{ending}", directory / f"ckpt-4.{ending}")
    write(directory, "ckpt-4", said(directory, "ckpt-4"))


def rename(directory: Path) -> None:
    """Has step 2 be step 4, in all that a manifest says of itself."""
    for ending in ("index", SHARD):
        shutil.copy(directory / f"ckpt-2.{ending}", directory / f"ckpt-4.{ending}")
    newest = said(directory, "ckpt-4")
    where = {name: newest[name] for name in ("step", "epoch", "step_in_epoch", "notes")}
    write(directory, "ckpt-4", said(directory, "ckpt-2") | where)


def forget_the_data(directory: Path) -> None:
    newest = said(directory, "ckpt-4")
    write(directory, "ckpt-4", newest | {"notes": newest["notes"] | {"data": {}}})


def kill(directory: Path) -> None:
    """Changes a shape in the index, so that TensorFlow would die of it; and all checksums."""
    path = directory / "ckpt-4.index"
    raw = path.read_bytes()
    at = raw.index(b"\x08\x01\x12\x00")  # float32, of shape []
    end = next(e for e in range(at, len(raw)) if masked_crc32c(raw[:e]) == struct.unpack_from("<I", raw, e)[0])
    block = raw[: at + 1] + b"\x65" + raw[at + 2 : end]  # a dtype that none has
    path.write_bytes(block + struct.pack("<I", masked_crc32c(block)) + raw[end + 4 :])
    write(directory, "ckpt-4", said(directory, "ckpt-4"))


def nothing(directory: Path) -> None:
    write(directory, "ckpt-4", said(directory, "ckpt-4"))


@pytest.mark.parametrize(
    ("deceive", "raised", "message"),
    [
        (exchange_files, RuntimeError, "After restoring ckpt-4, these have other values than were saved: count"),
        (rename, CorruptCheckpoint, r"ckpt-4.json: it says {'step': 4.* was saved at {'step': 2"),
        (forget_the_data, CorruptCheckpoint, r"ckpt-4.json: what it notes of the data .* note: KeyError\('seed'\)"),
    ],
)
def test_a_run_does_not_go_on_from_what_was_put_together(
    deceive: Callable[[Path], None], raised: type[Exception], message: str, saved: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(saved, tmp_path / "run"))
    deceive(directory)
    loop, _ = make_loop(directory)
    with pytest.raises(raised, match=message):
        loop.run(steps=5)
    with pytest.raises(raised, match=message):
        loop.run(steps=5)


def test_an_index_of_which_tensorflow_would_die_is_damaged(saved: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(saved, tmp_path / "run"))
    kill(directory)
    loop, count = make_loop(directory)
    said = "ckpt-4.index: its SHA-256 is right, but TensorFlow did not write it: it has a value of dtype 101"
    with pytest.warns(CorruptCheckpoint, match=said):
        loop.run(steps=5)
    whole, expected = make_loop(tmp_path / "whole")
    whole.run(steps=5)
    assert (loop.step, float(count)) == (5, float(expected))


def test_a_manifest_that_was_written_again_as_it_was_is_believed(saved: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(saved, tmp_path / "run"))
    nothing(directory)
    with warnings.catch_warnings(action="error"):
        assert make_loop(directory)[0].run(steps=5).step == 5
