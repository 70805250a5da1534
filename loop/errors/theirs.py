"""Which lines of a traceback are the user's."""

import functools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Line(NamedTuple):
    """A line of a program."""

    file: str
    number: int
    function: str


def _directory(file: str | None) -> str:
    return os.path.join(os.path.dirname(os.path.abspath(file or "")), "")


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = (LOOP, *_) = tuple(os.path.join(ROOT, name, "") for name in ("loop", "hooks", "exactloop"))
PYTHON = _directory(os.__file__)
PACKAGES = f"-packages{os.sep}"  # site-packages, dist-packages
SITE = _directory(os.path.dirname(np.__file__))
INSIDE = ("absl", "gast", "google", "h5py", "ml_dtypes", "optree", "tensorboard", "wrapt")  # called by these
LIBRARIES = (
    *(_directory(module.__file__) for module in (tf, keras, np)),
    *(os.path.join(SITE, name, "") for name in INSIDE),
    *OURS,
)
TYPED = ("<cell", "<console", "<doctest", "<input", "<ipython", "<python-input", "<stdin", "<string")  # by a user

STEP = (f"{LOOP}steps.py", "__call__")  # calls the step
STAGE = os.path.join("data", "ops", "structured_function.py")  # calls a function of a pipeline


def of_user(files: Sequence[str]) -> list[bool]:
    """Returns which of the files of a traceback, outermost first, are the user's.

    That is his program, what it imports, and what TensorFlow, Keras or we call, such as a layer or a hook, wherever
    that is installed. It is not what these call in turn from other packages, such as pandas.
    """
    # Where a package has been called by a library, such as a layer of another package, all its lines count.
    packages, found, by_library = set[str](), list[bool](), True
    for file in files:
        if file.startswith(LIBRARIES):
            by_library = True
            found.append(False)
        elif file.startswith("<") and not file.startswith(TYPED):
            found.append(False)  # such as <frozen importlib>
        elif file.startswith(PYTHON) and PACKAGES not in file:
            found.append(False)  # on the way to others, as contextlib is
        else:
            package = package_of(file)
            if by_library:
                packages.add(package)
            found.append(not package or package in packages)
            by_library = False
    return found


def since_called(stack: Sequence[Line]) -> list[Line]:
    """Returns the user's lines of a stack, outermost first, without those that have called what was traced."""
    # The innermost: a step may be traced within the trace of another one.
    step = max((i for i, line in enumerate(stack) if (line.file, line.function) == STEP), default=-1)
    stage = max((i for i, line in enumerate(stack) if line.file.endswith(STAGE)), default=-1)
    if stage > step:
        return _users(stack[stage:]) or _users(stack[:stage])[-1:]  # a function of TensorFlow's has no line of theirs
    # Where no step is on the stack, what our own code has called last.
    begun = max((i for i, line in enumerate(stack) if line.file.startswith(LOOP)), default=0)
    return _users(stack[begun if step < 0 else step :])


def _users(stack: Sequence[Line]) -> list[Line]:
    return [line for line, so in zip(stack, of_user([line.file for line in stack]), strict=True) if so]


@functools.cache
def package_of(file: str) -> str:
    """Returns where the package is that was installed and has this file; nothing of a program's own."""
    before, between, after = file.rpartition(PACKAGES)
    if between:
        return f"{before}{between}{after.split(os.sep)[0]}"
    # As pip does with `--target`: a program may stand beside what was installed there.
    paths = [os.path.join(place, file[len(place) :].strip(os.sep).split(os.sep)[0]) for place in _within(file)]
    return next((path for path in paths if os.path.basename(path) in _installed(os.path.dirname(path))), "")


def _within(file: str) -> list[str]:
    """Returns where packages are looked for, of what has this file."""
    return [place for place in map(os.path.abspath, sys.path) if file.startswith(os.path.join(place, ""))]


@functools.cache
def _installed(place: str) -> set[str]:
    """Returns what was installed there: the first parts of its files' names."""
    # What is there to be edited, by `pip install -e`, has no record.
    lines = [
        line
        for record in Path(place).glob("*.dist-info/RECORD")
        for line in record.read_text("utf-8", "replace").splitlines()
    ]
    return {re.split("[/,]", line)[0] for line in lines}
