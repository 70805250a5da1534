"""The last line of a terminal, and what others write above it."""

import io
import logging
import os
import sys
from collections.abc import Callable

import pytest
from screen import seen

from hooks.screen.beside import beside
from hooks.screen.last_line import LastLine


class Terminal(io.TextIOWrapper):
    """A terminal that shows what was written to it."""

    def __init__(self, shown: io.BytesIO, name: str = "<stderr>") -> None:
        super().__init__(shown, encoding="utf-8", line_buffering=True)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Has standard output and standard error write to one terminal; returns what is written there."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal(written, f"<{name}>"))
    return written


def lines(shown: io.BytesIO, width: int = 80) -> list[str]:
    return seen(shown.getvalue().decode(), width)


def dots() -> None:
    for _ in range(3):
        print(".", end="", flush=True)


def own_bar() -> None:
    for i in range(3):
        sys.stderr.write(f"\r{i}")
    sys.stderr.write("\n")


WRITERS: dict[str, tuple[Callable[[], object], list[str]]] = {
    "print": (lambda: print("[red]a", "b", 3), ["[red]a b 3"]),
    "several lines": (lambda: print("a\n\nb"), ["a", "", "b"]),
    "standard error": (lambda: sys.stderr.write("a\n"), ["a"]),
    "bytes": (lambda: sys.stdout.buffer.write(b"a\n"), ["a"]),
    "colours": (lambda: print("\x1b[31ma\nb\n\x1b[0m", end=""), ["a", "b"]),
    "a line longer than the terminal": (lambda: print("ab " * 40), [("ab " * 40)[:80], ("ab " * 40)[80:].rstrip()]),
    "nothing": (lambda: print("", end=""), []),
    "a bar of its own": (own_bar, ["2"]),
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_write_stands_above_as_they_wrote_it(writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    write, expected = WRITERS[writer]
    line = LastLine(sys.stderr)
    with beside(line):
        line.show("bar 1")
        write()
        assert lines(shown) == [*expected, "bar 1"]
        line.above("epoch 1", "bar 2")
        line.show("bar 3")
        assert lines(shown) == [*expected, "epoch 1", "bar 3"]
        line.end(keep=True)
    assert lines(shown) == [*expected, "epoch 1", "bar 3", ""]


def test_a_part_of_a_line_is_left_alone_until_the_rest_of_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    line = LastLine(sys.stderr)
    with beside(line):
        line.show("bar 1")
        dots()
        assert lines(shown) == ["..."]
        line.show("bar 2")
        assert lines(shown) == ["..."]
        print()
        assert lines(shown) == ["...", "bar 2"]
        dots()
        line.above("epoch 1", "bar 3")
        assert lines(shown) == ["...", "...", "epoch 1", "bar 3"]
        dots()
        line.end(keep=True)
    assert lines(shown) == ["...", "...", "epoch 1", "...", "bar 3", ""]


def test_it_goes_without_a_trace_if_it_is_not_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    line = LastLine(sys.stderr)
    with beside(line):
        line.show("bar")
        print("a")
        line.end(keep=False)
        print("b")
    assert lines(shown) == ["a", "b", ""]


def test_a_line_within_another_one_takes_its_place_and_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    outer = LastLine(sys.stderr)
    with beside(outer):
        outer.show("outer 1")
        inner = LastLine(sys.stderr)
        with beside(inner):
            inner.show("inner 1")
            print("a")
            outer.show("outer 2")
            assert lines(shown) == ["a", "inner 1"]
            inner.end(keep=True)
        assert lines(shown) == ["a", "inner 1", "outer 2"]
        outer.end(keep=True)
    assert lines(shown) == ["a", "inner 1", "outer 2", ""]


def test_handlers_of_logging_write_above_and_have_their_stream_back(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    handler, logger, before = logging.StreamHandler(), logging.Logger("mine"), sys.stderr
    logging.root.manager.loggerDict["exactloop.test"] = logger
    logger.addHandler(handler)
    try:
        line = LastLine(sys.stderr)
        with beside(line):
            line.show("bar")
            logger.warning("careful")
            line.end(keep=True)
    finally:
        del logging.root.manager.loggerDict["exactloop.test"]
    assert lines(shown) == ["careful", "bar", ""]
    assert (handler.stream, sys.stderr) == (before, before)


def test_streams_are_what_they_were_to_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    before = sys.stdout
    with beside(LastLine(sys.stderr)):
        kept = sys.stdout
        assert (kept.name, kept.isatty(), kept.fileno(), kept.encoding) == ("<stdout>", True, 2, "utf-8")
        assert kept.write("abc") == 3
        mine = io.StringIO()
        monkeypatch.setattr(sys, "stdout", mine)  # such as contextlib.redirect_stdout that outlives the run
    assert sys.stdout is mine
    monkeypatch.setattr(sys, "stdout", before)
    print("after", file=kept)
    assert lines(shown) == ["abcafter", ""]


def test_what_is_no_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    file = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", file)
    line = LastLine(sys.stderr)
    with beside(line):
        line.show("bar")
        print("a")
        assert sys.stdout is file
        line.end(keep=False)
    file.flush()
    assert (file.buffer.getvalue(), lines(shown)) == (b"a\n", [""])  # type: ignore[attr-defined]


def test_a_forked_process_writes_without_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    line = LastLine(sys.stderr)
    with beside(line):
        line.show("bar")
        here = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        print("a")
    assert shown.getvalue().endswith(b"bara\n")


def test_a_terminal_that_is_gone_ends_nobodys_print() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("it is gone")

    line = LastLine(Gone())
    with pytest.raises(OSError, match="gone"):
        line.show("bar")
    with line.others(b"a\n"):
        pass
