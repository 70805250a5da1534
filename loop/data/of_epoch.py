"""A function from the epoch to a dataset, called so that what it draws depends on the seed and the epoch alone."""

from collections.abc import Callable

import tensorflow as tf

from loop.rebuilt.seeds import number_of
from loop.state.randomness import global_seed, seeded
from loop.tf_internals import op_seeds_from


class OfEpoch:
    """Calls a function of the epoch. Under a seed of the process, all streams begin anew for each call.

    They are Python's and NumPy's, and TensorFlow's of seeds for what is given none, such as a `shuffle(1000)`. So it
    may be called at any time, and again in another process. Afterwards they are what they were. Without a seed of the
    process, what it draws is left alone, and differs each time, which is seen.

    Args:
        function: The function.
    """

    def __init__(self, function: Callable[[int], tf.data.Dataset]) -> None:
        self._function = function

    def __call__(self, epoch: int) -> tf.data.Dataset:
        if (seed := global_seed()) is None:
            return self._function(epoch)
        own = number_of("dataset of the epoch", seed, epoch)
        with seeded(own), op_seeds_from(own):
            return self._function(epoch)
