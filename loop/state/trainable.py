"""Which weights are trainable, in a program now and in the one that a checkpoint is of."""

from collections.abc import Mapping, Set

import keras
import tensorflow as tf

from loop.state.differences import Description, Differences
from loop.state.variables import flat, layers, optimizers
from loop.tensors import raw
from loop.tf_internals import flatten_layers, iterations, own_trainable, trained_by

MOST = 6  # names of layers in a line


def trainable_flags(given: Mapping[str, object], variables: Mapping[str, tf.Variable]) -> dict[str, object]:
    """Returns a digit for each variable, 1 if it is a weight of a Keras layer that is trainable; nothing without any.

    Args:
        given: What was given as `state=`.
        variables: Every variable of the state.
    """
    # Without those within a layer that is frozen, whatever they say themselves.
    trainable = {id(raw(v)) for layer in _tops(given) for v in layer.trainable_variables}
    return {"weights": "".join(str(int(id(v) in trainable)) for v in variables.values())} if _tops(given) else {}


def with_trainable(
    found: Differences,
    given: Mapping[str, object],
    variables: Mapping[str, tf.Variable],
    then: Description,
    now: Description,
) -> Differences:
    """Returns differences with one line about what is trainable, in the place of those that follow from it.

    Args:
        found: All of them.
        given: What was given as `state=`.
        variables: Every variable of the state.
        then: What `TrainingState.describe` said when a checkpoint was made.
        now: What it says now.
    """
    said, others = _trainable_changed(given, variables, then, now)
    if not said:
        return found
    return found.summed_up(f"trainable: {said}", _paths_of_optimizers(given, variables), numbers=not others)


def _trainable_changed(
    given: Mapping[str, object], variables: Mapping[str, tf.Variable], then: Description, now: Description
) -> tuple[str, bool]:
    """Returns which layers are trainable now and were not, or were and are not, in words; empty if all is equal.

    And whether an optimizer has other weights to train for that, which TensorFlow cannot restore.
    """
    before, after = (
        # Of a state without layers, nothing is said.
        dict(zip(said["variables"], said.get("trainable", {}).get("weights", ""), strict=False))
        for said in (then, now)
    )
    # What an optimizer trains is a list of its own in TensorFlow's object graph, which restores by the place in it.
    listed = {id(raw(v)) for optimizer in optimizers(given) for v in trained_by(optimizer)}
    lines, others = [], False
    for word, had, has in (("more", before, after), ("fewer", after, before)):
        other = {id(variables[path]) for path in has if has[path] == "1" and had.get(path) == "0"}
        names = list(dict.fromkeys(name for layer in _tops(given) for name in _names(layer, other)))
        others = others or bool(other & listed if word == "more" else other - listed)
        if names:
            more = f" and {len(names) - MOST} others" if len(names) > MOST else ""
            of = "1 layer" if len(names) == 1 else f"{len(names)} layers"
            lines.append(f"{of} {word}: {', '.join(names[:MOST])}{more}")
    return "; ".join(lines), others


def _paths_of_optimizers(given: Mapping[str, object], variables: Mapping[str, tf.Variable]) -> tuple[str, ...]:
    """Returns what the paths of variables of optimizers begin with."""
    paths = {id(variable): path for path, variable in variables.items()}
    return tuple(f"{paths[id(raw(iterations(each)))].rpartition('/')[0]}/" for each in optimizers(given))


def _tops(given: Mapping[str, object]) -> list[keras.Layer]:
    """Returns the layers that were given, and those in modules; not what is within layers."""
    found = [layer for value in flat(given) for layer in ([value] if isinstance(value, keras.Layer) else layers(value))]
    return list({id(layer): layer for layer in found}.values())


def _names(layer: keras.Layer, other: Set[int]) -> list[str]:
    """Returns the names of the layers that are trainable on one side only: the largest that are so wholly.

    Args:
        layer: Where to look.
        other: The ids of the variables that are trainable on one side only.
    """
    mine = {id(raw(variable)) for each in flatten_layers(layer) for variable in own_trainable(each)}
    if not mine & other:
        return []
    # Changed as a whole, it is named as a whole.
    below = [] if mine <= other else flatten_layers(layer, include_self=False, recursive=False)
    return [name for each in below for name in _names(each, other)] or [layer.name]
