"""Operations without a public function, or whose public one takes longer than they do."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.eager.execute import quick_execute


def read_variables(variables: Sequence[tf.Variable]) -> list[tf.Tensor]:
    """Returns the present values of variables, as `ReadVariableOp` does for each by itself: it takes 10 us, and 1 more
    for each variable, where that takes 10 for each.

    TensorFlow has an operation for it, of which XLA's programs make use, and no function.
    """
    handles, found = [variable.handle for variable in variables], dict[int, tf.Tensor]()
    devices = [handle.device for handle in handles]
    for device in {*devices}:  # one operation is on one device
        places = [place for place, each in enumerate(devices) if each == device]
        kinds = tuple(variables[place].dtype.as_datatype_enum for place in places)
        attributes = ("N", len(places), "dtypes", kinds)
        of_device = [handles[place] for place in places]
        values = quick_execute("_ReadVariablesOp", len(places), of_device, attributes, context.context())
        found |= zip(places, values, strict=True)
    return [found[place] for place in range(len(handles))]


def read_variable(variable: tf.Variable) -> tf.Tensor:
    """Returns the present value, at once, which a later update leaves alone: as `read_value()` does with more ado."""
    attributes = ("dtype", variable.dtype.as_datatype_enum)
    (value,) = quick_execute("ReadVariableOp", 1, [variable.handle], attributes, context.context())
    return value


def assign(variable: tf.Variable, value: tf.Tensor) -> None:
    """Assigns a tensor, without a copy, at once, as `assign` of the variable does with more ado."""
    attributes = ("dtype", value.dtype.as_datatype_enum, "validate_shape", False)
    quick_execute("AssignVariableOp", 0, [variable.handle, value], attributes, context.context())


def save_tensors(prefix: str, names: tf.Tensor, slices: tf.Tensor, tensors: Sequence[tf.Tensor]) -> None:
    """Writes the files of a checkpoint, as `tf.raw_ops.SaveV2`, which looks for what the tensors could be, in 200 us.

    Args:
        prefix: What they are called, up to the dot.
        names: The names of the tensors: string `[tensors]`.
        slices: Which part of each this is, empty for all of it: string `[tensors]`.
        tensors: What to save.
    """
    kinds = tuple(tensor.dtype.as_datatype_enum for tensor in tensors)
    with tf.device("CPU"):
        inputs = [tf.constant(prefix), names, slices, *tensors]
        quick_execute("SaveV2", 0, inputs, ("dtypes", kinds), context.context())


def next_batch(iterator: tf.data.Iterator) -> list[tf.Tensor]:
    """Returns the tensors of the next element, read in the thread that calls it.

    `next(iterator)` takes three times as long: it has another thread read, and looks at what the element is made of.

    Raises:
        tf.errors.OutOfRangeError: If there is none.
    """
    return tf.raw_ops.IteratorGetNextSync(
        iterator=iterator._iterator_resource,
        output_types=iterator._flat_output_types,
        output_shapes=iterator._flat_output_shapes,
    )
