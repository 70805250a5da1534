"""Whether TensorFlow survives to read an index: of numbers that cannot be, it dies, and the process with it.

An index is a table as in LevelDB: blocks of keys and values, each with a byte for its compression and a checksum, a
block of the places of these blocks, and the place of that one. A value is the place, shape and dtype of a tensor. A
right SHA-256 says only that somebody wrote it so.
"""

import errno
import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from loop.tf_internals import BundleEntryProto, BundleHeaderProto, DataType

TRIES = 3
# Bytes at the end of a table in LevelDB's format, and the number that these end in.
FOOTER, MAGIC = 48, 0xDB4775248B80FB57
LONGEST, RANK, LARGEST = 2**16, 254, 2**60  # bytes of a key, dimensions that TensorFlow knows, and numbers in them
OF_ANY_SIZE = (tf.string.as_datatype_enum, tf.variant.as_datatype_enum, tf.resource.as_datatype_enum)


class Extent(NamedTuple):
    """Where a block begins, and its bytes."""

    first: int
    size: int


def check_file(path: str, data: int) -> None:
    """Does what `check_index` does for a file whose bytes are known to be right.

    Raises:
        FileNotFoundError: If it is gone.
        OSError: If it cannot be read now, three times.
    """
    check_index(_read(path), data)


def _read(path: str) -> bytes:
    for _ in range(TRIES):
        try:
            with tf.io.gfile.GFile(path, "rb") as file:
                return bytes(file.read())
        except tf.errors.NotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "It is gone", path) from error
        except tf.errors.OpError as error:
            said, cause = error.message, error
    raise OSError(errno.EIO, f"It cannot be read now: {said}", path) from cause


def check_index(raw: bytes, data: int) -> None:
    """Raises `ValueError` if this is no index that TensorFlow writes for data of a size; their values need not be true.

    Args:
        raw: The index.
        data: The bytes of the data.
    """
    try:
        # Lengths are looked at before they are used: whatever is read here may have been planted.
        if len(raw) < FOOTER or struct.unpack("<Q", raw[-8:]) != (MAGIC,):
            raise ValueError("it has another ending")
        _, at = _place(raw, len(raw) - FOOTER)  # of what is not used
        blocks, end = _place(raw, at)[0], 0
        for _, said in _entries(raw, blocks):
            place, _ = _place(said, 0)
            if place.first < end:  # else a small file could have any number of entries
                raise ValueError("its blocks overlap")
            end = place.first + place.size
            for key, value in _entries(raw, place):
                _check_header(value) if not key else _check_entry(value, data)
    except (IndexError, struct.error, DecodeError) as error:
        raise ValueError(f"it cannot be read ({error!r:.80})") from None


def _check_header(value: bytes) -> None:
    shards = BundleHeaderProto.FromString(value).num_shards
    if not 0 < shards < 10**5:
        raise ValueError(f"it has {shards} parts")


def _check_entry(value: bytes, data: int) -> None:
    entry = BundleEntryProto.FromString(value)
    shape = [each.size for each in entry.shape.dim]
    if entry.dtype not in DataType.values() or not 0 < entry.dtype < 100:
        raise ValueError(f"it has a value of dtype {entry.dtype}")
    if len(shape) > RANK or any(length < 0 for length in shape):
        raise ValueError(f"it has a value of shape {shape[:5]}")
    if entry.slices:  # which nothing here writes, and of which TensorFlow dies if two are equal
        raise ValueError("it has a value in parts")
    size = entry.size if entry.dtype in OF_ANY_SIZE else math.prod(shape) * tf.as_dtype(entry.dtype).size
    inside = 0 <= entry.size <= data and 0 <= entry.offset <= data - entry.size and entry.shard_id >= 0
    if not inside or size != entry.size or math.prod(shape) > LARGEST:
        raise ValueError(f"it has a value of shape {shape[:5]}, of {entry.size} bytes from {entry.offset} on")


def _entries(raw: bytes, place: Extent) -> Iterator[tuple[bytes, bytes]]:
    """Yields keys and values of a block."""
    end = place.first + place.size
    if end + 5 > len(raw) or raw[end]:
        raise ValueError("a block of it is compressed, or beyond its end")
    # The places at which keys are whole, uint32 each; to read all in order, nobody needs them.
    (restarts,) = struct.unpack_from("<I", raw, end - 4)
    last, at, key = end - 4 - 4 * restarts, place.first, b""
    if last < at:
        raise ValueError("a block of it is too short")
    while at < last:
        shared, at = _varint(raw, at)
        rest, at = _varint(raw, at)
        size, at = _varint(raw, at)
        if shared > len(key) or at + rest + size > last or shared + rest > LONGEST:
            raise ValueError("a key of it is too long")
        # A key is what it has in common with the one before, and a rest.
        key = key[:shared] + raw[at : at + rest]
        yield key, raw[at + rest : at + rest + size]
        at += rest + size


def _place(raw: bytes, at: int) -> tuple[Extent, int]:
    first, at = _varint(raw, at)
    size, at = _varint(raw, at)
    return Extent(first, size), at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Returns a number of seven bits in each byte, the lowest first, and where the next one begins."""
    found = 0
    for shift in range(0, 64, 7):  # 10 bytes at most, for 64 bits
        found |= (raw[at] & 127) << shift
        at += 1
        if raw[at - 1] < 128:
            return found, at
    raise ValueError("it has a number without end")
