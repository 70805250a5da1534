"""Arrays that were given, looked at, and put where they stay."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from loop.errors.instead import instead_of_data
from loop.errors.kinds import shown
from loop.tensors import Nest

SCALAR = (bool, int, float, complex, str, bytes, np.generic)
LISTS = "A list is a nest: of examples, make one array, as in np.array(examples)."
MOST_ROWS = 2**30  # with as many in a batch, an int32 still counts the row behind the last one


def placed(arrays: Nest) -> Nest:
    """Returns a nest of arrays as tensors or variables.

    Raises:
        TypeError: If it is nothing that a tensor can be made of.
        ValueError: If there is nothing, or there are numbers in the place of arrays, or too many rows.
    """
    _check_leaves(arrays)
    _check_lengths(arrays)
    # Not tf.nest.map_structure, the frames of which would come between a mistake and the line that makes it.
    return tf.nest.pack_sequence_as(arrays, [_placed(array) for array in tf.nest.flatten(arrays)])


def rows_of(arrays: Nest, given: Nest) -> int:
    """Returns how many rows all arrays have.

    Args:
        arrays: What `placed` has returned.
        given: What it was made of.

    Raises:
        ValueError: If there are none, or they differ in how many they have.
    """
    shapes = [tuple(array.shape) for array in tf.nest.flatten(arrays)]
    rows = {shape[0] if shape else -1 for shape in shapes}
    if len(rows) != 1 or -1 in rows:
        raise ValueError(
            f"ArrayData needs arrays of equal first dimension. Received shapes: {_listed(shapes)}."
            + (f" {LISTS}" if isinstance(given, list) else "")
        )
    count: int = rows.pop()
    if count == 0:
        raise ValueError(f"ArrayData needs at least one row. Received empty arrays of shapes: {_listed(shapes)}.")
    return count


def _check_leaves(arrays: Nest) -> None:
    """Raises if there is nothing, or numbers: each would become an array, and of lists there may be millions."""
    leaves = tf.nest.flatten(arrays)
    alone = next((leaf for leaf in leaves if isinstance(leaf, SCALAR)), None)
    if alone is not None:
        where = f", in a {type(arrays).__name__}. {LISTS}" if tf.nest.is_nested(arrays) else "."
        raise ValueError(f"ArrayData needs arrays of equal first dimension. Received: {shown(alone)}{where}")
    if not leaves:
        raise ValueError(f"ArrayData needs arrays. Received: {shown(arrays)}.")


def _check_lengths(arrays: Nest) -> None:
    """Raises if there are more rows than an int32 can count, before they are copied."""
    for leaf in tf.nest.flatten(arrays):
        shape = tuple(leaf.shape) if isinstance(leaf, np.ndarray | tf.Tensor | tf.Variable) else ()
        if shape and (shape[0] or 0) > MOST_ROWS:
            raise ValueError(
                f"ArrayData holds at most {MOST_ROWS:,} rows, of which each has a number of 32 bits. Received: "
                f"{shape[0]:,} rows. Write a tf.data.Dataset, as in StreamData(dataset, resume='replay')."
            )


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join([*map(str, shapes[:4]), *(["..."] if len(shapes) > 4 else [])])


def _is_at_home(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor is on the host, and that is where steps are run."""
    alone = tensor.dtype != tf.int32 or all(each.device_type == "CPU" for each in tf.config.list_logical_devices())
    return "CPU" in tensor.device and alone


def _placed(array: Nest) -> tf.Tensor | tf.Variable:
    """Returns an array in memory as a variable: a tensor would be handed from step to step in the compiled loop.

    Elsewhere it stays a tensor, because a GPU can gather from variables of a few dtypes only; and so do integers of 32
    bits where there is an accelerator, which has them on the host, where no program of it could read a variable.
    """
    try:
        tensor = tf.convert_to_tensor(array)
    except (TypeError, ValueError):
        kind = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        instead = "Leave it out." if array is None else instead_of_data(array)
        raise TypeError(f"ArrayData needs arrays, of numbers or texts. Received: {kind}. {instead}") from None
    with tf.device(tensor.device):
        placed = tf.Variable(tensor, trainable=False, name="array") if _is_at_home(tensor) else tensor
    try:
        # Better refused now than in the first step, where it would be an error of the graph.
        tf.gather(placed, tf.zeros([0], tf.int32))
    except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
        if tensor.shape.rank == 0:  # said by its shape
            return placed
        wide = "float16" if tensor.dtype.is_floating else "int8"
        raise TypeError(
            f"ArrayData needs arrays of which TensorFlow can take rows. Received: an array of {tensor.dtype.name}. "
            f"Give it as {wide}, and write tf.cast(x, {tensor.dtype.name!r}) in the step."
        ) from error
    return placed
