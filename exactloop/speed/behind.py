"""Clears up behind a process that is gone, however it went: by SIGKILL, too, of which it hears nothing itself."""

import subprocess
import sys

CODE = """
import contextlib, os, shutil, signal, sys
groups = sys.stdin.read().split()  # returns when the other end is closed, however that came about
for group in map(int, groups):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Behind:
    """A small process that waits for the end of this one, and then kills what it was told of and removes a directory.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: str) -> None:
        # In a session of its own: Ctrl-C goes to all of the terminal's group, and this one has to outlive that.
        command = [sys.executable, "-I", "-S", "-c", CODE, directory]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def kill_group(self, group: int) -> None:
        """Has a group of processes killed then, too."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{group}\n")
            self._process.stdin.flush()

    def end(self) -> None:
        """Says that everything is cleared up already."""
        self._process.kill()
        self._process.communicate()
