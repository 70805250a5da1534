"""The state of a TensorFlow iterator, which not every one has."""

import tensorflow as tf

from loop.errors.remedies import RANDOM_IN_DATA, REPLAY
from loop.tf_internals import iterator_state


def begun(dataset: tf.data.Dataset) -> tf.data.Iterator:
    """Returns an iterator of a dataset whose state can be saved and restored, whatever options the user gave it."""
    options = tf.data.Options()
    options.experimental_symbolic_checkpoint = False  # which many stages do not have, but say so at a save
    options.experimental_slack = False  # restored, such a prefetch takes the time since 1970 for slack, and sleeps
    return iter(dataset.with_options(options))


def state_of(iterator: tf.data.Iterator) -> tf.Tensor:
    """Returns the state of an iterator, or says what to do if it has none that can be saved."""
    try:
        return iterator_state(iterator)
    except tf.errors.OpError as error:
        raise ValueError(
            f"The iterator of this dataset cannot be saved, so no run could resume in mid-epoch: {error.message} "
            f"Use {REPLAY} if the dataset yields the same again when it is read again, or ArrayData. If it is for "
            f"random numbers: {RANDOM_IN_DATA}"
        ) from error
