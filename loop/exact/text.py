"""What the files of a program say, by which another process tells whether somebody has changed it."""

import functools
import hashlib
import os
import sys
import types
from typing import NamedTuple

from loop.errors.theirs import of_user
from loop.errors.tracebacks import GENERATED

DRAWS = b"random"  # is in the name of nearly all that draws


class Text(NamedTuple):
    """The text of a program.

    Attributes:
        number: Another one for most other texts: 48 bits. 0 if nobody can tell, as of what was typed.
        draws: Whether anything that draws random numbers is named in it.
    """

    number: int
    draws: bool


@functools.cache
def program_text() -> Text:
    """Returns the text of the script and of what it has imported of its own, wherever that is, when first asked."""
    script = _file(sys.modules["__main__"])
    if script is None:
        return Text(0, draws=False)
    texts = {_read(file) for module in [*sys.modules.values()] if (file := _file(module))}
    whole = hashlib.sha256(repr(sorted(hashlib.sha256(text).digest() for text in texts)).encode())
    return Text(1 + int(whole.hexdigest()[:12], 16), draws=any(DRAWS in text.lower() for text in texts))


def _file(module: types.ModuleType) -> str | None:
    """Returns the file of a module that is of the program, and not of a library."""
    # Not by attribute: there are modules that are imported when one is asked for.
    file = vars(module).get("__file__") if isinstance(module, types.ModuleType) else None
    if not isinstance(file, str) or not file.endswith(".py") or "-packages" in file or GENERATED in file:
        return None
    return file if of_user([os.path.abspath(file)])[0] else None


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError:  # removed since, or of a directory that the process has left
        return b""
