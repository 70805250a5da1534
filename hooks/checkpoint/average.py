"""The average of the latest checkpoints of a run, as a checkpoint."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hooks.checkpoint.commits.beside import beside
from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.record.environment import environment
from hooks.checkpoint.record.manifest import Manifest
from hooks.checkpoint.record.tensors import CheckpointNames, dtypes_in, read_tensors, write_tensors
from hooks.checkpoint.resuming.fit import values
from hooks.shared.figures import counted
from loop import digest
from loop.tf_internals import ITERATIONS, TRAINED


def average(directory: str, last: int, out: str) -> tuple[list[str], list[str], str]:
    """Averages the latest checkpoints of a run, in double precision, and writes a checkpoint.

    Averaged are the real and complex values of what was given as `state=`, other than those of optimizers: weights, and
    statistics such as those of batch normalisation. Everything else is as in the latest of them.

    Args:
        directory: The directory that was given to `Checkpoint`.
        last: How many; those that a stop has cut short in their round do not count.
        out: The directory to write to; made if it is missing.

    Returns:
        The names of the averaged checkpoints, the oldest first; the paths of the averaged variables; and what was
        written, without endings.

    Raises:
        FileNotFoundError: If there are not so many.
        CorruptCheckpoint: If one of them is not whole.
        ValueError: If they have other variables, or an average is not finite.
        FileExistsError: If there is a checkpoint in `out`.
    """
    with contextlib.ExitStack() as held:
        files = held.enter_context(contextlib.closing(open_files(directory, make=False)))
        store = Store(files)
        # Without a lock, as any reader: those that are pinned stay readable whatever the trainer removes.
        taken, pins = beside(store, lambda stems: _pinned(store, stems, last))
        held.push(taken)
        newest = pins[-1]
        _check_alike([pin.manifest for pin in pins])
        paths = _averaged(newest.manifest.description)
        found = _means(pins, paths)
        target = held.enter_context(contextlib.closing(open_files(out)))
        target.lock()
        written = Store(target)
        written.load()
        if written.stems():  # also in the directory of the run itself: nothing there is overwritten
            raise FileExistsError(f"There are checkpoints in {target.where!r}. Give another directory: --out PATH.")
        _write(written, newest, found)
        written.remove(())  # which tells TensorFlow
        return [pin.manifest.record.stem for pin in pins], paths, f"{target.where}/{newest.manifest.record.stem}"


def _pinned(store: Store, stems: Sequence[str], last: int) -> tuple[contextlib.ExitStack, list[Pin]]:
    """Returns the latest of these, and what closes them."""
    there = [stem for stem in stems if stem.startswith("ckpt-")]
    if not there:
        raise FileNotFoundError(f"There is no checkpoint in {store.files.where!r}.")
    if len(there) < last:
        are = "is" if len(there) == 1 else "are"
        raise FileNotFoundError(
            f"There {are} {counted(len(there), 'checkpoint')} in {store.files.where!r}, not {last}: "
            f"{', '.join(there)}. Give --last {len(there)}, or train with Checkpoint(keep={last})."
        )
    with contextlib.ExitStack() as held:
        # Hashes all of them, which takes minutes for many large ones.
        pins = [held.enter_context(contextlib.closing(store.pin(stem))) for stem in there[-last:]]
        return held.pop_all(), pins


def _check_alike(manifests: list[Manifest]) -> None:
    """Raises `ValueError` if some have other variables than the latest."""
    latest = manifests[-1]
    now: Mapping[str, object] = latest.description["variables"]
    for manifest in manifests:
        then: Mapping[str, object] = manifest.description["variables"]
        if other := [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)]:
            raise ValueError(
                f"{manifest.record.stem} and {latest.record.stem} have other variables, and no average: "
                f"{', '.join(other[:6])}{' ...' if len(other) > 6 else ''}. Give a smaller --last."
            )


def _averaged(description: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the paths of what is averaged."""
    variables = description["variables"]
    optimizers = [path.removesuffix(ITERATIONS) for path in variables if path.rpartition("/")[-1] == ITERATIONS]

    def is_weight(path: str) -> bool:
        owner = max((each for each in optimizers if path.startswith(each)), key=len, default="")
        # Hooks, random states and the place in the data have no average.
        of_given = path.removeprefix("extra/").split("/", 1)[0] in description["state"]
        return of_given and (not owner or path.removeprefix(owner).startswith(f"{TRAINED}/"))

    dtypes = {path: tf.as_dtype(said[-1]) for path, said in variables.items()}
    return [path for path, dtype in dtypes.items() if (dtype.is_floating or dtype.is_complex) and is_weight(path)]


def _means(pins: Sequence[Pin], paths: Sequence[str]) -> dict[str, tf.Tensor]:
    """Returns the averages by path."""
    sums, dtypes = dict[str, tf.Tensor](), dict[str, tf.DType]()
    # One checkpoint after the other: in memory are the sums, and one of them.
    for pin in pins:
        for path, value in values(pin, paths).items():
            # In double precision, or a sum of many float16 weights would not have their digits.
            wide = tf.cast(value, tf.complex128 if value.dtype.is_complex else tf.float64)
            sums[path], dtypes[path] = sums[path] + wide if path in sums else wide, value.dtype
    if wrong := [path for path, total in sums.items() if not np.isfinite(total.numpy()).all()]:
        raise ValueError(f"Their average is not finite: {', '.join(wrong[:6])}. Leave out what has diverged.")
    return {path: tf.cast(total / len(pins), dtypes[path]) for path, total in sums.items()}


def _write(store: Store, newest: Pin, means: Mapping[str, tf.Tensor]) -> None:
    """Writes the latest of the checkpoints with averages in the place of what is averaged."""
    manifest = newest.manifest
    names = CheckpointNames(newest.prefix, manifest.description["variables"]).of(manifest.description["variables"])
    found = read_tensors(newest.prefix, dtypes_in(newest.prefix))
    tensors = {**found, **{names[path]: mean for path, mean in means.items()}}
    digests = tuple(digest(tensors[names[path]]) for path in manifest.description["variables"])

    made = {"time": time.time(), **environment()}
    record = dataclasses.replace(manifest.record, best={})  # which nobody has measured of the average
    parts: dict[str, Any] = {"record": record, "digests": digests, "logs": {}, "made": made, "result": {}}
    # Described as the newest is, of which everything comes that has no average.
    made_of = functools.partial(dataclasses.replace, manifest, **parts)
    store.commit(record, lambda prefix: write_tensors(prefix, tensors), lambda files: made_of(files=files))
