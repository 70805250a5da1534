"""Takes over what is in a checkpoint: the whole state, by a resumed run. `reader.py` is for scripts."""

import contextlib
import functools
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.stems import ROWS, order
from hooks.checkpoint.record.manifest import CorruptCheckpoint, Manifest
from hooks.checkpoint.record.rows import decoded
from hooks.checkpoint.record.writer import as_written, is_comparable
from hooks.checkpoint.resuming.fit import OR_WARN, REMEDY, agree, agree_later, digests, refuse, values
from loop import TrainingState, digest
from loop.tf_internals import Tensors

GLOBAL = "random/tensorflow/"
OF_ITS_OWN = (
    "The loop stands at step %d, which it has trained itself, and goes on from there, not from %s in %s. A run goes on "
    "from a checkpoint if the loop is given its Checkpoint before its first run()."
)
log = logging.getLogger("exactloop")


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
    latest = state.position.latest  # of a rollback: what came after this step is condemned
    records = {record.stem for record in store.records() if latest is None or record.step <= latest}
    # Hashes all of its files, so a large state takes as long as it takes to read it.
    pin, more = store.newest(records)
    # Nothing is set aside then: perhaps the disk is away, and all of it is whole tomorrow.
    if pin is None:
        raise_if_any(store, [*damaged, *more])
        return None
    with contextlib.closing(pin):
        manifest = pin.manifest
        warn(manifest, [*damaged, *more])
        found(manifest)

        # Only once the values are seen to be right: a resume that fails leaves the directory as it was.
        def set_aside() -> None:
            store.set_aside([s for s in store.stems() if s not in records or order(s) > order(manifest.record.stem)])

        taken_over(store, state, pin, changed=changed, then=set_aside)
    # Nothing was left to run, so nothing is traced yet; if it comes to that, it is compared then.
    if not state.steps:
        state.unchecked.append(functools.partial(agree_later, store, manifest, changed=changed))
    log.info("Restored %s in %s.", manifest.record.stem, store.files.where)
    if gone := _hooks(manifest.description["variables"]) - _hooks(state.variables):
        log.warning(
            "%s holds what was kept by hooks that are not here now: %s. It is left out, unless they are added before "
            "the next run(), and what they set in the state, such as a learning rate, stays as they left it. A hook "
            "that was renamed needs its former name.",
            manifest.record.stem, ", ".join(map(repr, sorted(gone))),
        )  # fmt: skip
    if new := _hooks(state.variables) - _hooks(manifest.description["variables"]):
        log.warning(
            "%s holds nothing of hooks that are here now: %s. They begin anew. Where a program takes a hook out "
            "between two runs, this one is not what it was: give what comes after that a Loop, and a directory, of "
            "its own.",
            manifest.record.stem, ", ".join(map(repr, sorted(new))),
        )  # fmt: skip
    if any(path.startswith(GLOBAL) for path in {*manifest.description["variables"]} - {*state.variables}):
        log.warning(
            "%s holds the state of TensorFlow's global generator, and nobody has made that here yet. It is left out, "
            "unless tf.random.set_global_generator, or get_global_generator, is called before the next run().",
            manifest.record.stem,
        )
    return manifest


def _hooks(paths: Iterable[str]) -> set[str]:
    """Returns the names of the hooks that variables belong to."""
    return {path.split("/")[1] for path in paths if path.startswith("hooks/")}


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
    manifest, state.unchecked = pin.manifest, []
    # What was there is held meanwhile, so a resume takes the memory of the state twice.
    with state.unless_raised(), as_written(manifest):
        state.rows.recall(manifest.notes["data"], functools.partial(kept_rows, store, pin), sure=changed == "warn")
        # First what moves nothing, then what reads data, and only then what assigns.
        accepted, settings = agree(store, state, pin, changed=changed)
        for path, value in (values(pin, paths) if (paths := state.of_data()) else {}).items():
            state.variables[path].assign(value)
        seen = _sought(store, state, manifest)
        moved = seen if is_comparable(manifest) else []
        refuse(store, manifest, [] if changed == "warn" else moved, REMEDY + OR_WARN)
        for line in [*accepted, *moved]:
            warnings.warn(f"The run goes on with other numbers: {line}.", stacklevel=2)
        state.restore(pin.prefix)
    # Not undone if it raises: the loop refuses to train, or to save, what is torn.
    with state.restoring():
        compare(pin, state.variables)
        _compare_place(store, manifest, state)
        then()
        state.set_again(settings)  # what the program sets now, with resume_changed="warn"


