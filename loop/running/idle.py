"""Whether a train step trains at all."""

import logging
from collections.abc import Collection, Iterable, Mapping

import tensorflow as tf

from loop.exact.reach import Reach
from loop.handles import keys
from loop.hook import Hook
from loop.running.unsaved.variables import roots
from loop.state.variables import flat, keras_variables, nodes, optimizers, raw
from loop.tf_internals import iterations

log = logging.getLogger("exactloop")
APPLIES = {"apply", "apply_gradients"}
IDLE = (
    "The train step trains nothing: it applies no optimizer that is in state=, and changes no trainable weight. Is it "
    "the step of an evaluation? keras_steps and supervised return (train step, evaluation step). In a step of your "
    "own, optimizer.apply(gradients, weights) changes the weights."
)


def warn_of_idle(given: Mapping[str, object], changed: Collection[int], hooks: Iterable[Hook]) -> None:
    """Says if there is an optimizer of Keras, and none is applied, nor a weight changed otherwise, nor does a hook.

    Args:
        given: What was given as `state=`.
        changed: The keys of what the train step changes; see `loop.handles`.
        hooks: The hooks. One that names what applies an optimizer may train.
    """
    # Of several optimizers, one may be there for another loop that comes later.
    there = optimizers(given)
    weights = [variable for variable in keras_variables(given) if variable.trainable]
    plain = [node for value in flat(given) for node in nodes(value) if isinstance(node, tf.Variable)]
    # One of integers counts something: a variable of TensorFlow is trainable unless it is told not to be.
    weights += [variable for variable in plain if variable.trainable and not variable.dtype.is_integer]
    is_idle = there and keys(map(raw, [*map(iterations, there), *weights])).isdisjoint(changed)
    if is_idle and not any(APPLIES & Reach(begin).read for begin in roots(hooks).values()):
        log.warning(IDLE)
