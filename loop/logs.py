"""The logger of both packages, which ends no run because what it writes to is closed or full."""

import contextlib
import logging
from typing import Final

LOGGER: Final = logging.getLogger("exactloop")


def _call_handlers(record: logging.LogRecord) -> None:
    with contextlib.suppress(OSError, ValueError):  # Python's own handlers let those of a closed file out
        type(LOGGER).callHandlers(LOGGER, record)


LOGGER.callHandlers = _call_handlers  # type: ignore[method-assign]
