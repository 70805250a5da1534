"""What is read of a file, whatever else is in it: the time at which it was written, or an order that means nothing."""

import functools
import gzip
import hashlib
import os
import re
import struct
import zipfile
import zlib
from typing import BinaryIO

from loop.exact.bytes_of import BLOCK, Bytes, InFile, sampled
from loop.exact.records import end_of, records
from loop.exact.tar import members

GZIP, ZIP, ZLIB = b"\x1f\x8b\x08", b"PK\x03\x04", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
TIMES = re.compile(GZIP + rb"(.)....", re.DOTALL)  # of the parts of a gzip file; behind a byte that says what follows
EXTRA, NAME, COMMENT, CHECKSUM = 4, 8, 16, 2  # the bits of that byte
END = struct.Struct("<4s8xI6x")  # of a zip file: a mark, and how long the list of its members is
END_MARK, LONGEST = b"PK\x05\x06", 2**20
ENCRYPTED = 1
UNPACKED, LARGE = 2**18, 2**26  # bytes of what is packed that are looked into; of a record that is not
UNLIKE = (OSError, EOFError, ValueError, NotImplementedError, struct.error, zlib.error, zipfile.BadZipFile)


def contents(path: str) -> str | None:
    """Returns a hash of what is read of a file, if that may be the same with other bytes; else None."""
    try:
        found = os.stat(path)
        # Each epoch of a function may have the same files.
        return _contents(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
    except UNLIKE:  # of a file that is damaged, or only looks like one of these, the bytes count
        return None


@functools.lru_cache(maxsize=4096)
def _contents(path: str, written: tuple[int, ...]) -> str | None:
    """Returns the same, of a file as it was written."""
    with open(path, "rb") as file:
        found = _look(file, written[2])
    return None if found is None else hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def _look(file: BinaryIO, size: int) -> object:
    mark = file.read(4)
    if mark == ZIP:
        return _of_zip(file, size)
    if mark.startswith(GZIP):
        return _of_gzip(file, size)
    if mark.startswith(ZLIB):
        return _of_zlib(file)
    found = _unpacked(InFile(file), size)
    return None if found is None else (size, found)


def _unpacked(data: Bytes, size: int) -> object:
    """Returns what is in records, or in a tar file."""
    found = records(data, size)
    return members(data, size) if found is None else found


def _of_zip(file: BinaryIO, size: int) -> object:
    """Returns the names, lengths and checksums of all members, as in an `.npz`: without the times."""
    file.seek(size - END.size)
    mark, length = END.unpack(file.read())
    if mark != END_MARK or length > LONGEST:
        return None
    with zipfile.ZipFile(file) as packed:
        members = packed.infolist()
    if any(each.flag_bits & ENCRYPTED or (each.file_size and not each.CRC) for each in members):
        return None  # which need not have checksums
    return [(each.filename, each.file_size, each.CRC) for each in members]


def _of_gzip(file: BinaryIO, size: int) -> object:
    """Returns what is in a small one; of a large one all but the times, or what is in the first records or members."""
    file.seek(0)
    with gzip.GzipFile(fileobj=file) as packed:
        found = packed.read(UNPACKED)
        found += packed.read(_missing(found))
        is_all = not packed.read(1)
    known = _unpacked(found, len(found))
    if is_all:
        return len(found), known or hashlib.sha256(found).digest()
    if known:
        file.seek(size - 4)
        return file.read(), known  # how much it is in all
    first = _header(InFile(file)[0:BLOCK])  # which may also have the name that it was written under
    return size - first, [TIMES.sub(rb"\1", block) for block in sampled(InFile(file), first, size)]


def _missing(found: bytes) -> int:
    """Returns how many bytes are missing of the first record, if it is a long one."""
    missing = (end_of(found, 0) or 0) - len(found)
    return missing if 0 < missing < LARGE else 0


def _header(start: bytes) -> int:
    """Returns how long the header of a gzip file is."""
    has, at = start[3], 10
    if has & EXTRA:
        at += 2 + int.from_bytes(start[at : at + 2], "little")
    for text in (NAME, COMMENT):
        at = start.index(0, at) + 1 if has & text else at
    return at + 2 if has & CHECKSUM else at


def _of_zlib(file: BinaryIO) -> object:
    """Returns what is in records, if all of them are few: nothing else says how much it is in all."""
    file.seek(0)
    packed = zlib.decompressobj()
    found = packed.decompress(file.read(UNPACKED), UNPACKED)
    of_records = records(found, len(found)) if packed.eof else None
    return None if of_records is None else (len(found), of_records)
