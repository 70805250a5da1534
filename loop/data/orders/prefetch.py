"""Something that is made before it is needed."""

import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

log = logging.getLogger("exactloop")
Made = TypeVar("Made")
MAKER = ThreadPoolExecutor(1, thread_name_prefix="early")  # one for all: to start a thread each time takes 1 ms


class Prefetched(Generic[Made]):
    """Calls a function in another thread. If that fails, or has not begun, it is called when its value is wanted.

    Args:
        make: The function; its value must be the same whenever it is called.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._future: Future[Made] | None = None
        self._given_up = False
        try:
            self._future = MAKER.submit(self._early)
        except RuntimeError as error:  # no thread can be made; or the main one is gone, and another one trains
            self._given_up = True
            if threading.main_thread().is_alive():
                _say_once(str(error))

    def get(self) -> Made:
        """Returns the value, as soon as it is there."""
        # What has not begun is made here at once: the thread may be busy with another's.
        if self._future is None or self._future.cancel() or self._future.exception() is not None:
            return self._make()
        return self._future.result()

    def _early(self) -> Made:
        if self._given_up:  # it is among those to be called all the same, if a thread can be made later
            raise RuntimeError
        return self._make()


@functools.cache
def _say_once(why: str) -> None:
    log.warning("Orders of the data are made when they are needed, and not before: %s.", why)
