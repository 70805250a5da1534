"""Numbers in variables, read and written in a fraction of the time that the methods of `tf.Variable` take."""

import numpy as np
import tensorflow as tf


def number(variable: tf.Variable) -> float:
    """Returns the value of a variable `[]`: of integers, an int."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype).numpy().item()


def put(variable: tf.Variable, value: float) -> None:
    """Assigns a number to a variable `[]`.

    Of a number of Python, TensorFlow would keep the tensor for good, some 700 bytes for each that is another one.
    """
    value_of_numpy = tf.constant(np.array(value, variable.dtype.as_numpy_dtype))
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value_of_numpy)
