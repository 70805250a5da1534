"""A small terminal: what is to be seen, as lines, of what was written to it."""

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Mapping, Sequence

TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r|\n|[^\x1b\r\n]")


def seen(written: str, width: int) -> list[str]:
    """Returns the lines that a terminal of a width shows, with what has scrolled away, in the end."""
    lines, row, column = [""], 0, 0
    for match in TOKEN.finditer(written):
        number, command = match.groups()
        text = match.group()
        if text == "\r":
            column = 0
        elif text == "\n":
            row, column = row + 1, 0
        elif command == "A":
            row = max(0, row - int(number or 1))
        elif command == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif not command:
            if column == width:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def resize(terminal: int, width: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))


def recorded(command: Sequence[str], environment: Mapping[str, str], widths: Sequence[int]) -> tuple[int, str]:
    """Returns the exit status of a command at a pseudo-terminal, and what it has written.

    Args:
        command: The command.
        environment: Its environment.
        widths: How wide the terminal is: first, and after each `#` that is written.
    """
    process, terminal = pty.fork()
    if process == 0:
        mode = termios.tcgetattr(0)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, mode)
        os.write(1, b"#")
        os.read(0, 1)  # until it has its width
        os.execvpe(command[0], [*command], dict(environment))
    os.read(terminal, 1)
    resize(terminal, widths[0])
    os.write(terminal, b"\n")
    written, left = b"", [*widths[1:]]
    while piece := _read(terminal):
        written += piece
        if left and b"#" in piece:
            resize(terminal, left.pop(0))
            os.write(terminal, b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
