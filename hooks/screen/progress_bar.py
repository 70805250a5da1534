"""A line that is drawn again and again: on a terminal, in a notebook, or nowhere."""

import os
from collections.abc import Callable, Iterator
from typing import Protocol

import rich.console
import rich.live
from rich.text import Text

from hooks.shared.progress_line import Line

IN_NOTEBOOK = 100  # columns


class Bar(Protocol):
    """Something that shows a line, which is always the same object."""

    live: bool

    def draw(self) -> None:
        """Shows the line as it is now."""
        ...

    def stop(self, *, keep: bool) -> None:
        """Ends it; the line stays or goes."""
        ...


class Now:
    """The line as it is whenever rich draws it, below what is printed as well."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Iterator[Text]:
        yield self._line.text(console.width)  # as wide as it is now: a window may be resized


class TerminalBar:
    """The last line of a terminal; what others print comes above it."""

    live = True

    def __init__(self, console: rich.console.Console, line: Line) -> None:
        # No thread of its own beside the compiled loop.
        self._live = rich.live.Live(Now(line), console=console, auto_refresh=False)

    def draw(self) -> None:
        # From the first drawing on, prints of others go through rich, and come above it.
        if not self._live.is_started:
            self._live.start()
        self._live.refresh()

    def stop(self, *, keep: bool) -> None:
        if self._live.is_started:
            self._live.transient = not keep
            self._live.stop()


class NotebookBar:
    """An output of a notebook's cell, which is changed in its place."""

    live = True

    def __init__(self, line: Line) -> None:
        self._line, self._update = line, list[Callable[[dict[str, str]], object]]()

    def draw(self) -> None:
        shown = {"text/plain": self._line.text(IN_NOTEBOOK).plain}
        if not self._update:
            from IPython.display import display  # there, where a notebook is

            handle = display(shown, raw=True, display_id=True)
            # By its id, the output is changed in its cell, wherever the cursor is by then.
            self._update = [lambda shown: handle.update(shown, raw=True)]
        else:
            self._update[0](shown)

    def stop(self, *, keep: bool) -> None:
        if self._update and not keep:
            self._update[0]({"text/plain": ""})
        self._update = []


class NoBar:
    """Nothing: what is said comes in lines."""

    live = False

    def draw(self) -> None:
        pass

    def stop(self, *, keep: bool) -> None:
        pass


def bar(console: rich.console.Console, line: Line) -> Bar:
    """Returns what can be drawn there."""
    if console.is_jupyter:
        return NotebookBar(line)
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return TerminalBar(console, line) if console.is_terminal and not console.is_dumb_terminal and not ci else NoBar()
