"""Rows in memory that each checkpoint of a run has, in one file that is written once."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fuzz import frugal
from storage import EVERY_1, bits, make_loop

from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.disk.local import LocalFiles
from hooks.checkpoint.record.rows import decoded, encoded
from loop import ArrayData, Loop
from loop.exact import text
from loop.state import rows_in_memory

TENSORS = {
    "0": tf.constant([[1.5, -2.0], [np.nan, 3.0]]),
    "val/0": tf.constant(["", "a\0b", "ä"]),
    "val/1": tf.constant([[True], [False]]),
    "b": tf.constant([1.5, 2.5], tf.bfloat16),
    "c": tf.constant(7, tf.uint8),
    "d": tf.zeros([0, 3], tf.complex64),
    "e": tf.constant([["one"], ["two"]]),
}


@pytest.fixture
def _unseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process without a seed, whose program is always the same."""
    monkeypatch.setattr(rows_in_memory, "is_settled", lambda: False)
    monkeypatch.setattr(rows_in_memory, "program_text", lambda: text.Text(1, draws=True))
    monkeypatch.setattr("loop.data.orders.array_rows.is_settled", lambda: False)


def rows(number: int) -> ArrayData:
    """Returns other rows for each number, as if they were drawn anew."""
    return ArrayData(np.random.default_rng(number).normal(size=[8, 1]).astype("float32"), batch_size=1, seed=3)


def begun(directory: Path | str, number: int, **kinds: object) -> Loop:
    return make_loop(Checkpoint(directory, EVERY_1, background=False, **kinds), data=rows(number))


def test_tensors_come_back_from_their_bytes() -> None:
    found = decoded(encoded(TENSORS))
    assert list(found) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes() or tensor.dtype == tf.string
        if tensor.dtype == tf.string:
            assert found[name].numpy().tolist() == tensor.numpy().tolist()
    assert encoded(found) == encoded(TENSORS)
    assert decoded(encoded({})) == {}


def test_bytes_that_are_of_no_tensors_are_refused() -> None:
    whole = encoded(TENSORS)
    for wrong in (
        b"",
        whole[:-1],
        whole + b"0",
        b"{}",
        b"[1]\n",
        b'[["0", "string", [%s1]]]\n' % (b"1, " * 49) + bytes(8),  # of which TensorFlow would die
        b'[[7, "int8", [1]]]\n0',
        b'[["0", "resource", [1]]]\n' + bytes(8),
        b'[["0", "float32", [-1]]]\n' + bytes(4),
        b'[["0", "float32", [1e9]]]\n' + bytes(4),
        b'[["0", "string", [2]]]\n' + np.array([5, -4], "<i8").tobytes() + b"a",
        b"[" * 100_000,
    ):
        with pytest.raises(ValueError, match=r"rows|bytes"):
            decoded(wrong)
    # Python multiplies a text by the lengths beside it.
    with frugal(2**20, exactly=True), pytest.raises(ValueError, match="rows"):
        decoded(b'[["0", "float32", [67108864, "x"]]]\n')


@pytest.mark.usefixtures("_unseeded")
def test_they_are_one_file_and_go_with_the_last_checkpoint(tmp_path: Path) -> None:
    begun(tmp_path, 1, keep=2).run(steps=4)
    files = sorted(tmp_path.glob("*.rows"))
    assert [file.name for file in files] == ["ckpt-3.rows", "ckpt-4.rows"]
    assert {file.stat().st_ino for file in files} == {files[0].stat().st_ino}
    assert files[0].stat().st_nlink == 2
    begun(tmp_path, 2, keep=2).run(steps=5)
    assert {file.stat().st_ino for file in tmp_path.glob("*.rows")} == {files[1].stat().st_ino}


@pytest.mark.usefixtures("_unseeded")
def test_a_run_goes_on_with_them_and_is_as_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = begun(tmp_path / "whole", 1)
    whole.run(steps=9)
    for number, steps in enumerate((3, 4, 9), 1):
        loop = begun(tmp_path / "cut", number)
        loop.run(steps=steps)
    assert bits(loop) == bits(whole)


@pytest.mark.usefixtures("_unseeded")
def test_at_an_address_each_checkpoint_has_a_copy(tmp_path: Path) -> None:
    whole = begun(tmp_path / "whole", 1)
    whole.run(steps=6)
    address = f"ram://rows-{os.getpid()}"
    for number, steps in enumerate((3, 6), 1):
        loop = begun(address, number, keep=2)
        loop.run(steps=steps)
    assert bits(loop) == bits(whole)
    assert sorted(name for name in tf.io.gfile.listdir(address) if "rows" in name) == ["ckpt-5.rows", "ckpt-6.rows"]
    tf.io.gfile.rmtree(address)


@pytest.mark.usefixtures("_unseeded")
def test_where_a_file_has_one_name_each_checkpoint_has_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(self: LocalFiles, name: str, to: str) -> None:
        raise PermissionError(name)

    monkeypatch.setattr(LocalFiles, "link", link)
    begun(tmp_path, 1).run(steps=3)
    assert [file.stat().st_nlink for file in tmp_path.glob("*.rows")] == [1, 1, 1]
    begun(tmp_path, 2).run(steps=4)


@pytest.mark.usefixtures("_unseeded")
def test_one_that_is_damaged_is_written_anew_and_what_has_it_is_not_whole(tmp_path: Path) -> None:
    loop = begun(tmp_path, 1)
    loop.run(steps=2)
    content = bytearray((tmp_path / "ckpt-2.rows").read_bytes())
    content[-1] ^= 1
    (tmp_path / "ckpt-2.rows").write_bytes(content)
    loop.run(steps=3)
    assert (tmp_path / "ckpt-3.rows").read_bytes() != content
    (tmp_path / "ckpt-3.json").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"ckpt-2\.rows: its SHA-256 is not the one in the manifest"):
        begun(tmp_path, 2).run(steps=4)


@pytest.mark.usefixtures("_unseeded")
def test_what_is_set_aside_has_them(tmp_path: Path) -> None:
    begun(tmp_path, 1).run(steps=2)
    begun(tmp_path, 2, resume="never").run(steps=1)
    assert sorted(file.name for file in (tmp_path / "set-aside-1").glob("*.rows")) == ["ckpt-1.rows", "ckpt-2.rows"]
    assert (tmp_path / "set-aside-1/ckpt-2.rows").read_bytes() != (tmp_path / "ckpt-1.rows").read_bytes()
    (file,) = (tmp_path / "set-aside-1").glob("ckpt-2.json")
    loop = begun(tmp_path / "set-aside-1", 3)
    loop.run(steps=3)
    assert file.exists()
    assert restore(tmp_path / "set-aside-1", {"model": loop.state.root.model}) == 3
