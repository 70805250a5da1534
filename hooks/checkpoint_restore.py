"""Takes over what is in a checkpoint: the whole state by a resumed run, or some of it by any script."""

import contextlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence

import tensorflow as tf

from hooks.checkpoint_files import Files, absolute, is_remote
from hooks.checkpoint_local import LocalFiles
from hooks.checkpoint_manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint_remote import RemoteFiles
from hooks.checkpoint_retention import ranked
from hooks.checkpoint_saver import digest
from hooks.checkpoint_store import Pin, Store, order
from loop import TrainingState

log = logging.getLogger("exactloop")
TRIES = 100  # how often a reader looks again when a trainer has removed what it was about to read


def open_files(directory: str | os.PathLike[str], *, make: bool = True) -> Files:
    """Opens a directory of checkpoints.

    Args:
        directory: A path, or an address such as `gs://...`.
        make: Whether to make it if it is missing.

    Raises:
        FileNotFoundError: If it is missing, and not to be made.
        NotADirectoryError: If it is a file, or below one.
        PermissionError: If it cannot be made.
    """
    path = absolute(directory)
    return RemoteFiles(path, make=make) if is_remote(path) else LocalFiles(path, make=make)


def resume(store: Store, state: TrainingState, damaged: Sequence[CorruptCheckpoint]) -> Manifest | None:
    """Restores the newest checkpoint that is whole and sets aside what is damaged, or came after it.

    Args:
        store: The checkpoints; loaded.
        state: What to assign. Nothing is, if anything is raised before TensorFlow begins to.
        damaged: What `load` found.

    Returns:
        The manifest of what was restored; None if there is no checkpoint.

    Raises:
        CorruptCheckpoint: If there are checkpoints and none is whole. If one is, the others are warnings.
        ValueError: If it belongs to another model, optimizer or data, with all differences.
        RuntimeError: If the values after restoring are not those that were saved.
    """
    records = {record.stem for record in store.records()}
    pin, more = store.newest(records)
    if pin is None:
        _raise_if_any(store, [*damaged, *more])
        return None
    with contextlib.closing(pin):
        manifest = pin.manifest
        _warn(manifest, [*damaged, *more])
        _refuse(store, manifest, state.differences(manifest.description))
        later = [s for s in store.stems() if s not in records or order(s) > order(manifest.record.stem)]
        store.set_aside(later)
        state.restore(pin.prefix, manifest.notes)
        state.position.torn = True  # until seen to be otherwise
        _compare(manifest, state.variables)
        state.position.torn = False
    log.info("Restored %s in %s.", manifest.record.stem, store.files.where)
    return manifest


def restore(directory: str | os.PathLike[str], state: Mapping[str, object], *, which: str | int = "latest") -> int:
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
        ValueError: If `state` has other variables, shapes or dtypes, with all differences; nothing is assigned.
    """
    if which not in ("latest", "best") and (isinstance(which, bool) or not isinstance(which, int)):
        raise ValueError(f"restore(which=...) must be 'latest', 'best' or a step. Received: {which!r}.")
    own = TrainingState(state)
    with contextlib.closing(open_files(directory, make=False)) as files:
        store = Store(files)
        with contextlib.closing(_pinned(store, which)) as pin:
            mine, saved = own.given(), pin.manifest.description["variables"]
            now = {path: [*variable.shape.as_list(), variable.dtype.name] for path, variable in mine.items()}
            keys = tuple(f"{prefix}{key}/" for key in state for prefix in ("", "extra/"))
            then = {path: saved[path] for path in saved if f"{path}/".startswith(keys)}
            other = [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)]
            absent = "missing"
            lines = [f"{p}: {then.get(p, absent)} in the checkpoint, {now.get(p, absent)} now" for p in other]
            _refuse(store, pin.manifest, lines)
            own.root.restore(pin.prefix).expect_partial()
            _compare(pin.manifest, mine)
            return pin.manifest.record.step


def _pinned(store: Store, which: str | int) -> Pin:
    for _ in range(TRIES):
        stems = store.stems()
        wanted = _wanted(store, stems, which)
        if not wanted:
            there = ", ".join(stems) or "none"
            raise FileNotFoundError(f"No checkpoint {which!r} is in {store.files.where!r}. There are: {there}.")
        damaged: list[CorruptCheckpoint] = []
        for stem in wanted:
            try:
                pin = store.pin(stem)
            except CorruptCheckpoint as error:
                damaged += [error] if stem in store.stems() else []  # else it was removed just now
                continue
            _warn(pin.manifest, damaged)
            return pin
        _raise_if_any(store, damaged)
    raise FileNotFoundError(f"Checkpoints in {store.files.where!r} are removed faster than they can be read.")


def _wanted(store: Store, stems: Sequence[str], which: str | int) -> list[str]:
    """Returns the stems to try, one after the other."""
    if which == "latest":
        return list(reversed(stems))
    if which != "best":
        return [stem for stem in reversed(stems) if stem in (f"ckpt-{which}", f"pending-{which}")]
    records = []
    for stem in stems:
        with contextlib.suppress(CorruptCheckpoint):
            records.append(store.read(stem).record)
    named = next((record.best for record in reversed(records) if record.best), None)
    return [record.stem for record in ranked(records, str(named["name"]), str(named["mode"]))] if named else []


def _raise_if_any(store: Store, damaged: Sequence[CorruptCheckpoint]) -> None:
    if damaged:
        listed = "\n  ".join(f"{each.file}: {each.reason}" for each in damaged)
        raise CorruptCheckpoint(store.files.where, f"no checkpoint is whole; nothing was changed:\n  {listed}")


def _warn(manifest: Manifest, damaged: Sequence[CorruptCheckpoint]) -> None:
    for each in damaged:
        instead = f"The one of step {manifest.record.step} is used instead."
        warnings.warn(CorruptCheckpoint(each.file, each.reason, instead), stacklevel=2)


def _refuse(store: Store, manifest: Manifest, differences: Sequence[str]) -> None:
    if differences:
        raise ValueError(
            f"The checkpoint {manifest.record.stem} in {store.files.where!r} does not fit. Nothing was restored:\n  "
            + "\n  ".join(differences)
            + "\nUndo the change; a run can start afresh with resume='never' or another directory."
        )


def _compare(manifest: Manifest, variables: Mapping[str, tf.Variable]) -> None:
    """Raises if a variable has not the value that was saved. It would be a defect of TensorFlow, or of this package."""
    saved = dict(zip(manifest.description["variables"], manifest.digests, strict=True))
    wrong = [path for path, variable in variables.items() if digest(variable.read_value()) != saved.get(path, "new")]
    if wrong := [path for path in wrong if path in saved]:
        raise RuntimeError(
            f"After restoring {manifest.record.stem}, these have other values than were saved: {', '.join(wrong)}. "
            "Training must not go on from here; the checkpoint is as it was."
        )
