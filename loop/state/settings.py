"""What a program sets in variables, such as a learning rate: their values before anything is trained or restored."""

import weakref
from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from loop.digest import digest
from loop.state.variables import all_layers, flat, keras_variables, nodes, optimizers
from loop.tensors import raw
from loop.tf_internals import iterations, own_seed_generators, own_trainable

Said = int | float | str
DRAWN = 100_000  # seeds below it were given: drawn ones are of up to 10^9, and no two starts draw two such small ones


class Setting(NamedTuple):
    """One thing that the program sets.

    Attributes:
        name: What to call it.
        said: What it is set to, in JSON values, of which no number is rounded.
        value: The value of the variable.
    """

    name: str
    said: Said
    value: tf.Tensor


def settings(
    given: Mapping[str, object],
    variables: Mapping[str, tf.Variable],
    *,
    is_constant: Callable[[tf.Variable], bool],
    used: Set[int],
) -> dict[str, Setting]:
    """Returns what is set now, by the path of its variable.

    That is: the scalars of optimizers; other scalars that steps read and do not change, or that are not trainable;
    seeds that were given, as in `SeedGenerator(1)`. Not: weights that can be trained, which begin with random numbers;
    seeds that were drawn, as far as can be told.

    Args:
        given: What was given as `state=`.
        variables: Its variables by path.
        is_constant: Whether no step changes a variable.
        used: The ids of the variables that the steps compute with, but for those from which layers derive values.
    """
    paths = {id(variable): path for path, variable in variables.items()}
    of_optimizers = {
        id(raw(variable)): f"{paths[id(raw(iterations(optimizer)))].rpartition('/')[0]}.{attribute.lstrip('_')}"
        for optimizer in optimizers(given)
        for attribute, variable in tf.train.TrackableView(optimizer).children(optimizer).items()
        # That one counts steps, and is set by nobody.
        if isinstance(variable, keras.Variable) and variable is not iterations(optimizer)
    }
    others = [*optimizers(given), *(part for part in flat(given) if isinstance(part, keras.Metric))]
    # These begin with random numbers, which say nothing of the program.
    trained = [v for layer in all_layers(given) for v in own_trainable(layer)]
    apart = {id(raw(v)) for v in (*keras_variables(others), *trained)}
    found = {}
    for path, variable in variables.items():
        # What steps train, or count in, is no setting.
        free = id(variable) in used - apart and (is_constant(variable) or not variable.trainable)
        if variable.shape == [] and (id(variable) in of_optimizers or free):
            value = _before(variable)
            if (said := _plain_value(value)) is not None:
                found[path] = Setting(of_optimizers.get(id(variable), path), said, value)
    return found | {paths[key]: setting for key, setting in _seeds(given).items() if key in paths}


def settings_changed(now: Mapping[str, Setting], then: Mapping[str, object]) -> dict[str, str]:
    """Returns a line for each setting that is not what it was, by its path."""
    return {
        path: f"{name} was {_shown(then[path], value)} when the checkpoint's run began and is {_shown(said, value)} in "
        "the program now"
        for path, (name, said, value) in now.items()
        if path in then and repr(said) != repr(then[path])  # repr, because NaN is not NaN
    }


def _seeds(given: Mapping[str, object]) -> dict[int, Setting]:
    """Returns the seeds that were given, by the id of the variable that has the state of their stream."""
    found = {}
    parts = [(key, part) for key, value in given.items() for part in flat(value)]
    generators = [(key, part) for key, part in parts if isinstance(part, keras.random.SeedGenerator)]
    # Of Dropout, say, which has a generator of its own.
    generators += [(layer.name, each) for layer in all_layers(given) for each in own_seed_generators(layer)]
    for name, generator in generators:
        seed = generator.get_config()["seed"]
        if isinstance(seed, int) and abs(seed) < DRAWN:  # some layers draw one, and give that
            found[id(raw(generator.state))] = Setting(f"the seed of {name!r}", seed, _before(raw(generator.state)))
    for key, value in parts:
        for node in nodes(value):
            if isinstance(node, tf.random.Generator):
                seed, *rest = (state := _before(node.state)).numpy().tolist()  # [seed, 0, 0] until something is drawn
                if abs(seed) < DRAWN and not any(rest):
                    found[id(node.state)] = Setting(f"the seed of {key!r}", seed, state)
    return found


def _plain_value(value: tf.Tensor) -> Said | None:
    if value.dtype == tf.string:
        return repr(value.numpy())
    if value.dtype.is_bool or value.dtype.is_integer:
        return int(value)
    return float(value) if value.dtype.is_floating else None


def _shown(said: object, value: tf.Tensor) -> str:
    """Returns a setting as the program has it: 0.1, not the double-precision number nearest to float32's 0.1."""
    if value.dtype.is_bool:
        return str(bool(said))
    return str(float(str(np.array(said, value.dtype.as_numpy_dtype)))) if value.dtype.is_floating else str(said)


# What `restore` has replaced, in scripts that begin with another run's state: it is not the program that set that.
_REPLACED: dict[int, tuple[weakref.ref[tf.Variable], tf.Tensor, tf.Tensor]] = {}


def replaced(variable: tf.Variable, before: tf.Tensor) -> None:
    """Notes that a variable has been restored by a script, and what the program had set it to before."""
    if variable.shape.rank == 0 or variable.shape.num_elements() in (2, 3):
        first = _before(variable, now=before)
        _REPLACED[id(variable)] = weakref.ref(variable), first, variable.read_value()


def _before(variable: tf.Variable, now: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the value of a variable, or that before it was restored, if nobody has assigned another one since."""
    value = variable.read_value() if now is None else now
    # The reference tells whether this is still the variable of that id, and the value, whether it is as restored.
    known, before, after = _REPLACED.get(id(variable), (lambda: None, value, value))
    return before if known() is variable and digest(value) == digest(after) else value
