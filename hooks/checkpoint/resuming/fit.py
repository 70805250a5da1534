"""Whether a run can go on from a checkpoint: what has changed, what follows from it, and what to do."""

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.record.environment import BUILDERS, changes, environment
from hooks.checkpoint.record.manifest import Manifest
from hooks.checkpoint.record.tensors import CheckpointNames, read_tensors
from hooks.checkpoint.record.writer import as_written, is_comparable, not_comparable, written_by
from loop import TrainingState, digest

REMEDY = "Undo the change, or start afresh with resume='never' or another directory"
OR_WARN = "; or go on with the change: Checkpoint(..., resume_changed='warn')"
OR_WEIGHTS = "; or begin another run with these weights: in another directory, and with {} before the loop is made"
OR_AUDIT = "; or, if the program sets that between two runs, write loop.audit() before the first: it is compared there"
PLACES = (("state: ", " "), ("variables: ", "/"), ("variables: extra/", "/"))  # where lines on what was given begin
ADAPT = (
    "Call adapt on the same data in the same order before the loop is made, which takes a seed if they are shuffled, "
    "or, instead, {}; or start afresh in another directory"
)


class Accepted(NamedTuple):
    """What is to be done about the changes with which a run may go on.

    Attributes:
        lines: What to warn of.
        settings: The paths of variables that get what the program sets them to.
    """

    lines: list[str]
    settings: list[str]


def agree(store: Store, state: TrainingState, pin: Pin, *, changed: str) -> Accepted:
    """Compares a checkpoint with the program. Nothing is assigned, and no data are read.

    Args:
        store: Where it is.
        state: The state of the run that is to go on from it.
        pin: The checkpoint.
        changed: "refuse" or "warn" where the run would go on with other numbers.

    Raises:
        ValueError: If it does not fit, with all differences and what to do.
    """
    manifest = pin.manifest
    hashes = is_comparable(manifest)
    found = state.differences(manifest.description, hashes=hashes)
    if not hashes:
        warnings.warn(not_comparable(manifest), stacklevel=3)
    # Of few variables: where hashes cannot be compared, these are read from the files.
    saved = digests(pin, [*state.settings, *_deriving(state).values()])
    # Not one that has come to what the program sets now, by a hook or by hand.
    settings = {p: line for p, line in found.settings.items() if digest(state.settings[p].value) != saved.get(p)}
    # Other shapes cannot be put into the layers to see what they derive.
    derived = [] if found.structure else _derived(state, pin, saved)
    numbers, traced = [*found.numbers, *settings.values()], [] if derived else found.traced  # which would follow
    surroundings = changes(manifest.made, environment())
    for line in surroundings:
        warnings.warn(f"The bits of the run may be others from here on: {line}.", stacklevel=3)
    # Another TensorFlow builds other operations of the same steps: what differs by that, the program has not changed.
    by_version = any(line.startswith(BUILDERS) for line in surroundings)
    accepted = [*numbers, *traced] if changed == "warn" else traced if by_version else []
    refused = [line for line in (*numbers, *traced) if line not in accepted]
    # A later run was saved than this one, which has nothing left to do: the program may set these before that one.
    record = manifest.record
    if state.passed(record.step, record.epoch, record.step_in_epoch) and (yet := {*found.yet_to_come()} & {*refused}):
        refused = [line for line in refused if line not in yet]
        state.unchecked.append(functools.partial(_agree_at_last, store, manifest))
    weights = _restoring(store, state)
    remedy = ADAPT.format(weights) if derived else REMEDY if found.structure else REMEDY + OR_WARN
    fitting = found.structure and _have_equal_weights(state, found.structure)
    remedy += OR_WEIGHTS.format(weights) if (found.trainable or fitting) and not derived else ""
    refuse(store, manifest, [*found.structure, *derived, *refused], remedy)
    return Accepted(accepted, list(settings))


def _agree_at_last(store: Store, manifest: Manifest, state: TrainingState) -> None:
    """Compares what a program sets between two runs, before it trains on. See `agree`."""
    with as_written(manifest):
        found = state.differences(manifest.description, hashes=is_comparable(manifest))
    refuse(store, manifest, found.yet_to_come(), REMEDY + OR_WARN, done="Nothing was trained")


