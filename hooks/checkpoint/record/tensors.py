"""The values in the files of a checkpoint, by the names that TensorFlow has for them."""

from collections.abc import Mapping

import tensorflow as tf

from loop.tf_internals import Tensors


def dtypes_in(prefix: str) -> dict[str, tf.DType]:
    """Returns of all values in a checkpoint their dtypes, by name.

    Args:
        prefix: What TensorFlow takes for it.
    """
    # Not `tf.train.load_checkpoint`, which at some addresses takes the prefix for a directory, and finds nothing in it.
    return tf.compat.v1.train.NewCheckpointReader(prefix).get_variable_to_dtype_map()


def read_tensors(prefix: str, dtypes: Mapping[str, tf.DType]) -> Tensors:
    """Returns some values in a checkpoint, by name; of none, none.

    Args:
        prefix: What TensorFlow takes for it.
        dtypes: Their dtypes, by name.

    Raises:
        tf.errors.OpError: If one is not there, or of another dtype: nothing is cast.
    """
    if not dtypes:  # which TensorFlow refuses to be asked for
        return {}
    found = tf.raw_ops.RestoreV2(
        prefix=prefix, tensor_names=[*dtypes], shape_and_slices=[""] * len(dtypes), dtypes=[*dtypes.values()]
    )
    return dict(zip(dtypes, found, strict=True))
