"""Metrics that begin anew, at each epoch and for each evaluation."""

import weakref

import keras
import tensorflow as tf

from loop.supervision.measures import Accuracy
from loop.tensors import put, read


class Resetting:
    """Resets metrics.

    One of Keras' own classes leaves the same numbers each time, and takes some 50 us for each variable. So these are
    kept, and put into the variables in a tenth of that. Any other class, also one that is made of one of Keras', may
    leave a variable as it is, or do what it likes.
    """

    def __init__(self) -> None:
        self._begun = weakref.WeakKeyDictionary[keras.Metric, list[tuple[tf.Variable, tf.Tensor]]]()

    def reset(self, metric: keras.Metric) -> None:
        """Resets a metric."""
        begun = self._begun.get(metric)
        if begun and len(begun) == len(metric.variables):  # more come when it is built
            for variable, value in begun:
                put(variable, value)
            return
        metric.reset_state()
        if _is_of_keras(metric):
            self._begun[metric] = [(each.value, read(each.value)) for each in metric.variables]


def _is_of_keras(metric: keras.Metric) -> bool:
    of = type(metric)
    return (of is Accuracy or of.__module__.split(".")[0] == "keras") and "reset_state" not in vars(metric)
