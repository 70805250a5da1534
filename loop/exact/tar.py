"""What is in a tar file, without the times of its members."""

import re

from loop.exact.bytes_of import BLOCK, Bytes

UNIT = 512  # bytes: all begins at a multiple of that
MARK, AT = b"ustar", 257  # in the head of a member
SIZE, TIME, KIND = 124, 136, 156  # where these begin in it; behind the time, to the kind, is a sum of all
EXTENDED = b"x"  # the kind of a member that has more of the next one, such as a time with decimals
MORE = re.compile(rb"\d+ mtime=[\d.]+\n")


def members(data: Bytes, size: int) -> list[bytes] | None:
    """Returns what is at the beginning, in the middle and at the end; None if it is no tar file.

    Args:
        data: What is in a file.
        size: How many bytes that is.
    """
    if not _is_head(data[0:UNIT]):
        return None
    # Behind the last member are zeros, up to ten thousand.
    zeros = len(tail := data[max(size - 4 * BLOCK, 0) : size]) - len(tail.rstrip(b"\0"))
    last = max(size - zeros - BLOCK, 0) + UNIT - 1
    starts = (at - at % UNIT for at in (0, last // 2, last))
    return [_without_times(data[at + part : at + part + UNIT]) for at in starts for part in range(0, BLOCK, UNIT)]


def _is_head(unit: bytes) -> bool:
    """Returns whether this is the head of a member."""
    return unit[AT : AT + len(MARK)] == MARK


def _without_times(unit: bytes) -> bytes:
    if _is_head(unit):
        return unit[: SIZE if unit[KIND : KIND + 1] == EXTENDED else TIME] + unit[KIND:]
    return MORE.sub(b"", unit).rstrip(b"\0")
