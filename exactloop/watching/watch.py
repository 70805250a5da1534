"""The command `exactloop watch`."""

import dataclasses
import io
import os
import sys
import time

import rich.live

from exactloop.options import JSON, ONCE
from exactloop.printing import Console, as_json
from exactloop.watching.found import runs
from exactloop.watching.picture import NOTHING, picture
from exactloop.watching.run import WatchedRun
from exactloop.watching.status import Status
from hooks.shared.paths import is_remote

EACH = 1.0  # seconds between two looks


class Watch:
    """The runs below some directories, those that begin meanwhile included."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories
        self._runs = dict[str, WatchedRun]()

    def look(self) -> list[tuple[str, Status | None]]:
        """Returns what each of them is called, and what is known of it."""
        # One directory may lie in another, and each run is shown once.
        paths = dict.fromkeys(run for directory in self._directories for run in runs(directory))
        self._runs = {path: self._runs.get(path) or WatchedRun(path) for path in paths}
        return [(path, run.look()) for path, run in self._runs.items()]


def watch(*directories: str) -> int:
    """Shows what runs are doing, again and again, until it is interrupted."""
    for directory in directories:
        _check(directory)
    watching = Watch(directories)
    if JSON.value:  # once, whatever stands beside it: machines ask again themselves
        print(as_json([status and dataclasses.asdict(status) for _, status in watching.look()]))
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where a curve cannot be written
    console = Console(highlight=False)
    if ONCE.value or not console.is_terminal or console.is_dumb_terminal:
        console.print(picture(_seen(watching), console.width))
        return 0
    try:
        # No thread of rich's: one picture for each look.
        with rich.live.Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(picture(watching.look(), console.width), refresh=True)
                time.sleep(EACH)
    except KeyboardInterrupt:
        return 0


def _seen(watching: Watch) -> list[tuple[str, Status | None]]:
    found = watching.look()
    if not any(status for _, status in found):
        raise FileNotFoundError(f"{NOTHING.replace(' is here yet', f' is in {found[0][0]!r}')}")
    return found


def _check(directory: str) -> None:
    if is_remote(directory):  # listing an address each second would cost money
        raise ValueError(f"It reads directories of this machine. Received: {directory!r}.")
    if not os.path.exists(directory):
        raise FileNotFoundError(f"There is no directory {directory!r}.")
    if not os.path.isdir(directory):
        above = os.path.dirname(directory) or "."
        raise NotADirectoryError(f"It needs the directory of a run. Received a file. Write exactloop watch {above}")
    os.listdir(directory)  # raises if it may not be read, where looking below it would find nothing
