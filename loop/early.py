"""Something that is made before it is needed."""

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Early(Generic[Made]):
    """Calls a function in a thread of its own. Where that cannot be, or fails, it is called when its value is wanted.

    Args:
        make: The function; its value must be the same whenever it is called.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make, self._made = make, list[Made]()
        # Not of a pool: those take no work any more when the main thread has ended, and training may go on in another.
        self._thread = threading.Thread(target=self._run, name="early")
        try:
            self._thread.start()
            self._started = True
        except RuntimeError:  # the interpreter ends
            self._started = False

    def get(self) -> Made:
        """Returns the value, as soon as it is there."""
        if self._started:
            self._thread.join()
        return self._made[0] if self._made else self._make()

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # `get` raises it
            self._made.append(self._make())
