"""Which of the variables that were given are weights, and which are state of the training."""

from collections.abc import Mapping

import keras
import tensorflow as tf

from loop.state.variables import flat, keras_variables, layers, optimizers
from loop.tensors import raw

STATE_OF_TRAINING = (keras.optimizers.Optimizer, keras.Metric, keras.random.SeedGenerator, tf.random.Generator)


def not_weights(state: Mapping[str, object]) -> set[int]:
    """Returns the ids of variables that are optimizer slots, metrics or random states, also those within a layer."""
    given = list(flat(state))
    others = [*optimizers(given), *(value for value in given if isinstance(value, STATE_OF_TRAINING))]
    found = [layer for value in given for layer in layers(value)]
    ids = {id(raw(v)) for value in others for v in keras_variables(value)}
    ids |= {id(raw(v)) for layer in found for v in layer.variables}
    # Layer.weights leaves out metrics and random states.
    return ids - {id(raw(v)) for layer in found for v in layer.weights}


def has_weights(value: object) -> bool:
    """Returns whether there is a layer or module in something that was given."""
    others = (tf.Variable, *STATE_OF_TRAINING)  # some of these are modules, or layers, by their class
    return any(isinstance(part, keras.Layer | tf.Module) and not isinstance(part, others) for part in flat(value))
