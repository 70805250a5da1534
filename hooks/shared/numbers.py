"""Numbers in variables, read and written in a fraction of the time that the methods of `tf.Variable` take."""

from collections.abc import Sequence

import tensorflow as tf

from loop.tf_internals import assign, read_variables, scalar


def number(variable: tf.Variable) -> float:
    """Returns the value of a variable `[]`: of integers, an int."""
    # sync: reads one scalar.
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy().item()


def numbers(variables: Sequence[tf.Variable]) -> list[float]:
    """Returns the values of several, by one operation."""
    return [value.numpy().item() for value in read_variables(variables)]


def put(variable: tf.Variable, value: float) -> None:
    """Assigns a number to a variable `[]`."""
    assign(variable, scalar(value, variable.dtype))
