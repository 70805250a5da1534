"""Values that stand in the place of the trained ones between two runs, such as the best weights there were."""

from collections.abc import Mapping

import tensorflow as tf

from loop.state.derived import Attributes, Derived


class Overridden:
    """Knows what the trained values are while others are shown.

    Args:
        derived: What layers derive from their variables.
    """

    def __init__(self, derived: Derived) -> None:
        self._trained: dict[str, tf.Tensor] = {}  # by path; empty while nothing else is shown
        self._attributes: Attributes = derived.capture()

    def override(self, values: Mapping[str, tf.Tensor], variables: Mapping[str, tf.Variable], derived: Derived) -> None:
        """Assigns values, by path. Of what is shown twice, the trained value is the one before the first time."""
        if not self._trained:
            self._attributes = derived.capture()  # of the trained values, from before the first time
        self._trained |= {path: variables[path].read_value() for path in values if path not in self._trained}
        for path, value in values.items():
            variables[path].assign(value)
        derived.again()

    def revert(self, variables: Mapping[str, tf.Variable], derived: Derived) -> None:
        """Assigns the trained values again."""
        for path, value in self._trained.items():
            variables[path].assign(value)
        if self._trained:
            derived.rollback(self._attributes)  # what was derived of the trained ones
        self._trained = {}
