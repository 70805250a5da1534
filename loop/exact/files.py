"""What tells files from others, wherever they are: their names below a common directory, and what is read of them.

And what tells texts from others, which may be such records as are in files.
"""

import contextvars
import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from loop.comparable import BY_BYTES, FINGERPRINT, as_with, by_bytes
from loop.digest import digest, digest_as, short
from loop.exact.bytes_of import InFile, sampled
from loop.exact.file_contents import contents
from loop.exact.records import without_order

FILES = 1000  # how many files of a pipeline are looked into
OR = "~"  # in hashes that are not saved: what stands behind it is the hash by the bytes, if that is another
_OTHERWISE = contextvars.ContextVar("otherwise", default=False)  # whether something was seen of which it is


def are_files(texts: Sequence[str]) -> bool:
    """Returns whether texts are names of files."""
    looked_at = texts[:: 1 + len(texts) // FILES]  # spread over all: to ask for each of a million takes long
    return bool(texts) and all(map(os.path.isfile, looked_at))


def of_files(paths: Sequence[str]) -> str:
    """Returns a hash of their names, below the directory that all of them are in, and of samples of their contents."""
    first, last = min(paths), max(paths)  # between which all others are, so what these have in common all have
    alike = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first.rfind(os.sep, 0, alike) + 1  # behind the last separator that all have in common
    return short(([path[start:] for path in paths], [_sample(path) for path in paths[:: 1 + len(paths) // FILES]]))


def of_texts(tensor: tf.Tensor) -> str:
    """Returns a digest of a tensor; of texts, what is read of them counts."""
    return digest(tensor) if by_bytes() else digest_as(tensor, _as_read)


def in_both_ways(make: Callable[[], str]) -> str:
    """Returns a hash that is made of files or texts, among others, and the one by their bytes with it; see `OR`."""
    _OTHERWISE.set(False)
    with as_with(FINGERPRINT):
        found = make()
    if not _OTHERWISE.get():
        return found
    with as_with(BY_BYTES):
        return f"{found}{OR}{make()}"


def as_wanted(text: str) -> str:
    """Returns a text that ends with what `in_both_ways` has returned, with the hash that is to be compared or saved."""
    found, _, before = text.partition(OR)
    return found[: -len(before)] + before if before and by_bytes() else found


def _as_read(text: bytes) -> bytes:
    if (found := without_order(text)) != text:
        _OTHERWISE.set(True)
    return found


def _sample(path: str) -> object:
    """Returns what is read of a file; of most, it is the size, and what is at the beginning, in the middle and end."""
    if not by_bytes() and (found := contents(path)) is not None:
        _OTHERWISE.set(True)
        return found
    size = os.path.getsize(path)
    try:
        with open(path, "rb") as file:
            return size, sampled(InFile(file), 0, size)
    except OSError:  # whoever reads it is told
        return size
