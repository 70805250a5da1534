"""Cuts from an event file what a restored run does again, and what is no record any more."""

import itertools
import logging
import math
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from hooks.shared.flushing import flushed
from loop.tf_internals import records

log = logging.getLogger("exactloop")
HEADER, FRAME, LARGEST = 12, 16, 2**31  # bytes before a record, around it, and in it, as a protocol buffer can have


class Remainder(NamedTuple):
    """What is left in an event file: the tags that have a point at the step to go on from, and the latest time."""

    tags: set[str]
    latest: float


def cut(path: Path, step: int) -> Remainder:
    """Rewrites an event file without what comes after `step`, and without a last record that was cut off by a kill.

    What else is no event is left out too, and told.
    """
    if not path.is_file():
        log.warning("%s is not a plain file, and is left alone.", path)
        return Remainder(set(), 0.0)
    # Records stay as bytes: what is kept is copied, not written anew, and so comes out as it was.
    kept, whole, there, latest = [], True, set[str](), 0.0
    count, wrong = _records(path)
    found = 0
    try:
        for record in itertools.islice(records(os.fsencode(path)), count):
            found += 1
            try:
                event = tf.compat.v1.Event.FromString(record)
            except DecodeError:
                wrong = wrong or f"its record {found} is no event"
                whole = False
                continue
            # The start of a session stays, whatever its step: servers that had read more by then go by it.
            if event.step <= step or event.HasField("session_log"):
                kept.append(record)
                latest = max(latest, event.wall_time if math.isfinite(event.wall_time) else 0.0)
                there |= {value.tag for value in event.summary.value if event.step == step}
            else:
                whole = False
    except tf.errors.OpError:
        wrong, whole = f"its record {found + 1} is damaged, and so is what comes after it", False
    if wrong:
        log.warning("%s: %s. That is left out.", path, wrong)
    if not whole or wrong is not None:  # a file that needs no cut is not touched, and keeps its time
        _rewrite(path, kept)
    return Remainder(there, latest)


def _records(path: Path) -> tuple[int, str | None]:
    """Returns how many records a file has by its lengths, and what is wrong with the rest: "" if that is a torn one.

    Nothing is wrong with none. TensorFlow would take any length for true, and die of one of a terabyte.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return 0, None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            count = at = 0
            while at + HEADER <= size:  # a record: length, its checksum, the data, their checksum
                (length,) = struct.unpack_from("<Q", raw, at)
                if length > size - at - FRAME:
                    (check,) = struct.unpack_from("<I", raw, at + 8)
                    # A right length with too few bytes after it is what a kill leaves. Anything else is damage.
                    torn = length < LARGEST and masked_crc32c(raw[at : at + 8]) == check
                    return count, "" if torn else f"{size - at} bytes at its end are no record"
                count, at = count + 1, at + FRAME + length
    return count, None if at == size else ""


def _rewrite(path: Path, kept: list[bytes]) -> None:
    temporary = path.with_name(".cut.tmp")  # TensorBoard reads whatever has "tfevents" in its name
    with tf.io.TFRecordWriter(os.fsencode(temporary)) as writer:
        for record in kept:
            writer.write(record)
    with temporary.open("rb") as file:
        flushed(file.fileno())  # or a power failure after the rename could lose what was kept
    temporary.replace(path)
