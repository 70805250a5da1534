"""Deliberate mistakes in the real source: for tests that have to notice each of them."""

import ast
import contextlib
import importlib
import linecache
import sys
import types
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from places import ROOT

USERS = ("loop", "hooks", "many", "worker_cases")  # packages, and what of the tests uses their classes by name


class Bug(NamedTuple):
    """A mistake: in a module, one text stands instead of another."""

    name: str
    module: str
    right: str
    wrong: str
    more: str = ""  # stands behind all


def out_of_place(bugs: Iterable[Bug]) -> list[str]:
    """Returns which mistakes cannot be planted any more: what they replace is not once in the source, or elsewhere."""
    return [bug.name for bug in bugs if _source(bug).count(bug.right) != 1 or not _is_python(_with(bug))]


def _with(bug: Bug) -> str:
    return _source(bug).replace(bug.right, bug.wrong) + bug.more


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _source(bug: Bug) -> str:
    return (ROOT / f"{bug.module.replace('.', '/')}.py").read_text(encoding="utf-8")


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Puts a mistake into the loaded packages: whoever uses a class or function of that module uses the wrong one."""
    module, source = importlib.import_module(bug.module), _source(bug)
    if source.count(bug.right) != 1:
        raise ValueError(
            f"{bug.name}: expected once in {bug.module}, found {source.count(bug.right)} times: {bug.right!r}"
        )
    wrong = types.ModuleType(bug.module)
    wrong.__file__ = module.__file__
    text = _with(bug)
    linecache.cache[bug.name] = len(text), None, text.splitlines(keepends=True), bug.name  # where AutoGraph reads it
    exec(compile(text, bug.name, "exec"), vars(wrong))
    own = {
        name: value
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == bug.module and callable(value)
    }
    users = [m for name, m in sys.modules.items() if name.split(".")[0] in USERS]
    changed = [(user, name) for user in users for name, value in own.items() if vars(user).get(name) is value]
    for user, name in changed:
        setattr(user, name, getattr(wrong, name))
    try:
        yield
    finally:
        for user, name in changed:
            setattr(user, name, own[name])
