"""What objects of Keras keep. Public lists are of a layer and all below it, and of what is trainable now.

And random streams: to ask for a global generator in public makes one, or Keras' cannot be asked for at all.
"""

import hashlib
import operator
import random
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
from keras.src.backend.common.masking import get_keras_mask
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator
from keras.src.trainers.compile_utils import CompileMetrics, get_loss, get_metric
from keras.src.utils.rng_utils import get_random_seed
from tensorflow.python.eager import context
from tensorflow.python.ops import stateful_random_ops

NAME = "_name"  # the attribute in which modules, layers and datasets keep how they are called


def keras_generator() -> keras.random.SeedGenerator:
    """Returns the generator behind `keras.random.*` calls without a seed; where it has to be made, Python's random
    numbers go on as if it was not: layers that are made after a run begin with the weights that they would have."""
    if get_global_attribute(GLOBAL_SEED_GENERATOR) is None:
        # A function of where that stream is, which no number that comes out of it is; or of the seed of TensorFlow, if
        # the program has given one to that alone.
        own = None if get_random_seed() is not None else context.global_seed()
        here = hashlib.sha256(repr(random.getstate() if own is None else own).encode()).digest()
        with tf.init_scope():  # also where a function is traced, of which it is no part
            made = keras.random.SeedGenerator(int.from_bytes(here[:4], "big") % 10**9)
        set_global_attribute(GLOBAL_SEED_GENERATOR, made)
    return global_seed_generator()


def tensorflow_generator() -> tf.random.Generator | None:
    """Returns the global generator of TensorFlow, if somebody has asked for it."""
    return stateful_random_ops.global_generator


# Attributes in which they keep what may be set later, and those that do not tell one computation from another.
SET_LATER = frozenset(("_trainable", "_learning_rate", "_dtype_policy"))
TELLS_NOTHING_APART = frozenset((NAME, "_dtype"))
# Of a variable, in a third of the time that its property takes.
is_trainable: Callable[[keras.Variable], bool] = operator.attrgetter("_trainable")


def flatten_layers(layer: keras.Layer, *, include_self: bool = True, recursive: bool = True) -> list[keras.Layer]:
    """Returns a layer and those in it, also those in lists of theirs; `Model.layers` are those of a model itself."""
    return layer._flatten_layers(include_self=include_self, recursive=recursive)


def is_built(layer: keras.Layer) -> bool:
    """Returns whether a layer and all in it are built; a model may say so, and its layers not."""
    return all(each.built for each in flatten_layers(layer))


def own_trainable(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the variables of a layer itself that were made to be trained, whether they are now or not."""
    return layer._trainable_variables


def own_non_trainable(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the others of the layer itself."""
    return layer._non_trainable_variables


def own_metrics(layer: keras.Layer) -> list[keras.Metric]:
    """Returns the metrics of the layer itself, without those that a model was compiled with."""
    return layer._metrics


def own_seed_generators(layer: keras.Layer) -> list[keras.random.SeedGenerator]:
    """Returns the generators of a layer itself."""
    return layer._seed_generators


ITERATIONS = "_iterations"  # the attribute in which every optimizer counts steps
TRAINED = "_trainable_variables"  # and that in which it has the weights


def iterations(optimizer: keras.Optimizer) -> keras.Variable:
    """Returns the variable that counts steps; the public one may be computed from it."""
    return optimizer._iterations


def rate_of(optimizer: keras.Optimizer) -> object:
    """Returns the variable, schedule or function that a learning rate comes from; the public one is its value."""
    return optimizer._learning_rate


def trained_by(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the weights for which an optimizer was built."""
    return optimizer._trainable_variables


def moving_averages(optimizer: keras.Optimizer) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns the weights of a built optimizer with `use_ema`, each with its average; it only assigns them itself."""
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return [(weight, average) for weight, average in pairs if average is not None]


def function_of(metric: keras.metrics.MeanMetricWrapper) -> tuple[Callable, Mapping[str, object]]:
    """Returns the function of which a metric takes the mean, and its arguments; a configuration has names of them."""
    return metric._fn, metric._fn_kwargs


def mask_of(tensor: Any) -> Any:
    """Returns the mask that a layer has left on what it returned, such as `Embedding(mask_zero=True)`; None: none."""
    return get_keras_mask(tensor)


def loss_of(given: str | Callable[..., Any], y: Any, prediction: Any) -> keras.losses.Loss:
    """Returns the loss that Keras makes of a name or a function, by the shapes of what it is for."""
    return get_loss(given, y, prediction)


def metric_of(name: str, y: Any, prediction: Any) -> keras.Metric:
    """Returns the metric that Keras makes of a name, by the shapes of what it is for."""
    return get_metric(name, y, prediction)


def compiled_as(model: keras.Model) -> object:
    """Returns what is another object whenever a model is compiled: where Keras takes the mean of its loss."""
    return model._loss_tracker


def metrics_in(metric: keras.Metric) -> list[keras.Metric]:
    """Returns those that were given to `compile`, of what has them all, as soon as they are made; or the metric."""
    return metric.metrics if isinstance(metric, CompileMetrics) else [metric]


def direction(metric: keras.Metric) -> str | None:
    """Returns "up" or "down" for a metric of which Keras knows which is better."""
    return getattr(metric, "_direction", None)


MODEL = "_model"  # in which a callback has its model
WRITERS = {"_writers", "_prev_summary_state", "_summary_module"}  # in which a TensorBoard callback has its files


def profiles_batches(callback: keras.callbacks.TensorBoard) -> bool:
    """Returns whether a callback was given batches to profile."""
    return callback._should_trace


def is_initialized(module: tf.Module) -> bool:
    """Returns whether `tf.Module.__init__` has been called. To ask for the name raises, if it was not."""
    return NAME in vars(module)
