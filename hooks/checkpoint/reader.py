"""Restores some of a checkpoint, in any script, beside a run that may be writing there."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from hooks.checkpoint.commits.beside import TOO_FAST, TRIES, listed
from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.ranks import ranks
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.disk.stems import order
from hooks.checkpoint.record.manifest import CorruptCheckpoint
from hooks.checkpoint.record.tensors import CheckpointNames
from hooks.checkpoint.resuming.fit import refuse
from hooks.checkpoint.resuming.resume import compare, raise_if_any, warn
from hooks.shared.paths import path_to_read
from loop import TrainingState
from loop.errors.calls import BY_POSITION, explained
from loop.tf_internals import ITERATIONS

ALL_OR_NOTHING = (
    "leave it out: what is given is restored as a whole, or not at all. For a part of a model: build all of it as it "
    "was, restore(directory, {'model': old}), and new.get_layer(name).set_weights(old.get_layer(name).get_weights())"
)
INSTEAD = {
    **dict.fromkeys(("strict", "skip_mismatch", "by_name", "assert_consumed", "expect_partial"), ALL_OR_NOTHING),
    **dict.fromkeys(("model", "optimizer", "module", "net"), "write state={'model': model}, with the names of the run"),
    **dict.fromkeys(("step", "checkpoint", "ckpt", "best", "epoch"), "write which='best', or which=120, a step"),
    **dict.fromkeys(("path", "filepath", "ckpt_path", "save_path"), "write restore(directory, {'model': model})"),
    **dict.fromkeys(("weights_only", "map_location", "device"), "leave it out: what is given is all that is read"),
    "state": "write restore(directory, {'model': model})",
    "directory": "write restore(directory, {'model': model})",
    BY_POSITION: "write which='best', or which=120, a step",
}


@explained(INSTEAD, kinds=False)
def restore(
    directory: str | os.PathLike[str], state: Mapping[str, object], *, which: Literal["latest", "best"] | int = "latest"
) -> int:
    """Restores models, and whatever else is given, from a checkpoint of a run, for scripts that want only these.

    No lock is needed: a run that is writing there is not disturbed, and half a checkpoint is never read.

    Args:
        directory: The directory that was given to `Checkpoint`.
        state: Some of what was given to `Loop(state=...)`, by the same names, such as `{"model": model}`. Everything
            has to be built.
        which: "latest"; "best", by the metric that `Checkpoint(best=...)` watched; or a step.

    Returns:
        The step of the checkpoint.

    Raises:
        FileNotFoundError: If there is no such checkpoint; the message lists those there are.
        CorruptCheckpoint: If it is not whole. If an older one can be used for "latest" or "best", a warning.
        RuntimeError: If a later version of this package wrote it.
        ValueError: If an argument cannot be used, or `state` has other variables, shapes or dtypes: all differences are
            listed, and nothing is assigned.
    """
    wanted = which if which in ("latest", "best") else _step(which)
    if isinstance(state, Mapping) and not state:
        raise ValueError("restore() needs what is to be restored, as in state={'model': model}. Received: nothing.")
    own = TrainingState(state)  # of what was given alone, so nothing else can be assigned
    with contextlib.closing(open_files(path_to_read(directory), make=False)) as files:
        store = Store(files)
        for _ in range(TRIES):
            with contextlib.closing(_pinned(store, wanted)) as pin:
                try:
                    # All differences before anything is assigned: a script must not go on with half of the weights.
                    refuse(store, pin.manifest, _differences(own, tuple(state), pin), _remedy(state, pin))
                    own.take_over(pin.prefix)
                except tf.errors.OpError:
                    if pin.manifest.record.stem in store.stems():
                        raise
                    continue  # removed while it was read, at an address where nothing can be pinned
                # By digests, as in a resume: TensorFlow restores what it finds, and says nothing of the rest.
                compare(pin, own.given())
                return pin.manifest.record.step
        raise FileNotFoundError(TOO_FAST.format(files.where))


def _step(which: object) -> int:
    if isinstance(which, bool) or not isinstance(which, int | np.integer):
        raise ValueError(f"restore(which=...) must be 'latest', 'best' or a step. Received: {which!r}.")
    return int(which)


def _differences(own: TrainingState, keys: tuple[str, ...], pin: Pin) -> list[str]:
    """Returns a line for each variable of what was given that is not the same in the checkpoint."""
    mine, saved = own.given(), pin.manifest.description["variables"]
    names = CheckpointNames(pin.prefix, saved)
    found = names.of(mine)
    covered = set(found.values())
    # A compiled model has its optimizer in it, and a script that predicts has not compiled its own.
    within = [each for each in _of_optimizers(own, saved) if not any(path.startswith(each) for path in mine)]
    # `extra/` has what TensorFlow's object graph does not reach, such as seed states.
    below = tuple(f"{prefix}{key}/" for key in keys for prefix in ("", "extra/"))
    unknown = names.of(path for path in saved if f"{path}/".startswith(below) and not path.startswith((*within,)))
    said = own.describe()["variables"]  # as in a manifest: the lengths, and the dtype
    now = {path: said[path] for path in mine}
    then = {path: names.describe(name) for path, name in found.items()}
    then |= {path: names.describe(name) for path, name in unknown.items() if name not in covered}
    other, absent = [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)], "missing"
    return [f"{p}: {then.get(p, absent)} in the checkpoint, {now.get(p, absent)} now" for p in other]


def _remedy(keys: Iterable[str], pin: Pin) -> str:
    saved = pin.manifest.description["state"]
    if others := [key for key in keys if key not in saved]:
        return f"It has {', '.join(map(repr, saved))}, and no {', '.join(map(repr, others))}: give all by their names"
    return "Build it as it was then, and take from it what is to be used elsewhere"


def _of_optimizers(own: TrainingState, paths: Iterable[str]) -> list[str]:
    """Returns what the paths of an optimizer within a model begin with: who wants its weights need not compile it."""
    models = tuple(f"{path}/" for path in own.objects(keras.Model))
    return [
        path.removesuffix(ITERATIONS) for path in paths if path.endswith(f"/{ITERATIONS}") and path.startswith(models)
    ]


def _pinned(store: Store, which: str | int) -> Pin:
    """Returns the first that is whole of those that are wanted; warns of those that come before it.

    A trainer may remove what has just been listed, and a listing may miss what it renames meanwhile. So what is gone
    is no reason to take an older one, but to list again; and "latest" is no older than what was there at first.
    """
    then = max(map(order, [*listed(store), *store.stems()]), default=None)
    for _ in range(TRIES):
        stems, damaged = listed(store), dict[str, CorruptCheckpoint]()
        wanted = _best(store, stems, damaged) if which == "best" else list(reversed(stems))
        if isinstance(which, int):
            wanted = [stem for stem in wanted if stem in (f"ckpt-{which}", f"pending-{which}")]
        for stem in wanted:
            try:
                pin = store.pin(stem)
            # Damaged, or pruned since it was listed: only another listing tells.
            except CorruptCheckpoint as error:
                damaged[stem] = error
                if stem in store.stems():
                    continue
                break  # it was removed just now
            now = store.stems()
            missed = any(order(later) > order(stem) and later not in damaged for later in now)
            if which == "latest" and missed and then is not None and order(stem) < then:
                pin.close()
                break
            warn(pin.manifest, [error for each, error in damaged.items() if each in now])
            return pin
        else:
            now = store.stems()
            still = [error for each, error in damaged.items() if each in now]
            if isinstance(which, int) and still:
                raise still[0]
            raise_if_any(store, still)
            if not damaged:
                there = ", ".join(stems) or "none"
                raise FileNotFoundError(f"No checkpoint {which!r} is in {store.files.where!r}. There are: {there}.")
    raise FileNotFoundError(TOO_FAST.format(store.files.where))


def _best(store: Store, stems: Sequence[str], damaged: dict[str, CorruptCheckpoint]) -> list[str]:
    """Returns the stems of those that have a value of the metric that was watched, the best first."""
    records = []
    for stem in stems:
        try:
            records.append(store.glance(stem).record)  # heads alone: the values are in them
        except CorruptCheckpoint as error:
            damaged[stem] = error
    # By the metric that was watched last, should the script have had another one before.
    named = next((record.best for record in reversed(records) if record.best), None)
    return [stem for *_, stem in ranks(records, str(named["name"]), str(named["mode"]))] if named else []
