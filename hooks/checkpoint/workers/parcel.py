"""Tensors as bytes, to be told to another worker: whatever a checkpoint can hold, also states of iterators."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from hooks.checkpoint.record.tensors import read_tensors, write_tensors
from loop.tf_internals import Tensors

FILES = ("index", "data-00000-of-00001")  # as TensorFlow writes them
PREFIX = "parcel"


def packed(tensors: Mapping[str, tf.Tensor]) -> bytes:
    """Returns tensors as bytes. By files, as any checkpoint: what TensorFlow has for memory dies of 2 GB."""
    if not tensors:
        return _headed({}, [])
    with tempfile.TemporaryDirectory(prefix="exactloop-") as directory:
        prefix = Path(directory, PREFIX)
        write_tensors(str(prefix), tensors)
        return _headed(
            {name: tensor.dtype.name for name, tensor in tensors.items()},
            [prefix.with_name(f"{PREFIX}.{each}").read_bytes() for each in FILES],
        )


def unpacked(raw: bytes) -> Tensors:
    """Returns the tensors of which these are the bytes."""
    head, _, rest = raw.partition(b"\n")  # JSON has no line break of its own
    dtypes, sizes = json.loads(head)
    if not dtypes:
        return {}
    with tempfile.TemporaryDirectory(prefix="exactloop-") as directory:
        for name, size in zip(FILES, sizes, strict=True):
            Path(directory, f"{PREFIX}.{name}").write_bytes(rest[:size])
            rest = rest[size:]
        return read_tensors(f"{directory}/{PREFIX}", {name: tf.as_dtype(dtype) for name, dtype in dtypes.items()})


def _headed(dtypes: Mapping[str, str], files: Sequence[bytes]) -> bytes:
    return b"%s\n%s" % (json.dumps([dtypes, list(map(len, files))]).encode(), b"".join(files))
