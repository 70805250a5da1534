"""Whether a train step trains at all."""

import logging
from collections.abc import Collection, Mapping

from loop.handles import keys
from loop.state.variables import keras_variables, optimizers, raw
from loop.tf_internals import iterations

log = logging.getLogger("exactloop")
IDLE = (
    "The train step trains nothing: it applies no optimizer that is in state=, and changes no trainable weight. Is it "
    "the step of an evaluation? keras_steps and supervised return (train step, evaluation step). In a step of your "
    "own, optimizer.apply(gradients, weights) changes the weights."
)


def warn_of_idle(given: Mapping[str, object], changed: Collection[int]) -> None:
    """Says if there is an optimizer of Keras, and none is applied, nor a weight changed otherwise.

    Args:
        given: What was given as `state=`.
        changed: The keys of what the train step changes; see `loop.handles`.
    """
    # Of several optimizers, one may be there for another loop that comes later.
    there = optimizers(given)
    weights = [variable for variable in keras_variables(given) if variable.trainable]
    if there and keys(map(raw, [*map(iterations, there), *weights])).isdisjoint(changed):
        log.warning(IDLE)
