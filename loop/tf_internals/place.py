"""A name of theirs that one thread has mean something else for a while, and no other thread."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Attribute:
    """Where TensorFlow or Keras keeps a function, or a class a method.

    As long as a thread has filled it, what is there asks which thread calls it. So another one, which trains a model of
    its own or predicts, goes on with what is theirs; and when the last one has left, that is back.

    Args:
        owner: A module or a class.
        name: The name in it.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name, self._lock = owner, name, threading.Lock()
        self._by_thread: dict[int, Callable[..., Any]] = {}

    @contextlib.contextmanager
    def filled(self, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
        """While in it, this thread has what `make` returns, which is called with what it would have without."""
        me = threading.get_ident()
        with self._lock:
            if not self._by_thread:
                self._usual = getattr(self._owner, self._name)
                setattr(self._owner, self._name, self._asking())
            before = self._by_thread.get(me)
            self._by_thread[me] = make(before or self._usual)
        try:
            yield
        finally:
            with self._lock:
                if before is None:
                    del self._by_thread[me]
                else:
                    self._by_thread[me] = before
                if not self._by_thread:
                    setattr(self._owner, self._name, self._usual)

    def _asking(self) -> Callable[..., Any]:
        by_thread, usual = self._by_thread, self._usual

        def ask(*args: Any, **kwargs: Any) -> Any:  # a function, so that a class makes a method of it
            return by_thread.get(threading.get_ident(), usual)(*args, **kwargs)

        return ask
