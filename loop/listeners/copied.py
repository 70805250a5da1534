"""What a copy of a hook is: another one, for another loop, as long as it has nothing of the program's."""

import copy
from collections.abc import Iterable
from typing import TypeVar

import keras
import tensorflow as tf

from loop.listeners.had import HAD

Copied = TypeVar("Copied", bound=tf.Module)
ANEW = "Make another {0}(...) for each loop, as by a function that returns new hooks."


def shallow_copy(hook: Copied, variables: Iterable[tf.Variable]) -> Copied:
    """Returns what `copy.copy` is to return. Raises `TypeError` if the copy would share a state with the hook."""
    kind = type(hook).__name__
    if any(True for _ in variables):
        raise TypeError(f"A copy of this {kind} would have the same variables, and so one state. {ANEW.format(kind)}")
    made = object.__new__(type(hook))
    made.__dict__.update(hook.__dict__)
    return made


def deep_copy(hook: Copied, variables: Iterable[tf.Variable], memo: dict[int, object]) -> Copied:
    """Returns what `copy.deepcopy` is to return.

    Raises:
        TypeError: If the hook was in a run, which it knows of; or if it has what the program trains, such as a model,
            of which the copy would have another one.
    """
    kind = type(hook).__name__
    if hook in HAD:
        raise TypeError(
            f"This {kind} was in a run, and a copy would go on with what it has seen there. {ANEW.format(kind)}"
        )
    made = memo[id(hook)] = object.__new__(type(hook))
    for variable in variables:  # TensorFlow's own copies forget that a shape is open
        memo[id(variable)] = tf.Variable(
            variable, trainable=variable.trainable, name=variable.name.partition(":")[0], shape=variable.shape
        )
    before = {*memo}
    made.__dict__.update(copy.deepcopy(hook.__dict__, memo))
    for key in memo.keys() - before:
        if isinstance(other := memo[key], keras.Layer | keras.Optimizer):
            raise TypeError(
                f"A copy of this {kind} would have a copy of {other.name!r}, which is not what is trained. "
                f"{ANEW.format(kind)}"
            )
    return made
