"""Checkpoints at an address of one of TensorFlow's file systems."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags
from storage import (
    EVERY_1,
    EVERY_2,
    OF_TENSORFLOW,
    Bits,
    begins,
    bits,
    counting_loop,
    dense,
    files,
    happens,
    make_loop,
    names,
    warned,
    weights,
    weights_in,
)

from exactloop import cli
from hooks import Checkpoint, CorruptCheckpoint, restore
from hooks.checkpoint.average import average
from hooks.checkpoint.differences import differences
from hooks.checkpoint.disk.files import Measure
from hooks.checkpoint.disk.remote import RemoteFiles
from hooks.checkpoint.report import described
from loop import NEVER, Every


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A directory in TensorFlow's file system in memory, in which there is nothing yet."""
    address = f"ram://{str(tmp_path).strip('/').replace('/', '-')}"
    yield address
    if tf.io.gfile.isdir(address):
        tf.io.gfile.rmtree(address)


def at_address(address: str) -> set[str]:
    return {name.rstrip("/") for name in tf.io.gfile.listdir(address)}


def overwrite(path: str, content: bytes) -> None:
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


def content_of(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


@pytest.mark.more
def test_a_run_is_resumed_from_an_address(whole: dict[int, Bits], address: str) -> None:
    for steps in (3, 4, 9):
        loop = make_loop(Checkpoint(f"{address}/run/", EVERY_2, keep=2))
        begun = begins(loop)
        loop.run(steps=steps)
        assert bits(loop) == whole[steps]
        assert not begun or steps == 3 or begun == [whole[{4: 3, 9: 4}[steps]]]
    assert at_address(f"{address}/run") == names(8, 9)


def test_all_rules_of_what_stays_hold_at_an_address(address: str) -> None:
    counting_loop(Checkpoint(address, EVERY_1, keep=1, keep_every=Every(steps=4), best="loss", mode="min")).run(
        epochs=2
    )
    assert at_address(address) == names(4, 8, 12, 16)


@pytest.mark.more
@pytest.mark.parametrize(
    ("damage", "ending"),
    [
        ("flipped", ".index"),
        ("flipped", ".json"),
        ("cut", ".data-00000-of-00001"),
        ("gone", ".data-00000-of-00001"),
        ("gone", ".json"),
    ],
)
def test_a_damaged_checkpoint_at_an_address_is_set_aside_and_the_one_before_used(
    damage: str, ending: str, whole: dict[int, Bits], original: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, content in files(original).items():
        tf.io.gfile.makedirs(address)
        overwrite(f"{address}/{name}", content)
    path = f"{address}/ckpt-6{ending}"
    content = bytearray(content_of(path))
    content[len(content) // 2] ^= 1
    tf.io.gfile.remove(path)
    if damage != "gone":
        overwrite(path, bytes(content) if damage == "flipped" else bytes(content[: len(content) // 2]))
    loop = make_loop(Checkpoint(address, NEVER))
    begun = begins(loop)
    with pytest.warns(CorruptCheckpoint) as told:
        loop.run(steps=7)
    assert [(each.message.file, each.message.instead) for each in told] == [
        (path, "The one of step 4 is used instead.")
    ]
    assert (begun, bits(loop)) == ([whole[4]], whole[7])
    assert at_address(address) == names(2, 4, 7) | {"set-aside-1"}
    assert warned(caplog) == [f"Set aside in {address}/set-aside-1: ckpt-6."]
    left = names(6) - {"checkpoint"} - ({f"ckpt-6{ending}"} if damage == "gone" else set())
    assert at_address(f"{address}/set-aside-1") == left


@pytest.mark.more
def test_what_a_crash_left_at_an_address_is_removed_and_what_is_not_ours_is_not(
    whole: dict[int, Bits], address: str
) -> None:
    make_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    for name in ("ckpt-9.index", "ckpt-9.data-00000-of-00001", "ckpt-9.json.tmp", "ckpt-4.json.tmp", "notes.txt"):
        overwrite(f"{address}/{name}", b"half")
    tf.io.gfile.makedirs(f"{address}/ckpt-9_temp")
    overwrite(f"{address}/ckpt-9_temp/part-00000-of-00001.index", b"half")
    loop = make_loop(Checkpoint(address, NEVER, resume="must"))
    loop.run(steps=6)
    assert bits(loop) == whole[6]
    assert at_address(address) == names(2, 4, 6) | {"notes.txt"}


def test_an_address_that_is_removed_under_way_is_made_again(whole: dict[int, Bits], address: str) -> None:
    loop = make_loop(Checkpoint(address, EVERY_2, background=False))
    happens(loop, 3, lambda: tf.io.gfile.rmtree(address)).run(steps=8)
    assert (bits(loop), at_address(address)) == (whole[8], names(4, 6, 8))


def test_a_model_is_restored_from_an_address(whole: dict[int, Bits], address: str) -> None:
    make_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    model = dense()
    assert restore(address, {"model": model}) == 4
    assert weights(model) == weights_in(whole[4])


def test_checkpoints_at_an_address_are_compared_shown_and_averaged(address: str) -> None:
    loop = counting_loop(Checkpoint(address, EVERY_2))
    loop.run(steps=4)
    count, found = differences(f"{address}/ckpt-2", address)
    assert count == len(loop.state.variables)  # without the clock, and with Python's stream
    assert {"left", "right", "position/step"} <= {difference.name for difference in found}
    assert described(f"{address}/ckpt-2").record.step == 2
    assert average(address, 2, f"{address}/mean") == (["ckpt-2", "ckpt-4"], ["left", "right"], f"{address}/mean/ckpt-4")
    assert restore(f"{address}/mean", {"left": tf.Variable(tf.zeros([2**12]))}) == 4


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (".index", "ckpt-2.index: was removed while it was looked at.\n"),
        (".data", "TensorFlow cannot read or write it: "),
    ],
)
def test_what_goes_while_it_is_compared_is_told_and_is_no_difference(
    removed: str, said: str, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    pinned = RemoteFiles.pinned

    @contextlib.contextmanager
    def gone(self: RemoteFiles, files: Mapping[str, Measure]) -> Iterator[str]:
        with pinned(self, files) as directory:
            for name in files:
                if removed in name:
                    tf.io.gfile.remove(f"{address}/{name}")
            yield directory

    monkeypatch.setattr(RemoteFiles, "pinned", gone)
    flags.FLAGS.mark_as_parsed()
    assert cli.main(["exactloop", "diff", f"{address}/ckpt-2", f"{address}/ckpt-4"]) == 2
    assert said in capsys.readouterr().err


def test_a_reader_at_an_address_does_not_mind_a_trainer_that_removes_what_it_reads(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting_loop(Checkpoint(address, EVERY_2)).run(steps=4)
    pinned, times = RemoteFiles.pinned, []

    @contextlib.contextmanager
    def overtaken(self: RemoteFiles, files: Mapping[str, Measure]) -> Iterator[str]:
        with pinned(self, files) as directory:
            times.append(1)
            if len(times) == 1:  # a trainer prunes just now
                for name in (".json", *OF_TENSORFLOW):
                    tf.io.gfile.remove(f"{address}/ckpt-4{name}")
            yield directory

    monkeypatch.setattr(RemoteFiles, "pinned", overtaken)
    assert restore(address, {"left": tf.Variable(tf.zeros([2**12]))}) == 2


def test_an_address_that_is_missing_is_refused_like_a_directory(address: str) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(address)):
        restore(address, {"left": tf.Variable(tf.zeros([2**12]))})


def test_an_address_of_a_file_is_no_directory(address: str) -> None:
    tf.io.gfile.makedirs(address)
    overwrite(f"{address}/file", b"mine")
    with pytest.raises(NotADirectoryError, match=re.escape(f"{address}/file")):
        counting_loop(Checkpoint(f"{address}/file")).run(steps=1)
