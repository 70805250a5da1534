"""What is in a file of TFRecords, without reading all of it.

Most hold a `tf.train.Example`, which is a map, and protobuf writes a map in another order in each process. So with the
same data a file has other bytes, at the same places and of the same lengths.
"""

import contextlib
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from loop.exact.bytes_of import BLOCK, Bytes, sampled

SPANS = (0, BLOCK, *(2**power for power in range(16, 21)))  # how far from a place the beginning of a record is sought
LARGE = 2**20  # bytes of a record that is not read whole, and so counts by its bytes
BEGINNINGS = b"\x0a", b"\x12"  # of the one of its two fields or the other
HEAD, CHECKSUM = struct.Struct("<QI"), 4  # a length and its checksum; bytes of that of the data, behind them
POLYNOMIAL, MASK = 0x82F63B78, 0xA282EAD8  # of CRC-32C, and of what TensorFlow makes of that
BITS = 0xFFFFFFFF

Part = tuple[int, int]  # where what a record holds begins and ends
Number = TypeVar("Number", int, np.ndarray)


def records(data: Bytes, size: int) -> list[object] | None:
    """Returns what is in records at the beginning, in the middle and at the end; None if these are no records.

    Where they are so long that none begins near such a place, they count by their bytes.

    Args:
        data: What is in a file.
        size: How many bytes that is.
    """
    if (end := end_of(data, 0)) is None or end > size:
        return None
    half, spans = (size - BLOCK) // 2, [*itertools.pairwise(SPANS)]
    middle = _first(data, size, [(half + near, half + far) for near, far in spans])
    # With those that come before the last one, if that is short.
    last = [*_from(data, size, _first(data, size, [(size - far, size - near) for near, far in spans]), size)]
    late = [part for part in last if part[0] >= size - BLOCK] or last[-1:]
    places = (0, _from(data, size, 0, BLOCK)), (half, _from(data, size, middle, middle + BLOCK)), (size - BLOCK, late)
    return [[_described(data, *part) for part in parts] or [data[at : at + BLOCK]] for at, parts in places]


def without_order(record: bytes) -> bytes:
    """Returns a `tf.train.Example` as it is in every process; what is none, as it is."""
    if not record.startswith(BEGINNINGS):
        return record
    with contextlib.suppress(DecodeError):  # which is raised for most of what else there may be
        # It begins as an Example does.
        found = tf.train.SequenceExample.FromString(record).SerializeToString(deterministic=True)
        return found if len(found) == len(record) else record
    return record


def _described(data: Bytes, first: int, last: int) -> object:
    if last - first > LARGE:
        return last - first, sampled(data, first, last)
    return without_order(data[first:last])


def _from(data: Bytes, size: int, at: int, stop: int) -> Iterator[Part]:
    """Yields what records hold, one after the other, from one that begins at a place to those that begin at another."""
    while at < stop and (end := end_of(data, at)) is not None and end <= size:
        yield at + HEAD.size, end - CHECKSUM
        at = end


def _first(data: Bytes, size: int, spans: Sequence[Part]) -> int:
    """Returns where a record begins, within the first of several spans in which one does; if none does, the end."""
    for first, last in spans:
        for at in _candidates(data, max(first, 0), min(last, size)):
            # By chance, one in four billion places looks like the beginning of a record, and no two in a row.
            if (end := end_of(data, at)) is not None and (end == size or end_of(data, end) is not None):
                return at
    return size


def _candidates(data: Bytes, first: int, last: int) -> list[int]:
    """Returns the places between two where a length stands in front of its checksum."""
    found = np.frombuffer(data[first : max(first, last) + HEAD.size - 1], np.uint8)
    count = max(len(found) - HEAD.size + 1, 0)
    # int64 `[n]`: where the upper half of the length is 0.
    at = np.flatnonzero(np.bitwise_or.reduce([found[place : place + count] for place in range(4, 8)]) == 0)
    bytes_there = [found[at + place].astype(np.uint32) for place in range(HEAD.size)]
    computed = _checksum(TABLE.__getitem__, bytes_there[:8], np.full(len(at), BITS, np.uint32))
    stored = np.bitwise_or.reduce([byte << np.uint32(8 * place) for place, byte in enumerate(bytes_there[8:])])
    return [first + int(place) for place in at[computed == stored]]


def end_of(data: Bytes, at: int) -> int | None:
    """Returns where a record ends that begins at a place, also if that is behind the end of all; None if none does."""
    if len(head := data[at : at + HEAD.size]) < HEAD.size:
        return None
    length, checksum = HEAD.unpack(head)
    end = at + HEAD.size + length + CHECKSUM
    return end if checksum == _checksum(NUMBERS.__getitem__, head[:8], BITS) else None


def _checksum(find: Callable[[Number], Number], text: Iterable[Number], found: Number) -> Number:
    """Returns the masked CRC-32C of a text, or of many at once.

    Args:
        find: Finds in `TABLE` what a byte makes of it: for one text in a list, which is ten times as fast.
        text: The bytes, from the first to the last; of many texts, uint32 `[n]` each.
        found: `BITS`, as often as there are texts.
    """
    for byte in text:
        found = find((found ^ byte) & 0xFF) ^ found >> 8
    found = found ^ BITS
    return ((found >> 15 | found << 17) + MASK) & BITS


def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


TABLE = _table()
NUMBERS: list[int] = TABLE.tolist()
