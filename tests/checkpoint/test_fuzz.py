"""Whatever is read back may be damaged, or written by somebody who means harm: it is refused, and that is all."""

import contextlib
import json
import logging
import os
import random
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fuzz import MANY, SEED, altered, damaged, sealed, survives
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator

from exactloop.proof.journal import Journal, place
from hooks import Checkpoint, CorruptCheckpoint, TensorBoard
from hooks.board.event_cut import cut
from hooks.checkpoint.commits.index import check_index
from hooks.checkpoint.commits.retention import Retention, Standing
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.manifest import Manifest, content, decode, encode
from hooks.checkpoint.report import entries
from hooks.checkpoint.resuming.saved import newest
from hooks.shared.monitor import Monitor
from hooks.shared.texts import as_texts, from_texts
from loop import ArrayData, Every, Hook, Loop, Moment
from loop.state.randomness import HostRandomness, host


def make_loop(directory: Path, *hooks: Hook) -> Loop:
    """Returns a loop that counts, which saves and draws each step."""
    count = tf.Variable(0.0)
    board = TensorBoard(directory / "board", Every(steps=1))
    return Loop(
        lambda batch: {"count": count.assign_add(tf.reduce_sum(batch))},
        ArrayData(np.arange(1.0, 6.0, dtype=np.float32), batch_size=2, seed=1),
        state={"count": count},
        hooks=[*hooks, board, Checkpoint(directory / "run", Every(steps=1), best="count", mode="max")],
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of four steps has left."""
    directory = tmp_path_factory.mktemp("fuzz")
    make_loop(directory).run(steps=4)
    return directory


@pytest.fixture(scope="module")
def raw(directory: Path) -> bytes:
    """The newest manifest."""
    return (directory / "run" / "ckpt-4.json").read_bytes()


def taken(raw: bytes) -> Manifest | None:
    """Reads a manifest, and does with it what is done with all of them."""
    try:
        manifest = decode(raw)
    except (ValueError, RuntimeError):
        return None
    assert encode(manifest) == raw
    monitor = Monitor("Checkpoint(best=...)", "count", "max")
    Standing(Retention(1, monitor, 1, Every(steps=3) | Every(seconds=5.0)), [manifest.record]).add(manifest.record)
    float(manifest.record.seconds)
    str(manifest.record.order)
    return manifest


@pytest.mark.parametrize("count", MANY)
def test_damaged_manifests_are_refused(count: int, raw: bytes) -> None:
    assert taken(raw) is not None
    # One that is as it was, as where a byte was put in the place of itself.
    assert survives(count, SEED, lambda rng: damaged(rng, raw), taken) <= count // 20


@pytest.mark.parametrize("count", MANY)
def test_manifests_with_right_hashes_are_refused_or_can_be_dealt_with(
    count: int, directory: Path, raw: bytes, tmp_path: Path
) -> None:
    """By a reader of one, by a listing, and by who asks what would be restored; the files of the others are whole."""
    said, path = json.loads(json.dumps(content(decode(raw)))), tmp_path / "ckpt-4.json"
    stems = ["ckpt-2", "ckpt-3", "ckpt-4"] if count <= 1000 else ["ckpt-4"]  # all of them are read for each input
    for each in (directory / "run").glob("ckpt-*"):
        if each.name.partition(".")[0] in stems:
            shutil.copy(each, tmp_path)

    def read(changed: bytes) -> Manifest | None:
        path.write_bytes(changed)
        with contextlib.closing(open_files(path.parent, make=False)) as files:
            told = None
            try:
                Store(files).read("ckpt-4")
            except (CorruptCheckpoint, RuntimeError) as error:
                told = error
        assert told is None or str(path) in str(told)
        if isinstance(told, RuntimeError):
            return None
        listed = entries(path.parent, thorough=False)
        assert [entry.stem for entry in listed] == stems[-len(listed) :]
        for entry in listed:
            if entry.manifest:
                json.dumps(content(entry.manifest))
                float(str(entry.manifest.made["time"]))
        newest(lambda: open_files(path.parent, make=False))
        return taken(changed)

    found = survives(count, SEED, lambda rng: sealed(altered(rng, said)), read)
    assert 0 < found < count


def framed(record: bytes, length: int | None = None) -> bytes:
    """Returns a record as an event file has it, with right checksums, of a length that need not be its own."""
    head = struct.pack("<Q", len(record) if length is None else length)
    return head + struct.pack("<I", masked_crc32c(head)) + record + struct.pack("<I", masked_crc32c(record))


def records(raw: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<Q", raw, at)
        found.append(raw[at + 12 : at + 12 + length])
        at += 16 + length
    return found


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("meant", [False, True])
def test_event_files_are_cut_whatever_is_in_them(
    count: int, meant: bool, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, log = list[str](), logging.getLogger("exactloop")
    # Not by caplog: pytest would keep all of it for its report, which takes more memory than reading does.
    monkeypatch.setattr(log, "warning", lambda message, *args: told.append(message % args))
    (board,) = (directory / "board" / "train").glob("events.out.tfevents.*")
    whole, path = board.read_bytes(), tmp_path / "events.out.tfevents.1"

    def harmed(rng: random.Random) -> bytes:
        parts = [framed(record) for record in records(whole)]
        at = rng.randrange(len(parts))
        record = damaged(rng, records(whole)[at])
        lengths = [None, None, 2**30, 2**31, 2**40, 2**62, 2**63, 2**64 - 1, 2**64 - 16, 0]
        parts[at] = framed(record, rng.choice(lengths))
        return b"".join(parts)

    def read(raw: bytes) -> set[str]:
        path.write_bytes(raw)
        told.clear()
        there = cut(path, 2).tags
        left = list(RecordIterator(str(path), ""))
        steps = [tf.compat.v1.Event.FromString(record).step for record in left]
        assert all(record in raw for record in left)
        assert len(steps) <= len(records(whole)) or not meant
        assert all(str(path) in message for message in told)
        return there

    survives(count, SEED, harmed if meant else lambda rng: damaged(rng, whole), read)


def test_an_event_file_that_is_damaged_in_the_middle_is_told_and_one_that_was_cut_off_is_not(
    directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (board,) = (directory / "board" / "train").glob("events.out.tfevents.*")
    whole, path = board.read_bytes(), tmp_path / "events.out.tfevents.1"
    of_each, message = records(whole), list[str]()
    for raw in (
        whole[:-5],
        framed(of_each[0]) + framed(b"\xff\xff") + framed(of_each[2]),
        framed(of_each[0]) + framed(of_each[1])[:-1] + b"x" + framed(of_each[2]),
        framed(of_each[0]) + framed(b"", 2**40) + framed(of_each[2]),
    ):
        path.write_bytes(raw)
        caplog.clear()
        cut(path, 9)
        message.append("".join(record.getMessage() for record in caplog.records).replace(str(path), "PATH"))
    behind = 16 + len(framed(of_each[2]))
    assert message == [
        "",
        "PATH: its record 2 is no event. That is left out.",
        "PATH: its record 2 is damaged, and so is what comes after it. That is left out.",
        f"PATH: {behind} bytes at its end are no record. That is left out.",
    ]
    path.unlink()
    os.mkfifo(path)
    assert cut(path, 9).tags == set()  # and does not wait for somebody who writes


@pytest.mark.parametrize("count", MANY)
def test_journals_of_lives_are_read_or_refused(count: int, tmp_path: Path) -> None:
    of_run = {"loop": 0, "step": 1, "epoch": 0, "step_in_epoch": 1, "time": 0.5}
    lines: list[dict[str, object]] = [
        {**of_run, "event": "begin", "variables": ["a", "b"], "directories": [], "total": None},
        {**of_run, "event": "settled", "logs": {"loss": "0x1p+0"}, "saved": [1], "state": "0" * 32, "host": "0"},
        {"event": "removed", "path": "x"},
        {**of_run, "event": "end", "error": {"kind": "ValueError", "message": "no"}},
    ]
    path = tmp_path / "life.jsonl"

    def written(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return damaged(rng, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        said = altered(rng, lines)
        return b"".join(json.dumps(line).encode() + b"\n" for line in (said if isinstance(said, list) else [said]))

    def read(raw: bytes) -> Journal | None:
        path.write_bytes(raw)
        told = ""
        try:
            record = Journal(path)
        except ValueError as error:
            told = str(error)
        if told:
            assert str(path) in told
            return None
        str(record.failure)
        assert record.loops() == sorted({line["loop"] for line in record.of(*(line["event"] for line in record.lines))})
        assert len([place(line) for line in record.lines]) == len(record.lines)
        return record

    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b'{"event": "be')
    assert [line["event"] for line in Journal(path).lines] == ["begin", "settled", "end"]
    assert 0 < survives(count, SEED, written, read) < count


@pytest.mark.parametrize("count", MANY)
def test_texts_of_values_are_values_or_refused(count: int) -> None:
    like = {
        "a": tf.Variable([[1.0, 2.0]], shape=[None, 2]),
        "b": tf.Variable(3, dtype=tf.int64),
        "c": tf.Variable(["x", "yz"]),
    }
    whole = as_texts(like.values())

    def changed(rng: random.Random) -> bytes:
        texts = list(whole)
        at = rng.randrange(len(texts))
        shapes = [b"[1000000000000, 2]", b"[4, 2]", b"[-1, 2]", b"[" * 600, b"[1e9, 2]"]
        texts[at] = rng.choice([*shapes, damaged(rng, texts[at] or b"x")])
        if rng.random() < 0.2:
            texts = rng.sample(texts, rng.randrange(len(texts)))
        return b"\t\t".join(texts)

    def read(raw: bytes) -> object:
        with contextlib.suppress(ValueError):
            return from_texts(raw.split(b"\t\t"), like)
        return None

    assert survives(count, SEED, changed, read) < count


@pytest.mark.parametrize("count", MANY)
def test_random_states_are_taken_or_refused_and_then_left_as_they_were(count: int) -> None:
    saved, streams = HostRandomness().serialize(), HostRandomness()

    def changed(rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return damaged(rng, saved.encode())
        return json.dumps(altered(rng, json.loads(saved))).encode()

    def read(raw: bytes) -> object:
        before, told = host(), ""
        try:
            streams.deserialize(raw)
        except ValueError as error:
            told = str(error)
        if told:
            assert "This is no random state of Python and NumPy" in told
            assert host() == before
            return None
        random.random()
        np.random.random()
        streams.deserialize(saved)
        return streams

    survives(count, SEED, changed, read)
    streams.deserialize(saved)


def number(value: int) -> bytes:
    """Returns a number of seven bits in each byte."""
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def table(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Returns an index with right checksums."""
    raw = b""

    def put(entries: list[tuple[bytes, bytes]]) -> bytes:
        nonlocal raw
        block = b"".join(number(0) + number(len(key)) + number(len(value)) + key + value for key, value in entries)
        block += struct.pack("<II", 0, 1)
        said = number(len(raw)) + number(len(block))
        raw += block + b"\0" + struct.pack("<I", masked_crc32c(block + b"\0"))
        return said

    places = put([(b"\xff" * 20, put(entries))])
    unused = put([])
    return raw + (unused + places).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def restored(prefix: str) -> None:
    """Reads all that TensorFlow finds in a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("meant", [False, True])
def test_tensorflow_survives_each_index_that_is_not_refused(count: int, meant: bool, tmp_path: Path) -> None:
    """Of those that are, it would die of some, and of its process nothing would be left that could say so."""
    prefix = tf.train.Checkpoint(v=tf.Variable([[1.0, 2.0]]), s=tf.Variable(["a", "bc"])).write(str(tmp_path / "ckpt"))
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001").stat().st_size
    whole = index.read_bytes()
    check_index(whole, data)
    header = BundleHeaderProto(num_shards=1, version={"producer": 1})
    entry = BundleEntryProto(dtype=1, shape={"dim": [{"size": 1}, {"size": 2}]}, size=8, offset=7)
    twice = BundleEntryProto(dtype=1, slices=[{"extent": [{"start": 1, "length": 1}]}] * 2)
    with pytest.raises(ValueError, match="in parts"):
        check_index(table([(b"", header.SerializeToString()), (b"v", twice.SerializeToString())]), data)

    def harmed(rng: random.Random) -> bytes:
        numbers = [-1, 0, 1, 2, 8, 255, 2**31 - 1]
        large = [*numbers, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
        one, other = BundleHeaderProto(), BundleEntryProto()
        one.CopyFrom(header)
        other.CopyFrom(entry)
        match rng.randrange(7):
            case 0:
                one.num_shards = rng.choice(numbers)
            case 1:
                other.dtype = rng.choice([0, 1, 7, 9, 20, 21, 23, 30, 33, 101, 107])
            case 2:
                other.size = rng.choice(large)
            case 3:
                other.offset = rng.choice(large)
            case 4:
                other.shard_id = rng.choice(numbers)
            case 5:
                del other.shape.dim[:]
                for _ in range(rng.choice([1, 2, 3, 255])):
                    other.shape.dim.add(size=rng.choice(large))
            case 6:
                extent = other.slices.add().extent.add()
                extent.start, extent.length = rng.choice(large), rng.choice(large)
        said = [one.SerializeToString(), other.SerializeToString()]
        if rng.random() < 0.2:
            said[rng.randrange(2)] = damaged(rng, said[1])
        return table([(b"", said[0]), (b"v", said[1])])

    def read(raw: bytes) -> object:
        try:
            check_index(raw, data)
        except ValueError:
            return None
        index.write_bytes(raw)
        with contextlib.suppress(tf.errors.OpError, ValueError, RuntimeError, IndexError):
            restored(prefix)
        return raw

    assert survives(count, SEED, harmed if meant else lambda rng: damaged(rng, whole), read) < count


class Harm(Hook):
    """Damages TensorFlow's state file before each save."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._path, self._whole = directory / "checkpoint", b""

    def on_settled(self, moment: Moment) -> None:
        if self._path.is_file():
            self._whole = self._whole or self._path.read_bytes()
            self._path.write_bytes(damaged(random.Random(moment.step), self._whole))


@pytest.mark.parametrize("steps", [30, pytest.param(2000, marks=pytest.mark.long)])
def test_a_damaged_state_file_of_tensorflow_is_no_reason_not_to_save(steps: int, tmp_path: Path) -> None:
    make_loop(tmp_path, Harm(tmp_path / "run")).run(steps=steps)
    with warnings.catch_warnings(action="error"):
        assert make_loop(tmp_path).run(steps=steps).step == steps