def agree_later(store: Store, manifest: Manifest, state: TrainingState, *, changed: str) -> None:
    """Compares what only a trace shows, when it is made after restoring. See `agree`."""
    with as_written(manifest):
        found = state.differences(manifest.description, hashes=is_comparable(manifest))
    by_version = any(line.startswith(BUILDERS) for line in changes(manifest.made, environment()))
    # The other numbers were compared before restoring, by `agree`.
    lines = [*(line for line in found.numbers if line == found.trainable), *found.traced]
    refused = [] if by_version or changed == "warn" else lines
    # Values were taken over by now, so it says "Nothing was trained" and not that nothing was restored.
    remedy = REMEDY + OR_WARN + (OR_WEIGHTS.format(_restoring(store, state)) if found.trainable else "")
    remedy += OR_AUDIT if {*found.yet_to_come()} & {*refused} else ""
    refuse(store, manifest, [*found.structure, *refused], remedy, done="Nothing was trained")
    for line in lines:
        warnings.warn(f"The run goes on with other numbers: {line}.", stacklevel=2)


def _have_equal_weights(state: TrainingState, structure: Sequence[str]) -> bool:
    """Returns whether layers and modules have the variables that they had, whatever else is not as it was."""
    keys = state.keys_of_weights()
    theirs = (f"{place}{key}{end}" for key in keys for place, end in PLACES)
    return bool(keys) and not any(line.startswith((*theirs,)) for line in structure)


def _restoring(store: Store, state: TrainingState) -> str:
    """Returns what a script writes to take over the weights alone."""
    keys = ", ".join(f"{key!r}: {key}" for key in state.keys_of_weights())
    return f"restore({store.files.where!r}, {{{keys}}})"


def refuse(
    store: Store, manifest: Manifest, differences: Sequence[str], remedy: str, *, done: str = "Nothing was restored"
) -> None:
    """Raises `ValueError` if there are differences."""
    if differences:
        raise ValueError(
            f"The checkpoint {manifest.record.stem} in {store.files.where!r}{written_by(manifest)} does not fit. "
            f"{done}:\n  " + "\n  ".join(differences) + f"\n{remedy}."
        )


def digests(pin: Pin, paths: Iterable[str]) -> dict[str, str]:
    """Returns the digests of variables by their paths, of those that are in a checkpoint.

    If those in its manifest were made in another way, they are made of what is in its files.
    """
    if is_comparable(pin.manifest):
        return dict(zip(pin.manifest.description["variables"], pin.manifest.digests, strict=True))
    return {path: digest(value) for path, value in values(pin, paths).items()}


def values(pin: Pin, paths: Iterable[str]) -> dict[str, tf.Tensor]:
    """Returns the values of variables by their paths, of those that are in a checkpoint."""
    variables: Mapping[str, Any] = pin.manifest.description["variables"]
    names = CheckpointNames(pin.prefix, variables).of(path for path in paths if path in variables)
    # Of several paths to one variable, it is read once.
    found = read_tensors(pin.prefix, {name: tf.as_dtype(variables[path][-1]) for path, name in names.items()})
    return {path: found[name] for path, name in names.items()}


def _deriving(state: TrainingState) -> dict[int, str]:
    """Returns the paths of variables from which layers derive values, by the ids of the variables."""
    paths = {id(variable): path for path, variable in state.variables.items()}
    return {id(variable): paths[id(variable)] for variable in state.derived.variables() if id(variable) in paths}


def _derived(state: TrainingState, pin: Pin, saved: Mapping[str, str]) -> list[str]:
    """Returns a line for each layer whose derived values, which are traced, are others with what was saved."""
    deriving = _deriving(state)
    # Nearly always so: then nothing is read, and no layer asked to derive anything.
    if all(digest(state.variables[path].read_value()) == saved[path] for path in deriving.values()):
        return []
    found = values(pin, deriving.values())
    return [
        f"layer {name!r} computes with values that it derives from its variables, which in the checkpoint are others"
        for name in state.derived.other_with({key: found[path] for key, path in deriving.items()})
    ]
