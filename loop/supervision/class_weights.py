"""Weights of examples by their class, as `class_weight` of `fit`."""

import math
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown, wanted
from loop.tensors import Nest


def checked(class_weight: Mapping[int, float]) -> dict[int, float]:
    """Returns weights by class. Raises `TypeError`, or `ValueError`, if they are none."""
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "supervised(class_weight=...) needs a dict by the number of the class, as in {0: 1.0, 1: 5.0}. Received: "
            f"{shown(class_weight)}. Of a list or an array of weights, write dict(enumerate(weights))."
        )
    weights = {}
    for of_class, weight in class_weight.items():
        whole = isinstance(of_class, int | np.integer)
        if not whole or wanted(float, weight) or not 0 <= float(weight) < math.inf:
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
    # As Keras takes labels: `[n, 1]` are numbers, and `[n, classes]` one of which is 1.
    if y.shape.rank is not None and y.shape.rank >= 2:
        classes = tf.squeeze(y, -1) if y.shape[-1] == 1 else tf.argmax(y, -1)
    else:
        classes = y
    if classes.dtype.is_floating:
        # Labels often come as float32, as in `fit`.
        classes = tf.round(classes)
    classes = tf.cast(classes, tf.int64)
    weights = tf.ones_like(classes, keras.backend.floatx())
    # One comparison for each class that has a weight: cheap for as many as anybody writes down.
    for of_class, weight in of_classes.items():
        weights = tf.where(classes == of_class, tf.cast(weight, weights.dtype), weights)
    return weights
