"""What a program is given from outside of its text: arguments, variables of the environment, files of settings."""

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterator

from loop.exact.text import folder, texts

SETTINGS = r"[^\"'\s=]+\.(?:json|ya?ml|toml|ini|cfg|conf|env|gin|properties)"  # names of such files
LARGEST = 2**16  # bytes of one
WRITES = re.compile(rb"[\"'][wax][bt+]*[\"']|dump|write|save")  # is where a program opens a file to write it


def names_number(number: int) -> bool:
    """Returns whether the program, its arguments or its environment name a number; True if nobody can tell."""
    given = [*map(os.fsencode, (*sys.argv, *os.environ.values()))]
    own = texts()
    return not own or any(str(number).encode() in text.replace(b"_", b"") for text in (*own, *given))


def is_given(value: object) -> bool:
    """Returns whether a number or a text, or one in a list or dict, comes from outside of the text of a program.

    That is as an argument, such as `--size=3`, in a variable of the environment that the text names, or in a file of
    settings that one of these, or the text, names.
    """
    if isinstance(value, dict | list | tuple):
        return any(map(is_given, value.values() if isinstance(value, dict) else value))
    own = texts()
    named = [held for name, held in os.environ.items() if any(name.encode() in text for text in own)]
    parts = {part for each in (*sys.argv[1:], *named) for part in (each, each.rpartition("=")[2])}
    words = {word for text in _settings(own, parts) for word in re.split(r"[\s,:=\[\]{}\"']+", text)}
    return str(value) in parts | words or any(_is_number(part, value) for part in parts | words)


def is_set(number: int, *, same_program: bool) -> bool:
    """Returns whether somebody has set a number, and nobody has drawn it, as far as can be told.

    Args:
        number: The number.
        same_program: Whether the text of the program, that may name it, is what it was.
    """
    written = re.compile(rb"(?<!\d)%d(?!\d)" % number)
    return is_given(number) or (not same_program and any(written.search(text.replace(b"_", b"")) for text in texts()))


def _settings(own: Collection[bytes], given: Collection[str]) -> Iterator[str]:
    """Yields what is in files of settings, other than those that the program itself writes."""
    files = {each for each in given if re.fullmatch(SETTINGS, each)}
    for text in own:
        lines = text.splitlines()
        written = b"\n".join(line for line in lines if WRITES.search(line))
        for line in lines:
            for name in re.findall(rf"[\"']({SETTINGS})[\"']".encode(), line):
                # By its name, or by that of a variable.
                called = {name, *re.findall(rb"^\s*(\w+)\s*=", line)}
                files |= set() if any(each in written for each in called) else {os.fsdecode(name)}
    for file in {path for name in files for path in (name, os.path.join(folder(), name))}:
        if os.path.isfile(file) and os.path.getsize(file) <= LARGEST:
            with contextlib.suppress(OSError), open(file, errors="replace") as opened:
                yield opened.read()


def _is_number(text: str, value: object) -> bool:
    try:
        return bool(float(text) == value)
    except ValueError:
        return False
