"""Numbers in variables, read and written in a fraction of the time that the methods of `tf.Variable` take."""

import tensorflow as tf

from loop.tf_internals import scalar


def number(variable: tf.Variable) -> float:
    """Returns the value of a variable `[]`: of integers, an int."""
    # sync: reads one scalar.
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy().item()


def put(variable: tf.Variable, value: float) -> None:
    """Assigns a number to a variable `[]`."""
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=scalar(value, variable.dtype))
