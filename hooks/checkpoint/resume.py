"""Takes over what is in a checkpoint: the whole state by a resumed run, or some of it by any script."""

import contextlib
import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from hooks.checkpoint.files import Files
from hooks.checkpoint.fit import OR_WARN, REMEDY, agree, agree_later, digests, refuse
from hooks.checkpoint.graph import CheckpointNames
from hooks.checkpoint.local import LocalFiles
from hooks.checkpoint.manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint.remote import RemoteFiles
from hooks.checkpoint.retention import ranks
from hooks.checkpoint.store import Pin, Store, order
from hooks.checkpoint.writer import is_comparable
from hooks.places import is_remote, place_to_read
from loop import TrainingState, digest

log = logging.getLogger("exactloop")
ITERATIONS = "/_iterations"  # which each optimizer has
TRIES_OF_NONE = 20  # how often a listing without any checkpoint is made again
TRIES = 100  # how often a reader looks again when a trainer has removed what it was about to read


def open_files(directory: str | os.PathLike[str], *, make: bool = True) -> Files:
    """Opens a directory of checkpoints.

    Args:
        directory: A path, or an address such as `gs://...`; not one that is yet to be put elsewhere.
        make: Whether to make it if it is missing.

    Raises:
        FileNotFoundError: If it is missing, and not to be made.
        NotADirectoryError: If it is a file, or below one.
        PermissionError: If it cannot be made.
    """
    path = os.fsdecode(directory)
    return RemoteFiles(path, make=make) if is_remote(path) else LocalFiles(os.path.abspath(path), make=make)


def resume(
    store: Store,
    state: TrainingState,
    damaged: Sequence[CorruptCheckpoint],
    *,
    changed: str,
    found: Callable[[Manifest], object] = lambda manifest: None,
) -> Manifest | None:
    """Restores the newest checkpoint that is whole and sets aside what is damaged, or came after it.

    Args:
        store: The checkpoints; loaded.
        state: What to assign. If anything is raised before all of it is, it is left as it was.
        damaged: What `load` found.
        changed: "refuse" or "warn" where the run would go on with other numbers.
        found: Called with its manifest before anything is compared.

    Returns:
        The manifest of what was restored; None if there is no checkpoint.

    Raises:
        CorruptCheckpoint: If there are checkpoints and none is whole. If one is, the others are warnings.
        ValueError: If it belongs to another model, optimizer or data, or, with changed="refuse", to other steps, other
            contents of the data, another seed or other settings; with all differences. Those that only reading the
            data again would show are looked for if there are no others.
        RuntimeError: If the values after restoring are not those that were saved.
    """
    latest = state.position.latest
    records = {record.stem for record in store.records() if latest is None or record.step <= latest}
    pin, more = store.newest(records)
    if pin is None:
        _raise_if_any(store, [*damaged, *more])
        return None
    with contextlib.closing(pin):
        manifest = pin.manifest
        _warn(manifest, [*damaged, *more])
        found(manifest)

        def set_aside() -> None:
            store.set_aside([s for s in store.stems() if s not in records or order(s) > order(manifest.record.stem)])

        taken_over(store, state, pin, changed=changed, then=set_aside)
    if not state.steps:
        state.unchecked.append(functools.partial(agree_later, store, manifest, changed=changed))
    log.info("Restored %s in %s.", manifest.record.stem, store.files.where)
    return manifest


def taken_over(
    store: Store, state: TrainingState, pin: Pin, *, changed: str, then: Callable[[], object] = lambda: None
) -> None:
    """Restores a checkpoint, and compares what came of it. Raises as `resume` does.

    Args:
        store: Where it is.
        state: What to assign. If anything is raised before all of it is, it is left as it was.
        pin: The checkpoint.
        changed: "refuse" or "warn" where the run would go on with other numbers.
        then: Called when all is seen to be right, before the run may go on.
    """
    manifest = pin.manifest
    with state.unless_raised():
        state.recall(manifest.notes)
        accepted, settings = agree(store, state, pin, changed=changed)
        seen = _sought(store, state, manifest)
        moved = seen if is_comparable(manifest) else []
        refuse(store, manifest, [] if changed == "warn" else moved, REMEDY + OR_WARN)
        for line in [*accepted, *moved]:
            warnings.warn(f"The run goes on with other numbers: {line}.", stacklevel=2)
        state.restore(pin.prefix)
    state.position.torn = True  # until seen to be otherwise
    _compare(pin, state.variables)
    _compare_place(store, manifest, state)
    then()
    state.set_again(settings)
    state.position.torn = False


