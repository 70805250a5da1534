"""Has others who write to the terminal write above the last line."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator

from absl import logging as absl_logging

from hooks.screen.last_line import LastLine


class Beside(io.RawIOBase):
    """The bytes of a stream of text, on their way to the terminal.

    Args:
        stream: Where they go.
        line: What is to stand below them.
    """

    def __init__(self, stream: io.TextIOWrapper, line: LastLine) -> None:
        self._stream, self._line, self._process = stream, line, os.getpid()

    @property
    def name(self) -> str:
        """As it is called, such as `<stdout>`."""
        return self._stream.name

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        # In a forked process, the lock may be held for good, and the line is its parent's.
        with self._line.others(bytes(data)) if os.getpid() == self._process else contextlib.nullcontext():
            self._stream.buffer.write(data)
            self._stream.flush()
        return len(data)


@contextlib.contextmanager
def beside(line: LastLine) -> Iterator[None]:
    """Has standard output and standard error, and what logs to them, write above a line, where they are terminals.

    What is no terminal is left alone, or what a program prints into a file would not get there.
    """
    with contextlib.ExitStack() as taken:
        for name in ("stdout", "stderr"):
            stream = vars(sys)[name]
            if isinstance(stream, io.TextIOWrapper) and stream.isatty():
                stream.flush()
                # A stream like it, with `buffer` and everything: programs do more with theirs than to print.
                new = io.TextIOWrapper(
                    Beside(stream, line),
                    encoding=stream.encoding,
                    errors=stream.errors,
                    write_through=True,
                )
                taken.callback(_put, name, new, stream)
                _put(name, stream, new)
        yield


def _put(name: str, old: io.TextIOWrapper, new: io.TextIOWrapper) -> None:
    """Puts a stream in the place of another: in `sys`, and in handlers of `logging`, which hold it since they began."""
    if vars(sys)[name] is old:  # else somebody has put theirs there meanwhile
        setattr(sys, name, new)
    for handler in _handlers():
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


def _handlers() -> Iterator[logging.Handler]:
    yield from logging.root.handlers
    for logger in [*logging.root.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers
    yield absl_logging.get_absl_handler().python_handler
