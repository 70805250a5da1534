"""What is in the things that were given: in lists, dicts, models, modules."""

from collections.abc import Iterator, Mapping

import keras
import tensorflow as tf

from loop.tensors import raw
from loop.tf_internals import Trackable, flatten_layers, own_non_trainable, own_trainable


def said_of(variable: tf.Variable) -> list[int | str | None]:
    """Returns its lengths, None for one that is open, and its dtype; "..." in their place if so is their number."""
    lengths = ["..."] if variable.shape.rank is None else variable.shape.as_list()
    return [*lengths, variable.dtype.name]


def flat(value: object) -> Iterator[object]:
    """Yields what is in lists and dicts, at any depth."""
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from flat(item)
    else:
        yield value


def flat_by_path(given: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yields the same with paths, such as `models/0`."""
    for key, value in given.items():
        if isinstance(value, Mapping | list | tuple):
            items = value if isinstance(value, Mapping) else dict(enumerate(value))
            # As TensorFlow calls them, too.
            yield from ((f"{key}/{path}", part) for path, part in flat_by_path({str(k): v for k, v in items.items()}))
        else:
            yield key, value


def nodes(value: object) -> list[Trackable]:
    """Returns a value that TensorFlow can save, and all that it finds below."""
    return list(tf.train.TrackableView(value).descendants()) if isinstance(value, Trackable) else []


def layers(value: object) -> list[keras.Layer]:
    """Returns the Keras layers in a value as far as TensorFlow finds them: itself, those of a `tf.Module`."""
    return [node for node in nodes(value) if isinstance(node, keras.Layer)]


def all_layers(given: object) -> list[keras.Layer]:
    """Returns the layers in what was given, each once: also those that a model holds in lists, which Keras finds."""
    found = [layer for value in flat(given) for layer in layers(value)]
    # By id: what is in a model that is given, and in another one, is found twice.
    return list({id(each): each for layer in found for each in flatten_layers(layer)}.values())


def optimizers(given: object) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers in what was given, also those within others, each once."""
    found = [node for value in flat(given) for node in nodes(value) if isinstance(node, keras.optimizers.Optimizer)]
    # By id: a model has its optimizer, which may be given, too.
    return list({id(node): node for node in found}.values())


def keras_variables(given: object) -> list[keras.Variable]:
    """Returns what Keras itself knows of the variables of a value, each once."""
    found: dict[int, keras.Variable] = {}
    for value in flat(given):
        parts = [value] if isinstance(value, keras.optimizers.Optimizer | keras.Metric) else layers(value)
        # By id: to compare variables compares what they hold.
        found |= {id(variable): variable for part in parts for variable in part.variables}
    return list(found.values())


def listed_variables(given: object) -> list[tf.Variable]:
    """Returns the variables of TensorFlow that layers hold in lists and dicts, where neither it nor Keras looks.

    Those are sums of gradients, say, of a `train_step` that accumulates; also those of modules and random streams.
    """
    held = [value for layer in all_layers(given) for value in vars(layer).values()]
    parts = [part for value in held if isinstance(value, Mapping | list | tuple) for part in flat(value)]
    of_tensorflow = [part for part in parts if isinstance(part, tf.Variable | tf.Module | tf.random.Generator)]
    found = [node for part in of_tensorflow for node in nodes(part) if isinstance(node, tf.Variable)]
    return list({id(variable): variable for variable in found}.values())


def own_variables(layer: keras.Layer) -> list[tf.Variable]:
    """Returns the variables of a layer that are not those of another one in it."""
    # A tf.Variable in an attribute, of which Keras knows nothing.
    children = tf.train.TrackableView(layer).children(layer).values()
    kept = [*own_trainable(layer), *own_non_trainable(layer), *children]
    variables = [raw(each) for each in kept if isinstance(each, tf.Variable | keras.Variable)]
    return list({id(variable): variable for variable in variables}.values())
