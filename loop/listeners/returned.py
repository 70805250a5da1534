"""What methods of hooks return, which nobody reads of most of them, and which methods nobody calls."""

import numbers
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import numpy as np
import tensorflow as tf

from loop.errors.kinds import shown
from loop.logs import LOGGER

UNREAD = "Hook %r: what it returns from %s, nobody reads. Received: %s. %s"
VALUE = (
    "To have a value logged, announce it, as in reports = ('probe',), and write moment.report(probe=0.5) in "
    "on_step_end, on_eval_end or on_epoch_end."
)
ANSWER = "To end the run, write moment.stop('why'); to keep something, set it on the hook."
NOTHING = "Return nothing."


class Returned:
    """Tells of what hooks have returned, once of each of their methods: elsewhere it would be logged, or end a run.

    And of methods that are never called.
    """

    def __init__(self) -> None:
        self._told = set[tuple[str, str]]()

    def tell(self, name: str, method: str, handler: Callable[..., object], given: object) -> None:
        """Warns of a value.

        Args:
            name: The hook.
            method: What was called.
            handler: The function that returned it.
            given: The value.
        """
        # A lambda returns whatever is in it, such as the number of bytes that it wrote; but values by name are meant.
        expression = getattr(handler, "__name__", "") == "<lambda>"
        if (name, method) in self._told or (expression and not isinstance(given, Mapping)):
            return
        self._told.add((name, method))
        LOGGER.warning(UNREAD, name, method, shown(given), _instead(given))

    def tell_uncalled(self, name: str, method: str, instead: str) -> None:
        """Warns of a method that nobody calls.

        Args:
            name: The hook.
            method: The method.
            instead: What to write, in a sentence.
        """
        if (name, method) not in self._told:
            self._told.add((name, method))
            LOGGER.warning("Hook %r: no event calls %s, nor does another method of it. %s", name, method, instead)


def check_context(name: str, given: object) -> AbstractContextManager[object]:
    """Returns what a hook's `around_run` has returned. Raises `TypeError` if it is no context."""
    if not isinstance(given, AbstractContextManager):
        raise TypeError(
            f"Hook {name!r}: around_run(loop) returns a context, which is entered before all else. Received: "
            f"{shown(given)}. Write @contextlib.contextmanager above it, and a yield where the run goes on; or return "
            "contextlib.nullcontext()."
        )
    return given


def _instead(given: object) -> str:
    if isinstance(given, bool | np.bool_):
        return ANSWER
    return VALUE if isinstance(given, Mapping | numbers.Number | np.ndarray | tf.Tensor) else NOTHING
