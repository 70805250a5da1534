"""Bytes and values, changed at random, the same each time: as damage does it, and as somebody does who means harm."""

import contextlib
import copy
import json
import math
import random
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hooks.checkpoint.record.manifest import canonical

MANY = [50, pytest.param(200, marks=pytest.mark.more), pytest.param(100_000, marks=pytest.mark.long)]
SEED = 14
MEASURED = 20  # of so many inputs, the memory of one is measured to the byte, which takes as long as reading five
JUMP = 2**26  # bytes by which the process may grow in between, at once
PATIENCE = 60  # seconds of processors for one input, so that it does not matter how busy the machine is
NUMBERS = [-1, 0, 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, 0.5, -0.0]
TEXTS = [
    "",
    "../../elsewhere",
    "/etc/passwd",
    "ckpt-4.index\0",
    "x" * 3000,
    "%s{0}{}",
    "\ud800",
    "[bold]\x1b[2J",
    "NaN",
]
ODD = [*NUMBERS, *TEXTS, math.nan, math.inf, -math.inf, True, False, None, [], {}, [[]], {"": {}}, [1] * 50]


class Hang(Exception):
    """Not an OSError, for which it could be taken."""


def damaged(rng: random.Random, raw: bytes) -> bytes:
    """Returns bytes of which some are others, or gone, or twice there."""
    content = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        last = min(last, first + rng.choice([1, 4, 8, 1000]))
        match rng.randrange(8):
            case 0 | 1 if first < len(content):
                content[first] ^= 1 << rng.randrange(8)
            case 2:
                del content[first:]
            case 3:
                del content[first:last]
            case 4:
                content[first:first] = content[first:last]
            case 5:
                content[first:last] = bytes(last - first)
            case 6:
                content[first:last] = rng.randbytes(last - first)
            case 7:
                content += rng.choice([b"\n", b"\0" * 20, rng.randbytes(20), content[first:last]])
    return bytes(content)


def altered(rng: random.Random, value: Any) -> Any:
    """Returns JSON values of which some are others, or elsewhere, or gone, or nested deeply."""
    value = json.loads(json.dumps(value))  # in a tenth of the time of a deepcopy
    for _ in range(rng.choice([1, 1, 2, 4])):
        places = list(_places(value))
        if not places:
            return _odd(rng)
        parent, key = rng.choice(places)
        match rng.randrange(8):
            case 0:
                del parent[key]
            case 1:
                other, at = rng.choice(places)
                with contextlib.suppress(LookupError):
                    parent[key], other[at] = copy.deepcopy(other[at]), copy.deepcopy(parent[key])
            case 2 if isinstance(parent, dict):
                parent[rng.choice(TEXTS)] = _odd(rng)
            case 3:
                parent[key] = _nested(rng.choice([5, 60]))
            case 4 if type(parent[key]) in (int, float):
                parent[key] = _near(rng.randrange(4), parent[key])
            case _:
                parent[key] = _odd(rng)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(ODD))  # or what is put into one of them would be in all that come later


def _near(which: int, number: float) -> float:
    match which:
        case 0:
            return -number
        case 1:
            return number + 1
        case 2 if abs(number) < 2**1000:  # else no float is as large
            return float(number)
    return number * 10**30


def _nested(depth: int) -> Any:
    value: Any = 1
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    return value


def sealed(value: object) -> bytes:
    """Returns a manifest with a right hash, whatever it says."""
    return canonical(value) if isinstance(value, dict) else json.dumps(value).encode()


def survives(
    count: int,
    seed: int,
    make: Callable[[random.Random], bytes],
    read: Callable[[bytes], object],
    *,
    spare: int = 2**20,
) -> int:
    """Reads inputs, and returns how many of them were taken; what is raised comes out.

    Args:
        count: How many.
        seed: Of what they are made.
        make: Makes one.
        read: Reads it; returns None if that is refused.
        spare: How many bytes reading may take in any case.

    Raises:
        Hang: If one takes `PATIENCE`.
        MemoryError: If one takes memory that is out of all proportion to it.
    """

    def late(number: int, frame: object) -> None:
        raise Hang(f"still busy after {PATIENCE} seconds of processors")

    before, taken = signal.signal(signal.SIGPROF, late), 0
    try:
        for i in range(count):
            rng = random.Random(f"{seed}, {i}")
            raw = make(rng)
            signal.setitimer(signal.ITIMER_PROF, PATIENCE)
            try:
                with frugal(200 * len(raw) + spare, exactly=count <= 200 or i % MEASURED == 0):
                    taken += read(raw) is not None
            except BaseException as error:
                error.add_note(f"Input {i} of seed {seed}, of {len(raw)} bytes: {raw[:200]!r}")
                raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return taken


@contextlib.contextmanager
def frugal(most: int, *, exactly: bool) -> Iterator[None]:
    """Raises `MemoryError` if what is done within takes more memory than that.

    Args:
        most: In bytes.
        exactly: Whether Python's memory is measured, or only that of the process, where a large piece shows.
    """
    if exactly:
        tracemalloc.start()
    # Forgotten first, or what came before, even in the process that this one was forked from, would hide what comes.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    try:
        yield
        took = _peak() - before - JUMP
        if exactly:
            took = tracemalloc.get_traced_memory()[1]
        if took > most:
            raise MemoryError(f"{took} bytes were taken, of {most} at most")
    finally:
        tracemalloc.stop()


def _peak() -> int:
    """Returns the most memory that this process has had since that was forgotten, in bytes."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
