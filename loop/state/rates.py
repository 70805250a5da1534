"""The learning rates of optimizers, which are logged without being values of the step."""

import functools
from collections.abc import Callable, Collection, Mapping

import keras
import tensorflow as tf

from loop.state.variables import flat_by_path, nodes
from loop.tensors import raw, read
from loop.tf_internals import call_flat, rate_of

NAME = "learning_rate"


class LoggedRates:
    """Reads the rate of each optimizer, that which its next step is made with, as Keras' callbacks log it.

    A rate in a variable takes some microseconds to read. A schedule is traced, and takes some more.

    Args:
        given: What was given as `state=`.
        taken: The names of what is logged besides: a rate of that name is not.
    """

    def __init__(self, given: Mapping[str, object], taken: Collection[str]) -> None:
        found = optimizers_by_path(given)
        # One that nobody has built trains nothing, such as that of a compiled model that is trained by another.
        found = {path: each for path, each in found.items() if each.built} or found
        named = {f"{NAME}/{path}" if len(found) > 1 else NAME: each for path, each in found.items()}
        self._read = {name: _reader(each) for name, each in named.items() if name not in taken}

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which they are logged."""
        return tuple(self._read)

    def now(self) -> dict[str, float]:
        """Returns the rates by name."""
        return {name: read() for name, read in self._read.items()}


def optimizers_by_path(given: Mapping[str, object]) -> dict[str, keras.optimizers.Optimizer]:
    """Returns the optimizers by path, without those that others wrap; several within one thing are numbered."""
    found: dict[str, keras.optimizers.Optimizer] = {}
    of_parts = {
        path: [node for node in nodes(part) if isinstance(node, keras.optimizers.Optimizer)]
        for path, part in flat_by_path(given)
    }
    everywhere = [node for within in of_parts.values() for node in within]
    # A LossScaleOptimizer, and the one that it wraps, have one rate, which is logged once.
    scaling = [node for node in everywhere if isinstance(node, keras.optimizers.LossScaleOptimizer)]
    seen = {id(node.inner_optimizer) for node in scaling}
    for path, within in of_parts.items():
        outer = [node for node in within if id(node) not in seen]
        seen |= {id(node) for node in within}  # given twice, such as with its model, it is logged once
        found |= {path if len(outer) == 1 else f"{path}/{i}": node for i, node in enumerate(outer)}
    return found


def _reader(optimizer: keras.optimizers.Optimizer) -> Callable[[], float]:
    inner = optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer
    rate = rate_of(inner)
    if isinstance(rate, keras.Variable):
        variable = raw(rate)
        return lambda: float(read(variable))  # sync: reads one scalar
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        # Called as a function, it would have TensorFlow warn of retracing where several loops are made.
        function = tf.function(lambda: tf.cast(inner.learning_rate, tf.float32), autograph=False)
        traced = functools.cache(function.get_concrete_function)
        # Traced when it is first asked for, which may be never; called as the steps are, with the same bits.
        return lambda: float(call_flat(traced(), []))
    return lambda: float(keras.ops.convert_to_numpy(inner.learning_rate))
