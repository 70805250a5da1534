"""The seed of an order: given, or drawn when a run begins and saved with it."""

import operator
import random
from collections.abc import Callable, Mapping

from loop.data.orders.arguments import is_drawn, is_taken_back
from loop.state.resumable import Earlier

NAME = "seed"  # of a note, and of the argument


class Seed:
    """The seed of data of a class.

    Attributes:
        given: The lowest 64 bits of the one that they were given, as an int64; None: none was.

    Args:
        owner: The class.
        given: Any integer; or None.
        shuffles: Whether the data shuffle: else none has to be drawn.
    """

    def __init__(self, owner: str, given: int | None, *, shuffles: bool) -> None:
        self.given = None if given is None else _as_int64(operator.index(given))
        self._owner, self._drawn = owner, None if shuffles else 0

    @property
    def value(self) -> int:
        """The seed, which is drawn if there is none yet."""
        if self.given is not None:
            return self.given
        self.draw()
        return self._drawn or 0

    def draw(self) -> None:
        """Draws a seed that was not given, if there is none yet."""
        if self.given is None and self._drawn is None:
            self._drawn = random.getrandbits(63)

    def put(self, drawn: int) -> None:
        """Takes a seed for one that was not given."""
        self._drawn = drawn

    def noted(self) -> dict[str, int]:
        """Returns the seed that was given, to be noted, if it is seen to be drawn: an evaluation notes no other."""
        return {} if self.given is None or not is_drawn(self._owner, NAME) else {NAME: self.given}

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Takes the seed that was given when the run began, if it is seen to be drawn; see `is_taken_back`."""
        then = cursor.get(NAME, self.given)
        if self.given is None or then is None or not is_taken_back(self._owner, NAME, then, self.given, earlier):
            return
        self.given = then

    def mark(self) -> Callable[[], None]:
        """Returns what takes it back to what it is now."""
        held = self.given, self._drawn

        def go_back() -> None:
            self.given, self._drawn = held

        return go_back


def _as_int64(seed: int) -> int:
    return (seed + 2**63) % 2**64 - 2**63