def go_on(store: Store, step: int, damaged: Sequence[CorruptCheckpoint]) -> None:
    """Without restoring anything, sets aside what is damaged, and what another line of training has left after `step`.

    Args:
        store: The checkpoints; loaded.
        step: Train steps completed.
        damaged: What `load` found.
    """
    for each in damaged:
        warnings.warn(CorruptCheckpoint(each.file, each.reason, "It is set aside."), stacklevel=2)
    records = {record.stem for record in store.records()}
    store.set_aside([s for s in store.stems() if s not in records or order(s) > (step, True)])


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
        RuntimeError: If a later version of this package wrote it.
        ValueError: If an argument cannot be used, or `state` has other variables, shapes or dtypes: all differences are
            listed, and nothing is assigned.
    """
    wanted = which if which in ("latest", "best") else _step(which)
    if isinstance(state, Mapping) and not state:
        raise ValueError("restore() needs what is to be restored, as in state={'model': model}. Received: nothing.")
    own = TrainingState(state)
    with contextlib.closing(open_files(place_to_read(directory), make=False)) as files:
        store = Store(files)
        for _ in range(TRIES):
            with contextlib.closing(_pinned(store, wanted)) as pin:
                try:
                    refuse(store, pin.manifest, _differences(own, tuple(state), pin), "Build it as it was then")
                    own.take_over(pin.prefix)
                except tf.errors.OpError:
                    if pin.manifest.record.stem in store.stems():
                        raise
                    continue  # removed while it was read, at an address where nothing can be pinned
                _compare(pin, own.given())
                return pin.manifest.record.step
        raise FileNotFoundError(f"Checkpoints in {files.where!r} are removed faster than they can be read.")


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
    within = [each for each in _of_optimizers(own, saved) if not any(path.startswith(each) for path in mine)]
    below = tuple(f"{prefix}{key}/" for key in keys for prefix in ("", "extra/"))
    unknown = names.of(path for path in saved if f"{path}/".startswith(below) and not path.startswith((*within,)))
    now = {path: [*variable.shape.as_list(), variable.dtype.name] for path, variable in mine.items()}
    then = {path: names.describe(name) for path, name in found.items()}
    then |= {path: names.describe(name) for path, name in unknown.items() if name not in covered}
    other, absent = [path for path in sorted({*now, *then}) if now.get(path) != then.get(path)], "missing"
    return [f"{p}: {then.get(p, absent)} in the checkpoint, {now.get(p, absent)} now" for p in other]


def _of_optimizers(own: TrainingState, paths: Iterable[str]) -> list[str]:
    """Returns what the paths of an optimizer within a model begin with: who wants its weights need not compile it."""
    models = tuple(f"{path}/" for path in own.objects(keras.Model))
    return [
        path.removesuffix(ITERATIONS[1:]) for path in paths if path.endswith(ITERATIONS) and path.startswith(models)
    ]


def _pinned(store: Store, which: str | int) -> Pin:
    """Returns the first that is whole of those that are wanted; warns of those that come before it.

    A trainer may remove what has just been listed, and a listing may miss what it renames meanwhile. So what is gone
    is no reason to take an older one, but to list again; and "latest" is no older than what was there at first.
    """
    then = max(map(order, [*_listed(store), *store.stems()]), default=None)
    for _ in range(TRIES):
        stems, damaged = _listed(store), dict[str, CorruptCheckpoint]()
        wanted = _best(store, stems, damaged) if which == "best" else list(reversed(stems))
        if isinstance(which, int):
            wanted = [stem for stem in wanted if stem in (f"ckpt-{which}", f"pending-{which}")]
        for stem in wanted:
            try:
                pin = store.pin(stem)
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
            _warn(pin.manifest, [error for each, error in damaged.items() if each in now])
            return pin
        else:
            now = store.stems()
            still = [error for each, error in damaged.items() if each in now]
            if isinstance(which, int) and still:
                raise still[0]
            _raise_if_any(store, still)
            if not damaged:
                there = ", ".join(stems) or "none"
                raise FileNotFoundError(f"No checkpoint {which!r} is in {store.files.where!r}. There are: {there}.")
    raise FileNotFoundError(f"Checkpoints in {store.files.where!r} are removed faster than they can be read.")


def _listed(store: Store) -> list[str]:
    """Returns the stems there are. A listing that has none is made again: it may have missed a rename."""
    for _ in range(TRIES_OF_NONE):
        if stems := store.stems():
            return stems
        time.sleep(0.005)
    return []


def _best(store: Store, stems: Sequence[str], damaged: dict[str, CorruptCheckpoint]) -> list[str]:
    """Returns the stems of those that have a value of the metric that was watched, the best first."""
    records = []
    for stem in stems:
        try:
            records.append(store.glance(stem).record)
        except CorruptCheckpoint as error:
            damaged[stem] = error
    named = next((record.best for record in reversed(records) if record.best), None)
    return [stem for *_, stem in ranks(records, str(named["name"]), str(named["mode"]))] if named else []


def _raise_if_any(store: Store, damaged: Sequence[CorruptCheckpoint]) -> None:
    if damaged:
        listed = "\n  ".join(f"{each.file}: {each.reason}" for each in damaged)
        raise CorruptCheckpoint(store.files.where, f"no checkpoint is whole; nothing was changed:\n  {listed}")


def _warn(manifest: Manifest, damaged: Sequence[CorruptCheckpoint]) -> None:
    for each in damaged:
        instead = f"The one of step {manifest.record.step} is used instead."
        warnings.warn(CorruptCheckpoint(each.file, each.reason, instead), stacklevel=2)


def _sought(store: Store, state: TrainingState, manifest: Manifest) -> list[str]:
    try:
        return state.seek(manifest.notes)
    except (KeyError, OverflowError) as error:
        file = f"{store.files.where}/{manifest.record.stem}.json"
        raise CorruptCheckpoint(file, f"what it notes of the data is not what such data note: {error!r:.80}") from error


def _compare_place(store: Store, manifest: Manifest, state: TrainingState) -> None:
    """Raises if the run stands elsewhere than its manifest says: somebody has put them together."""
    place = state.position.place()._asdict()
    if place != manifest.notes["place"]:
        raise CorruptCheckpoint(
            f"{store.files.where}/{manifest.record.stem}.json",
            f"it says {manifest.notes['place']}, and what it is the manifest of was saved at {place}. "
            "Training must not go on from here",
        )


def _compare(pin: Pin, variables: Mapping[str, tf.Variable]) -> None:
    """Raises if a variable has not the value that was saved: by a defect, or because files were exchanged."""
    saved = digests(pin, variables)
    wrong = [path for path, variable in variables.items() if digest(variable.read_value()) != saved.get(path, "new")]
    if wrong := [path for path in wrong if path in saved]:
        raise RuntimeError(
            f"After restoring {pin.manifest.record.stem}, these have other values than were saved: {', '.join(wrong)}. "
            "Training must not go on from here; the checkpoint is as it was."
        )
