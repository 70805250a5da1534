"""How two checkpoints differ: read only, and without a lock."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.record.tensors import CheckpointNames, dtypes_in, read_tensors
from hooks.checkpoint.report import of_one
from loop.tf_internals import OBJECT_GRAPH

# TensorFlow's own, and the time that it took: no part of what is trained. Nor are variants, the states of iterators:
# how much is read ahead depends on speed, and which batch comes next is in `position/`.
IGNORED = {OBJECT_GRAPH, *(f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("save_counter", "clock/seconds"))}


@dataclasses.dataclass(frozen=True)
class Difference:
    """A value that is not the same in two checkpoints.

    Attributes:
        name: What it is called in both: the path of a variable, as in a manifest.
        what: How it differs: "only in the first", "only in the second", "shape", "dtype" or "values".
        count: How many of its numbers differ, in bits; 0 if they cannot be compared.
        largest: The largest absolute difference; NaN if there is none, as between texts.
    """

    name: str
    what: str
    count: int = 0
    largest: float = float("nan")


@contextlib.contextmanager
def pinned(path: str) -> Iterator[Pin]:
    """Yields one checkpoint, whole, for as long as it is read. See `of_one`."""
    with contextlib.closing(of_one(path, Store.pin)) as pin:
        yield pin


def differences(first: str, second: str) -> tuple[int, list[Difference]]:
    """Returns how many values two checkpoints have, and which of them differ, in bits.

    The training time is none, and what a pipeline of `tf.data` has read ahead, which depends on speed.

    Args:
        first: See `pinned`.
        second: The same.
    """
    with pinned(first) as one, pinned(second) as other:
        left, right = _values(one), _values(other)
        found = [Difference(name, "only in the first") for name in left.keys() - right.keys()]
        found += [Difference(name, "only in the second") for name in right.keys() - left.keys()]
        # One value of each at a time: two large checkpoints need not fit into memory.
        for name in left.keys() & right.keys():
            found += _compared(name, left[name](), right[name]())
        return len(left.keys() | right.keys()), sorted(found, key=lambda difference: difference.name)


def _values(pin: Pin) -> dict[str, Callable[[], np.ndarray]]:
    """Returns what reads each value of a checkpoint: variables by their path, anything else by TensorFlow's name."""
    variables = pin.manifest.description["variables"]
    paths = {name: path for path, name in CheckpointNames(pin.prefix, variables).of(variables).items()}

    def read(name: str, dtype: tf.DType) -> np.ndarray:
        return np.asarray(read_tensors(pin.prefix, {name: dtype})[name])

    return {
        paths.get(name, name): functools.partial(read, name, dtype)
        for name, dtype in dtypes_in(pin.prefix).items()
        if name not in IGNORED and dtype != tf.variant
    }


def _compared(name: str, left: np.ndarray, right: np.ndarray) -> list[Difference]:
    if left.shape != right.shape:
        return [Difference(name, "shape")]
    if left.dtype.kind in "OSU" and right.dtype.kind in "OSU":  # texts, of any length
        count = int(np.count_nonzero(left != right))
        return [Difference(name, "values", count)] if count else []
    if left.dtype != right.dtype:  # even of equal numbers: a run would not go on from it
        return [Difference(name, "dtype")]
    if not left.size:
        return []
    # By bytes, so that NaN equals itself, and 0.0 is not -0.0.
    bits = [np.ascontiguousarray(side).reshape(-1).view(np.uint8).reshape(left.size, -1) for side in (left, right)]
    count = int(np.count_nonzero((bits[0] != bits[1]).any(axis=1)))
    if not count:
        return []
    # An int64 does not fit into a float64, and a difference of 1 would be none.
    wide = np.complex128 if np.iscomplexobj(left) else np.longdouble if left.dtype.kind in "iu" else np.float64
    with np.errstate(invalid="ignore"):  # inf - inf
        largest = float(np.max(np.abs(left.astype(wide) - right.astype(wide))))
    return [Difference(name, "values", count, largest)]
