"""Weights of examples by their class, as `class_weight` of `fit`."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown
from loop.tensors import Nest


def checked(class_weight: Mapping[int, float]) -> dict[int, float]:
    """Returns weights by class. Raises `ValueError` if they are none."""
    weights = {}
    for of_class, weight in class_weight.items():
        if not isinstance(of_class, int | np.integer) or not float(weight) >= 0 or np.isinf(weight):
            raise ValueError(
                "supervised(class_weight=...) needs numbers from 0 on by the number of the class, as in "
                f"{{0: 1.0, 1: 5.0}}. Received: {shown({of_class: weight})}."
            )
        weights[int(of_class)] = float(weight)
    return weights


def weights_of(of_classes: Mapping[int, float], y: Nest, sample_weight: Nest) -> tf.Tensor:
    """Returns the weight of each example: of whole numbers, `[n]` or `[n, 1]`, or of classes one of which is 1."""
    if sample_weight is not None:
        raise ValueError(
            "supervised(class_weight=...) takes the place of sample weights, and the batches have some. Leave it out, "
            "and multiply these, in the data, with the weights of the classes."
        )
    if not isinstance(y, tf.Tensor):
        raise ValueError("supervised(class_weight=...) is for one output. Give sample weights, in the data, instead.")
    if y.shape.rank is not None and y.shape.rank >= 2:
        classes = tf.squeeze(y, -1) if y.shape[-1] == 1 else tf.argmax(y, -1)
    else:
        classes = y
    if classes.dtype.is_floating:
        classes = tf.round(classes)
    classes = tf.cast(classes, tf.int64)
    weights = tf.ones_like(classes, keras.backend.floatx())
    for of_class, weight in of_classes.items():
        weights = tf.where(classes == of_class, tf.cast(weight, weights.dtype), weights)
    return weights
