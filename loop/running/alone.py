"""Who has a loop for himself, to train or to evaluate: both move the data, and put variables back."""

import contextlib
import threading
from collections.abc import Iterator


class Alone:
    """Lets one in at a time, and nobody wait: a hook that runs its own loop would wait for itself.

    Not by a lock, which an interrupt just behind it would leave taken for good: what is done with a list is done, or it
    is not.
    """

    def __init__(self) -> None:
        self._claims, self._thread = list[object](), 0  # the first one has it, in that thread

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it."""
        return bool(self._claims)

    @property
    def is_mine(self) -> bool:
        """Whether this thread has it."""
        return self._thread == threading.get_ident()

    @contextlib.contextmanager
    def taken(self, why_not: str) -> Iterator[None]:
        """Has it within; raises `RuntimeError` with that text if somebody else has it."""
        me = object()
        try:
            self._claims.append(me)
            if self._claims[0] is not me:
                raise RuntimeError(why_not)
            self._thread = threading.get_ident()
            yield
        finally:
            self._thread = 0 if self._claims[:1] == [me] else self._thread  # first: who is next writes its own
            if me in self._claims:
                self._claims.remove(me)