def continue_unrestored(store: Store, state: TrainingState, damaged: Sequence[CorruptCheckpoint]) -> None:
    """Without restoring anything, sets aside what is damaged, and what another line of training has left ahead.

    Args:
        store: The checkpoints; loaded.
        state: The state of the run.
        damaged: What `load` found.
    """
    for each in damaged:
        warnings.warn(CorruptCheckpoint(each.file, each.reason, "It is set aside."), stacklevel=2)
    records, here = {record.stem for record in store.records()}, (state.position.place().step, True)
    later = sorted((stem for stem in records if order(stem) > here), key=order)
    store.set_aside([s for s in store.stems() if s not in records or s in later])
    # Not where another Checkpoint has restored what is here.
    if later and not state.position.untouched:
        log.warning(OF_ITS_OWN, here[0], later[-1], store.files.where)


def raise_if_any(store: Store, damaged: Sequence[CorruptCheckpoint]) -> None:
    """Raises what is wrong with checkpoints of which none is whole."""
    if damaged:
        listed = "\n  ".join(f"{each.file}: {each.reason}" for each in damaged)
        raise CorruptCheckpoint(store.files.where, f"no checkpoint is whole; nothing was changed:\n  {listed}")


def warn(manifest: Manifest, damaged: Sequence[CorruptCheckpoint]) -> None:
    """Warns of checkpoints in the place of which an older one is used."""
    for each in damaged:
        instead = f"The one of step {manifest.record.step} is used instead."
        warnings.warn(CorruptCheckpoint(each.file, each.reason, instead), stacklevel=2)


def kept_rows(store: Store, pin: Pin) -> Tensors:
    """Returns the rows in memory that were kept with a checkpoint; nothing, if none were."""
    name = f"{pin.manifest.record.stem}{ROWS}"
    if name not in pin.manifest.files:
        return {}
    try:
        with tf.io.gfile.GFile(f"{pin.prefix}{ROWS}", "rb") as file:
            return decoded(file.read())
    except ValueError as error:
        raise CorruptCheckpoint(f"{store.files.where}/{name}", f"its SHA-256 is right, but {error}") from error


def _sought(store: Store, state: TrainingState, manifest: Manifest) -> list[str]:
    try:
        return state.seek(manifest.notes)
    except (KeyError, OverflowError) as error:  # of a manifest whose hash is right, for data of another kind
        file = f"{store.files.where}/{manifest.record.stem}.json"
        raise CorruptCheckpoint(file, f"what it notes of the data is not what such data note: {error!r:.80}") from error


def _compare_place(store: Store, manifest: Manifest, state: TrainingState) -> None:
    """Raises if the run stands elsewhere than its manifest says: somebody has put them together."""
    place = state.position.place()._asdict()
    # The manifest is hashed by itself and so are the files, so a pair that was exchanged shows only here.
    if place != manifest.notes["place"]:
        raise CorruptCheckpoint(
            f"{store.files.where}/{manifest.record.stem}.json",
            f"it says {manifest.notes['place']}, and what it is the manifest of was saved at {place}. "
            "Training must not go on from here",
        )


def compare(pin: Pin, variables: Mapping[str, tf.Variable]) -> None:
    """Raises if a variable has not the value that was saved: by a defect, or because files were exchanged."""
    saved = digests(pin, variables)
    # Hashes the whole state once more, in memory: what was restored is not always what is in the file.
    wrong = [path for path, variable in variables.items() if digest(variable.read_value()) != saved.get(path, "new")]
    if wrong := [path for path in wrong if path in saved]:
        raise RuntimeError(
            f"After restoring {pin.manifest.record.stem}, these have other values than were saved: {', '.join(wrong)}. "
            "Training must not go on from here; the checkpoint is as it was."
        )
