"""What workers print, with a word before each line that says who it was: no line is cut by another."""

import contextlib
import os
import select
from typing import IO

AT_ONCE = 2**16  # bytes that are read, and of a line that is waited for


class WorkerOutput:
    """The end of a pipe into which a worker writes; what comes out of it is passed on line by line.

    Args:
        pipe: The pipe.
        prefix: What to put before each line.
        to: The file descriptor to write to.
    """

    def __init__(self, pipe: IO[bytes], prefix: str, to: int) -> None:
        self._pipe, self._prefix, self._to = pipe, prefix.encode(), to
        self._rest = b""
        # One worker that prints half a line must not keep the output of the others waiting.
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        """Returns what to wait for."""
        return self._pipe.fileno()

    def pass_on(self) -> bool:
        """Passes on some of what is there; returns whether there may be more, now or later."""
        try:
            read = os.read(self.fileno(), AT_ONCE)
        except BlockingIOError:
            return True
        # What follows the last line break waits for its own, or two workers would share a line.
        *lines, self._rest = (self._rest + read).split(b"\n")
        if self._rest and (not read or len(self._rest) >= AT_ONCE):  # at the end, or too long to be kept in memory
            lines, self._rest = [*lines, self._rest], b""
        write(self._to, b"".join(b"%s%s\n" % (self._prefix, line) for line in lines))
        return bool(read)

    def close(self) -> None:
        """Closes the pipe: whoever writes to it now writes to nobody."""
        self._pipe.close()


def write(to: int, text: bytes) -> None:
    """Writes to a file descriptor. What cannot be written is lost, and the workers train on.

    Nobody may read it any more, as behind `| head`; the disk may be full, or the terminal gone.
    """
    with contextlib.suppress(OSError):
        while text:
            try:
                text = text[os.write(to, text) :]  # a write into a pipe may be short
            except BlockingIOError:  # somebody else who has it open has made it so: it is full just now
                select.select([], [to], [])
