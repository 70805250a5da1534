"""Something that is made before it is needed."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")
MAKER = ThreadPoolExecutor(1, thread_name_prefix="early")  # one for all: to start a thread each time takes 1 ms


class Early(Generic[Made]):
    """Calls a function in another thread. If that fails, or has not begun, it is called when its value is wanted.

    Args:
        make: The function; its value must be the same whenever it is called.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._future: Future[Made] | None = None
        with contextlib.suppress(RuntimeError):  # the main thread has ended; training may go on in another
            self._future = MAKER.submit(make)

    def get(self) -> Made:
        """Returns the value, as soon as it is there."""
        if self._future is None or self._future.cancel() or self._future.exception() is not None:
            return self._make()
        return self._future.result()
