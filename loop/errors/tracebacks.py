"""Errors are shown with the lines of the user's program only; the last one is where it went wrong."""

import contextlib
import dis
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType, FunctionType, TracebackType
from typing import NamedTuple, ParamSpec, TypeVar

import keras
import tensorflow as tf

from loop.errors.op_errors import shortened
from loop.errors.theirs import LIBRARIES, Line, of_user
from loop.tf_internals import SourceMaps, origin, set_message, source_maps

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
GENERATED, MAIN = "__autograph_generated_file", "tf__"  # AutoGraph's files, and how it calls the functions in them
MADE = {"sys": sys}  # the globals of frames that stand for a line
IN_USER_CODE = "in user code:"  # begins the message of the copy that AutoGraph raises in the place of an error
TENSORFLOW = os.path.join(os.path.dirname(tf.__file__), "")


class TracebackLine(NamedTuple):
    """A line of a traceback: as Python has it."""

    frame: FrameType
    instruction: int
    number: int


class Shown(NamedTuple):
    """What becomes of one exception.

    Attributes:
        error: The exception.
        traceback: Its new traceback.
        internal: Whether none of it is in the user's program.
        message: Its new message; None: the present one. For errors of TensorFlow.
    """

    error: BaseException
    traceback: TracebackType | None
    internal: bool
    message: str | None


