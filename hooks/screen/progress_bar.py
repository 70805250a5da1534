"""A line that is drawn again and again: on a terminal, in a notebook, or nowhere."""

import contextlib
import os
from collections.abc import Callable
from typing import Protocol

import rich.console
from rich.color import ColorSystem
from rich.text import Text

from hooks.screen.beside import beside
from hooks.screen.last_line import LastLine
from hooks.shared.progress_line import DONE, LEFT, ProgressLine

IN_NOTEBOOK = 100  # columns
COLOURS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}
WITHOUT_UNICODE = str.maketrans({DONE: "#", LEFT: "-", "…": "."})


class Bar(Protocol):
    """Something that shows a line, which is always the same object."""

    live: bool

    def draw(self) -> None:
        """Shows the line as it is now."""
        ...

    def above(self, line: str) -> None:
        """Writes a line, as it is, above it."""
        ...

    def stop(self, *, keep: bool) -> None:
        """Ends it; the line stays or goes."""
        ...


class TerminalBar:
    """The last line of a terminal; what others print comes above it."""

    live = True

    def __init__(self, console: rich.console.Console, line: ProgressLine) -> None:
        self._console, self._line = console, line
        self._last: LastLine | None = None  # while it is there
        self._beside = contextlib.ExitStack()

    def draw(self) -> None:
        if self._last is None:
            self._last = LastLine(self._console.file)
            # From the first drawing on, prints of others come above it.
            self._beside.enter_context(beside(self._last))
        self._last.show(self._text())

    def above(self, line: str) -> None:
        if self._last is None:
            self._console.out(line, highlight=False)
        else:
            self._last.above(line, self._text())

    def stop(self, *, keep: bool) -> None:
        last, self._last = self._last, None
        if last is not None:
            try:
                last.end(keep=keep)
            finally:
                self._beside.close()

    def _text(self) -> str:
        text = self._line.text(self._console.width)  # as wide as it is now: a window may be resized
        if not self._console.encoding.startswith("utf"):
            text.plain = text.plain.translate(WITHOUT_UNICODE)
        return _coloured(text, self._console)


class NotebookBar:
    """An output of a notebook's cell, which is changed in its place."""

    live = True

    def __init__(self, console: rich.console.Console, line: ProgressLine) -> None:
        self._console, self._line, self._update = console, line, list[Callable[[dict[str, str]], object]]()

    def draw(self) -> None:
        shown = {"text/plain": self._line.text(IN_NOTEBOOK).plain}
        if not self._update:
            from IPython.display import display  # there, where a notebook is

            handle = display(shown, raw=True, display_id=True)
            # By its id, the output is changed in its cell, wherever the cursor is by then.
            self._update = [lambda shown: handle.update(shown, raw=True)]
        else:
            self._update[0](shown)

    def above(self, line: str) -> None:
        self._console.out(line, highlight=False)

    def stop(self, *, keep: bool) -> None:
        if self._update and not keep:
            self._update[0]({"text/plain": ""})
        self._update = []


class NoBar:
    """Nothing: what is said comes in lines."""

    live = False

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console

    def draw(self) -> None:
        pass

    def above(self, line: str) -> None:
        self._console.out(line, highlight=False)

    def stop(self, *, keep: bool) -> None:
        pass


def _coloured(text: Text, console: rich.console.Console) -> str:
    """Returns what `console.print` would write of one line, in a fifth of the time."""
    system = None if console.no_color else COLOURS.get(console.color_system or "")
    if system is None:
        return text.plain
    parts = text.render(console)
    return "".join(part.style.render(part.text, color_system=system) if part.style else part.text for part in parts)


def bar(console: rich.console.Console, line: ProgressLine) -> Bar:
    """Returns what can be drawn there."""
    if console.is_jupyter:
        return NotebookBar(console, line)
    return TerminalBar(console, line) if _is_terminal(console) else NoBar(console)


def _is_terminal(console: rich.console.Console) -> bool:
    """Returns whether a line can be drawn again and again."""
    ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if ci or not console.is_terminal or not console.is_interactive or console.is_dumb_terminal:
        return False
    # FORCE_COLOR says that standard error has colours, also where it is a file, which is no place for a bar.
    with contextlib.suppress(ValueError):  # it is closed
        return not console.stderr or console.file.isatty()
    return False
