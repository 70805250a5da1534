"""Which hashes that others have saved are compared with those that are made here."""

import contextlib
import contextvars
from collections.abc import Iterator

# Of all hashes that are saved: of values, data, steps, pipelines, and of Python. Whoever changes what one of them says
# of the same thing raises it: what others have saved is then not compared with, instead of being found different.
FINGERPRINT = 3
BY_BYTES = 2  # up to then files were told apart by their bytes, and now by what is read of them
COMPARABLE = (BY_BYTES, FINGERPRINT)  # of these, all else is hashed in the same way, and files can be in both
_WANTED = contextvars.ContextVar("fingerprint", default=FINGERPRINT)


def by_bytes() -> bool:
    """Returns whether files are to be told apart by their bytes."""
    return _WANTED.get() <= BY_BYTES


@contextlib.contextmanager
def as_with(fingerprint: int | None) -> Iterator[None]:
    """Has what is described within be described as with one of `COMPARABLE`; None: the latest."""
    token = _WANTED.set(fingerprint or FINGERPRINT)
    try:
        yield
    finally:
        _WANTED.reset(token)
