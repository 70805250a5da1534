"""A function from the epoch to a dataset, called so that what it draws depends on the seed and the epoch alone."""

import inspect
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from loop.errors.instead import instead_of_data, refuses_arguments, specs
from loop.errors.kinds import shown
from loop.exact.pipeline import INFINITE
from loop.rebuilt.seeds import number_of
from loop.state.randomness import global_seed, seeded
from loop.tensors import Nest
from loop.tf_internals import op_seeds_from

Given: TypeAlias = tf.data.Dataset | Callable[[int], tf.data.Dataset]


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

    @property
    def function(self) -> object:
        """The function itself."""
        return self._function

    def __call__(self, epoch: int) -> tf.data.Dataset:
        if (seed := global_seed()) is None:
            return self._function(epoch)
        # The text keeps it apart from other numbers that are made of the same seed and epoch.
        own = number_of("dataset of the epoch", seed, epoch)
        with seeded(own), op_seeds_from(own):
            return self._function(epoch)


def checked(given: Given) -> tuple[Given, tf.data.Dataset]:
    """Returns a dataset, or a function of the epoch to be called so, and the first dataset.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(given, type) or (callable(given) and refuses_arguments(given, 1)):
        # A class or a generator is no function that lacks an argument: it needs another message.
        own = isinstance(given, type) or inspect.isgeneratorfunction(given)
        raise TypeError(
            "StreamData needs a tf.data.Dataset, or a function that is called with the epoch, from 0, and returns "
            f"one. Received: {shown(given)}. {instead_of_data(given) if own else 'Write lambda epoch: dataset.'}"
        )
    given = OfEpoch(given) if callable(given) else given
    first = given(0) if callable(given) else given
    if not isinstance(first, tf.data.Dataset):
        source = "a function returning a " if callable(given) else "a "
        raise TypeError(
            f"StreamData needs a tf.data.Dataset, or a function epoch -> tf.data.Dataset. Received: {source}"
            f"{type(first).__name__}. {instead_of_data(first)}"
        )
    return given, first


def check_length(count: int, steps_per_epoch: int | None) -> None:
    """Raises `ValueError` if a dataset of so many elements has none, or an epoch of it would never be over."""
    if count == 0:
        raise ValueError(
            "StreamData needs data. Received: a dataset without elements. If that is because of "
            "batch(n, drop_remainder=True) and fewer than n examples, leave out drop_remainder."
        )
    if count == INFINITE and steps_per_epoch is None:
        raise ValueError(
            "StreamData received a dataset without end and no steps_per_epoch: an epoch would never be over. "
            "Give steps_per_epoch=..., or leave out .repeat()."
        )


def check_spec(spec: Nest, first: Nest, epoch: int) -> None:
    """Raises `ValueError` if the dataset of an epoch yields something else than the first one."""
    if not _alike(spec, first):
        # In short, unless the difference would not be seen so.
        of_each = (specs(first), specs(spec)) if specs(first) != specs(spec) else (first, spec)
        raise ValueError(
            f"The dataset of epoch {epoch + 1} has {of_each[1]}, that of the first epoch had {of_each[0]}. All "
            "that the function returns must have batches of the same kinds: cast and batch them alike."
        )


def _alike(spec: Nest, first: Nest) -> bool:
    """Returns whether what has one spec can be what has the other: lengths may be unknown in either."""
    try:
        tf.nest.assert_same_structure(spec, first)
    except (TypeError, ValueError):  # of another kind, or of another length
        return False
    pairs = zip(tf.nest.flatten(spec), tf.nest.flatten(first), strict=True)
    return all(of_first.is_compatible_with(of_this) for of_this, of_first in pairs)