def in_user_lines(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorates what users call: an exception comes out of it with the frames of the user's own program only.

    Neither TensorFlow's, Keras' nor our own are shown, unless `tf.debugging.disable_traceback_filtering()`, or that of
    `keras.config`, was called.
    """

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        # KeyboardInterrupt, too: where a program stood is read from its lines.
        except BaseException as raised:
            error = _shown(raised)
            if error is raised:
                raise  # which adds no frame, as `raise error` would
            # `raise error` in an `except` would set the context to the copy, and add this frame.
            kept = {name: getattr(error, name) for name in ("__traceback__", "__context__", "__suppress_context__")}
            try:
                raise error
            except BaseException:
                for name, value in kept.items():
                    _set(error, name, value)
                raise

    return call


def add_note(error: BaseException, note: str) -> None:
    """Adds a note to an exception, once; not to one that takes none, which is to come out as it is."""
    with contextlib.suppress(Exception):
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)


def by_library(error: BaseException) -> bool:
    """Returns whether an exception is of Python's, TensorFlow's, Keras' or ours, and of no `raise` of the user's."""
    try:
        _, entries = _original(error)
    except Exception:
        return False
    return not entries or entries[-1].frame.f_code.co_filename.startswith(LIBRARIES) or not _raises(entries[-1])


def add_lines(error: BaseException, lines: Iterable[Line]) -> None:
    """Adds to the traceback of an error lines of which Python does not know that they have led to it."""
    if _filters():
        entries = [*_entries(error.__traceback__), *map(_entry, lines)]
        error.__traceback__ = _chain(entries)


def _filters() -> bool:
    return bool(tf.debugging.is_traceback_filtering_enabled() and keras.config.is_traceback_filtering_enabled())


def _shown(raised: BaseException) -> BaseException:
    """Returns the exception that the user is to see, with no other frames than his; the same, if anything is amiss."""
    if not _filters():
        return raised
    try:
        error, entries = _original(raised)
        # All is worked out before anything is changed: if it fails, the exception comes out as it was.
        plan = list(_plan(error, entries, set()))
    except Exception:
        return raised
    for shown in plan:
        _set(shown.error, "__traceback__", shown.traceback)
        if isinstance(shown.error, tf.errors.OpError) and shown.message is not None:
            set_message(shown.error, shown.message)
    # Exceptions that only libraries have handled, as in trying one way after another, are left out.
    internal = {id(shown.error) for shown in plan[1:] if shown.internal}
    for shown in plan:
        if id(shown.error.__cause__) in internal:
            _set(shown.error, "__cause__", None)  # which leaves it as the context, that is not shown
        if id(shown.error.__context__) in internal:
            _set(shown.error, "__suppress_context__", True)
    if error is not raised:
        for note in vars(raised).get("__notes__", ()):
            add_note(error, note)
    return error


def _set(error: BaseException, name: str, value: object) -> None:
    BaseException.__setattr__(error, name, value)  # whatever the class of the exception does about attributes


def _original(error: BaseException) -> tuple[BaseException, list[TracebackLine]]:
    """Returns the error that AutoGraph has made a copy of, of another kind even, with a traceback in its message.

    And the entries of the whole traceback: that of the copy ends where that was made, if the kind is another one.
    """
    entries = list(_entries(error.__traceback__))
    while error.__context__ is not None and _is_copy(error):
        error = error.__context__
        inner = list(_entries(error.__traceback__))
        if inner and entries and entries[-1].frame is not inner[-1].frame:
            entries += inner
    return error, entries


def _is_copy(error: BaseException) -> bool:
    """Returns whether AutoGraph has raised it: an exception of the user's own may begin with the same text."""
    if error.__cause__ is not None or error.__traceback__ is None or not str(error).startswith(IN_USER_CODE):
        return False
    *_, last = _entries(error.__traceback__)
    return last.frame.f_code.co_filename.startswith(TENSORFLOW) or not _raises(last)


def _raises(last: TracebackLine) -> bool:
    """Returns whether the last line of a traceback is a `raise`, and has not called what TensorFlow left out of it."""
    code = last.frame.f_code.co_code
    return last.frame.f_globals is MADE or code[last.instruction] == dis.opmap["RAISE_VARARGS"]


def _plan(error: BaseException, entries: Sequence[TracebackLine], seen: set[int]) -> Iterator[Shown]:
    # Causes and contexts may lead back to an exception that was there already.
    seen.add(id(error))
    message, lines = shortened(error.message) if isinstance(error, tf.errors.OpError) else (None, [])
    kept = _users(entries, lines)
    yield Shown(error, _chain(kept), bool(entries) and not kept, message)
    others = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *others):
        if other is not None and id(other) not in seen:
            yield from _plan(other, list(_entries(other.__traceback__)), seen)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackLine]:
    while traceback is not None:
        yield TracebackLine(traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
        traceback = traceback.tb_next


def _users(entries: Sequence[TracebackLine], lines: Sequence[Line]) -> list[TracebackLine]:
    """Returns the entries that are in the user's program, with those lines after them that are not there yet."""
    # The maps of AutoGraph are gone through only where one of its files is met.
    files = [*(entry.frame.f_code.co_filename for entry in entries), *(line.file for line in lines)]
    if any(GENERATED in file for file in files):
        maps = source_maps()
        entries = list(_translated(entries, maps))
        lines = [line for line in (_origin(line, maps) for line in lines) if line is not None]
    theirs = of_user([_file(entry.frame) for entry in entries])
    kept = [entry for entry, so in zip(entries, theirs, strict=True) if so]
    known = {(entry.frame.f_code.co_filename, entry.number) for entry in kept}
    kept += [_entry(line) for line in lines if (line.file, line.number) not in known]
    return [
        entry for before, entry in zip([None, *kept], kept, strict=False) if before is None or not _same(before, entry)
    ]


def _same(one: TracebackLine, other: TracebackLine) -> bool:
    """Returns whether two entries made by `_entry` are of one line: AutoGraph makes several functions of a lambda."""
    made = one.frame.f_globals is other.frame.f_globals is MADE
    return made and one.number == other.number and one.frame.f_code.co_filename == other.frame.f_code.co_filename


def _file(frame: FrameType) -> str:
    """Returns the file of a frame; none, if `dataclasses` or its like has written the code."""
    file = frame.f_code.co_filename
    return "<generated>" if file == "<string>" and frame.f_globals.get("__name__") != "__main__" else file


def _translated(entries: Iterable[TracebackLine], maps: SourceMaps) -> Iterator[TracebackLine]:
    """Yields the lines that the user wrote in the place of those that AutoGraph has made of them."""
    before, waiting = "", None
    for entry in entries:
        file = entry.frame.f_code.co_filename
        if GENERATED in file:
            # A function has several frames there, one in the other: its branches are functions, too.
            if waiting is not None and (file != before or entry.frame.f_code.co_name.startswith(MAIN)):
                yield waiting
            before = file
            line = _origin(Line(file, entry.number, ""), maps)
            waiting = waiting if line is None else _entry(line)
            continue
        if waiting is not None and any(of_user([file])):
            yield waiting
            waiting = None
        yield entry
    if waiting is not None:
        yield waiting


def _origin(line: Line, maps: SourceMaps) -> Line | None:
    """Returns what a line was before AutoGraph; None if that is not known."""
    if GENERATED not in line.file:
        return line
    was = origin(maps, line.file, line.number)
    return was and Line(was.loc.filename, was.loc.lineno, was.function_name or "<lambda>")


def _entry(line: Line) -> TracebackLine:
    """Returns an entry for a line, as if it had been run."""
    # A function that was never written has to be run to have a frame: Python makes none otherwise.
    code = _here.__code__
    units = len(code.co_code) // 2
    # Says of all instructions that they are in the first line, and nothing of columns, which would be underlined.
    table = b"".join(bytes([0x80 | 13 << 3 | min(8, units - at) - 1, 0]) for at in range(0, units, 8))
    code = code.replace(co_filename=line.file, co_firstlineno=line.number, co_linetable=table)
    frame = FunctionType(code.replace(co_name=line.function, co_qualname=line.function), MADE)()
    return TracebackLine(frame, frame.f_lasti, line.number)


def _here() -> FrameType:
    return sys._getframe()


def _chain(entries: Sequence[TracebackLine]) -> TracebackType | None:
    following = None
    # From the innermost out, because a traceback is given the one that follows it when it is made.
    for frame, instruction, number in reversed(entries):
        following = TracebackType(following, frame, instruction, number)
    return following
