"""What a training state was at one instant, to be put back."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from loop.state.randomness import Host


class StateValues(NamedTuple):
    """Values of variables by path, the random states of Python and NumPy, what puts back the states of hooks, and where
    the seeds are of what draws outside of graphs."""

    values: Mapping[str, tf.Tensor]
    host: Host
    others: Sequence[Callable[[], None]] = ()
    seeds: tuple[object, ...] | None = None
