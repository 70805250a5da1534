"""Files count by what is read of them: the same data, written anew, are the same, and other data are not."""

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from loop import ArrayData
from loop.comparable import BY_BYTES, as_with
from loop.exact.files import as_wanted, in_both_ways, of_files
from loop.exact.pipeline_hash import described

Rows = Sequence[int]
ROWS, ALIKE = range(3000), 630  # rows that are so far apart are as long, but have other pictures


def hashed(*paths: Path) -> tuple[str, str]:
    """Returns a hash of what is read of files, and the one by their bytes."""
    both = in_both_ways(lambda: of_files([*map(str, paths)]))
    with as_with(BY_BYTES):
        return as_wanted(both.partition("~")[0]), as_wanted(both)


def length(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def mapped(entries: dict[str, tf.train.Feature], shuffled: random.Random) -> bytes:
    """Returns what protobuf writes of a map of features, in some order."""
    parts = [tf.train.Features(feature={name: value}).SerializeToString() for name, value in entries.items()]
    shuffled.shuffle(parts)
    return b"".join(parts)


def numbers(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def text(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def example(i: int, shuffled: random.Random, size: int = 9) -> bytes:
    picture = np.random.default_rng(i).bytes(size)
    found = mapped({"label": numbers(i % 7), "tokens": numbers(*range(i % 90)), "picture": text(picture)}, shuffled)
    return b"\x0a" + length(len(found)) + found


def picture(i: int, shuffled: random.Random) -> bytes:
    return example(i, shuffled, 90_000)


def sequence(i: int, shuffled: random.Random) -> bytes:
    lists = [
        tf.train.SequenceExample(
            feature_lists=tf.train.FeatureLists(feature_list={name: tf.train.FeatureList(feature=[numbers(i, n)] * n)})
        ).feature_lists.SerializeToString()
        for n, name in enumerate(["a", "b", "c", "d"])
    ]
    shuffled.shuffle(lists)
    context = mapped({"label": numbers(i), "id": text(b"%d" % i)}, shuffled)
    return b"\x0a" + length(len(context)) + context + b"\x12" + length(sum(map(len, lists))) + b"".join(lists)


def bare(i: int, shuffled: random.Random) -> bytes:
    return b"%07d" % i


def of_records(
    record: Callable[[int, random.Random], bytes], compression: str = "", every: int = 1
) -> Callable[[Path, Rows, int], None]:
    def write(path: Path, rows: Rows, seed: int) -> None:
        shuffled = random.Random(seed)
        with tf.io.TFRecordWriter(str(path), compression) as writer:
            for i in rows[::every]:
                writer.write(record(i, shuffled))

    return write


def of_gzip(size: int, parts: int = 1, name: bool = False) -> Callable[[Path, Rows, int], None]:
    """Writes texts with the time, and more than once, as who appends to a file does."""

    def write(path: Path, rows: Rows, seed: int) -> None:
        with path.open("wb") as file:
            for part in range(parts):
                under = f"{seed * 10**seed}" if name else ""
                with gzip.GzipFile(under, "wb", fileobj=file, mtime=seed) as packed:
                    for i in rows[part::parts]:
                        packed.write(np.random.default_rng(i).bytes(size))

    return write


def of_zip(path: Path, rows: Rows, seed: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for n in range(3):
            array = io.BytesIO()
            np.save(array, np.asarray(rows[n::3]))
            packed.writestr(zipfile.ZipInfo(f"{n}.npy", (2020, 1, 1, 0, 0, 2 * seed)), array.getvalue())


def of_tar(kind: str, digits: int) -> Callable[[Path, Rows, int], None]:
    def write(path: Path, rows: Rows, seed: int) -> None:
        with tarfile.open(path, kind) as packed:
            for n in range(0, len(rows), 300):
                member, held = tarfile.TarInfo(f"{n}"), np.asarray(rows[n : n + 300]).tobytes()
                member.size, member.mtime = len(held), 2**30 + seed / digits**seed
                packed.addfile(member, io.BytesIO(held))

    return write


ANEW = {
    "tar": of_tar("w", 1),
    "tar with decimals": of_tar("w", 8),
    "tar in gzip": of_tar("w:gz", 8),
    "examples": of_records(example),
    "examples in gzip": of_records(example, "GZIP"),
    "few examples": of_records(example, every=1000),
    "few examples in gzip": of_records(example, "GZIP", every=1000),
    "few examples in zlib": of_records(example, "ZLIB", every=1000),
    "pictures": of_records(picture, every=50),
    "pictures in gzip": of_records(picture, "GZIP", every=50),
    "long ones in gzip": of_records(lambda i, shuffled: example(i, shuffled, 400_000), "GZIP", every=500),
    "sequences": of_records(sequence),
    "a text in gzip": of_gzip(3),
    "a long text in gzip, under other names": of_gzip(300, name=True),
    "a short text in gzip, in parts": of_gzip(3, parts=4),
    "a long text in gzip, in parts": of_gzip(300, parts=1000),
    "zip": of_zip,
}


FIRST_ONLY = {"pictures in gzip", "long ones in gzip"}  # of much that is packed


@pytest.mark.parametrize("name", ANEW)
def test_the_same_data_written_anew_are_the_same_and_others_of_that_size_are_not(name: str, tmp_path: Path) -> None:
    def write(which: str, rows: Rows, seed: int = 1) -> tuple[str, str]:
        (tmp_path / which).mkdir()
        ANEW[name](path := tmp_path / which / "rows", rows, seed)
        return hashed(path)

    first, anew = write("first", ROWS), write("anew", ROWS, 2)
    assert first[0] == anew[0]
    assert first[1] != anew[1]
    assert first == write("moved", ROWS)
    assert write("other first", [ALIKE, *ROWS[1:]])[0] != first[0]
    last = [*ROWS]
    for at in range(-1000, 0):
        last[at] -= ALIKE
    assert (write("other last", last)[0] == first[0]) == (name in FIRST_ONLY)


PLAIN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a byte": lambda: b"\x1f",
    "lines": lambda: b"1,2\n" * 9000,
    "a picture": lambda: tf.io.encode_png(np.arange(12, dtype="uint8").reshape(2, 2, 3)).numpy(),
    "gzip by its mark alone": lambda: b"\x1f\x8b\x08" + b"7" * 9000,
    "a part of gzip": lambda: gzip.compress(np.random.default_rng(0).bytes(9000), mtime=1)[:5000],
    "gzip with something behind it": lambda: gzip.compress(b"7" * 9000, mtime=1) + b"more",
    "zip by its mark alone": lambda: b"PK\x03\x04" + b"7" * 9000,
    "a part of zip": lambda: zipped()[:-30],
    "zip with something behind it": lambda: zipped() + b"more",
    "zlib by its mark alone": lambda: b"x\x9c" + b"7" * 9000,
    "zlib of no records": lambda: zlib.compress(b"7" * 9000),
    "a part of a record": lambda: struct.pack("<Q", 900) + b"\x00" * 400,
    "zeros": lambda: bytes(300_000),
}


def zipped() -> bytes:
    with zipfile.ZipFile(found := io.BytesIO(), "w") as packed:
        packed.writestr("name", b"7" * 9000)
    return found.getvalue()


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_such_file_or_not_whole_counts_by_its_bytes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole := PLAIN[name]())
    first = hashed(path)
    assert first[0] == first[1]
    if whole:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert hashed(path)[0] != first[0]


def test_of_records_that_are_not_whole_those_that_are_count(tmp_path: Path) -> None:
    found = []
    for seed in (1, 2):
        of_records(picture)(path := tmp_path / "rows", ROWS[:3], seed)
        whole = path.read_bytes()
        path.write_bytes(whole[:-80_000])  # the last one is not
        found.append(hashed(path))
    assert found[0][0] == found[1][0]
    path.write_bytes(whole[:70_000])
    assert len({*hashed(path)}) == 1


def test_a_file_that_cannot_be_read_is_told_by_its_size() -> None:
    assert hashed(Path("/proc/self/mem")) == hashed(Path("/proc/self/mem"))


def test_a_file_that_is_written_anew_in_one_process_is_looked_into_again(tmp_path: Path) -> None:
    write = of_records(bare)
    write(path := tmp_path / "rows", ROWS, 1)
    first, at = hashed(path), path.stat().st_mtime_ns
    write(path, ROWS[::-1], 1)
    os.utime(path, ns=(at + 1, at + 1))
    assert hashed(path)[0] != first[0]


@pytest.mark.parametrize("record", [example, sequence, bare, lambda i, shuffled: b"\n%d" % i])
def test_records_that_are_rows_count_by_what_is_read_of_them(record: Callable[[int, random.Random], bytes]) -> None:
    def hashes(rows: Rows, seed: int) -> list[object]:
        shuffled = random.Random(seed)
        texts = [record(i, shuffled) for i in rows]
        said = [*map(as_wanted, described(tf.data.Dataset.from_tensor_slices(texts)))]
        return [said, ArrayData(np.array(texts, object), batch_size=2).describe()["content"]]

    first = hashes(ROWS[:50], 1)
    assert first == hashes(ROWS[:50], 2)
    for was, other in zip(first, hashes([*ROWS[:49], ALIKE + 49], 1), strict=True):
        assert was != other
    with as_with(BY_BYTES):
        assert hashes(ROWS[:50], 1) == hashes(ROWS[:50], 1)
        are_equal = hashes(ROWS[:50], 1) == hashes(ROWS[:50], 2)
    assert are_equal == (record not in (example, sequence))
