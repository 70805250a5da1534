"""What a life does to the disk, heard by an audit hook: when it is inside a save, what it removes, what it writes."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable

from hooks.shared.paths import BELOW

COMMITTED = re.compile(r"ckpt-([0-9]+)\.json")
REMOVING = ("shutil.rmtree", "os.remove", "os.rmdir", "os.rename")


WRITING = os.O_WRONLY | os.O_RDWR
NOT_ITS = re.compile(r"/(dev|proc|sys)/|.*/(\.|__pycache__/|[a-z]+-packages/)")  # of the system, hidden, of Python


def listen(
    committing: Callable[[int, str], None], removing: Callable[[str], None], writing: Callable[[str], None]
) -> None:
    """Listens until the process ends.

    Args:
        committing: Is called with step and directory when all files of a checkpoint are written, and its manifest is
            about to get its name.
        removing: Is called with what is about to be removed or renamed by its path, as programs do; this package does
            it relative to a directory that is open.
        writing: Is called once with the path of each file that is opened to be written to, but for those that hooks
            keep elsewhere, temporary ones, and some that no program means.
    """
    # Asked now, because to ask makes and removes a file.
    temporary, here = f"{tempfile.gettempdir()}/", f"{os.getcwd()}/"
    of_hooks, written = f"{os.environ.get(BELOW)}/", set[str]()

    def is_its(path: str) -> bool:
        # Who works below the temporary directory has files of his own there.
        other = path.startswith(temporary) and not (here.startswith(temporary) and path.startswith(here))
        return not (other or path.startswith(of_hooks) or NOT_ITS.match(path))

    # Called for thousands of events, in any thread; an audit hook cannot be taken off again.
    def heard(event: str, given: tuple) -> None:
        if event == "open" and isinstance(given[0], str | bytes) and isinstance(given[2], int) and given[2] & WRITING:
            with contextlib.suppress(FileNotFoundError):  # of a working directory that is gone
                path = os.path.abspath(os.fsdecode(given[0]))
                if path not in written and is_its(path):
                    written.add(path)
                    writing(path)
        if event not in REMOVING:
            return
        # This package names files by a directory's descriptor, which programs seldom do.
        relative = isinstance(given[-1], int) and given[-1] >= 0
        if event == "os.rename" and relative and (match := COMMITTED.fullmatch(os.fsdecode(given[1]))):
            committing(int(match[1]), os.readlink(f"/proc/self/fd/{given[-1]}"))
        elif not relative and not isinstance(given[0], int) and os.path.lexists(given[0]):
            removing(os.path.abspath(os.fsdecode(given[0])))

    sys.addaudithook(heard)
