"""What the files of a program say, by which another process tells whether somebody has changed it."""

import ast
import contextlib
import functools
import hashlib
import os
import re
import sys
import types
from collections.abc import Collection
from typing import NamedTuple

from loop.errors.theirs import of_user, package_of
from loop.errors.tracebacks import GENERATED
from loop.exact.despite_seed import NUMPY_SEED, draws_despite_seed, nodes_of

IN_ORDER = {"list", "tuple", "enumerate", "zip", "map", "iter"}  # functions that keep the order of what they are given
HASHES = re.compile(rb"(?<![\w.])hash\(")
AGAIN = "__mp_main__"  # the script once more, where `multiprocessing` is imported
DRAWS = b"random"  # is in the name of nearly all that draws


class Text(NamedTuple):
    """The text of a program.

    Attributes:
        number: Another one for most other texts: 48 bits. 0 if nobody can tell, as of what was typed into Python.
        draws: Whether anything that draws random numbers is named in it.
        orders_sets: Whether it goes through a set, as `list(set(names))` does, in whatever order that has.
        draws_unseeded: Whether it draws what no seed of the process decides: before that is set, or of other streams.
    """

    number: int
    draws: bool
    orders_sets: bool = False
    draws_unseeded: bool = False


@functools.cache
def program_text() -> Text:
    """Returns the text of the script and of what it has imported of its own, wherever that is, when first asked.

    Of a notebook, it is that of the cells that were run, in their order.
    """
    if not (own := texts()):
        return Text(0, draws=False)
    whole = hashlib.sha256(repr(sorted(hashlib.sha256(text).digest() for text in own)).encode())
    number, draws = 1 + int(whole.hexdigest()[:12], 16), any(DRAWS in text.lower() for text in own)
    unseeded = draws and any(map(draws_despite_seed, own))
    return Text(number, draws, orders_sets=any(map(_orders_sets, own)), draws_unseeded=unseeded)


def texts() -> set[bytes]:
    """Returns the texts of the script and of what it has imported of its own; none if there is no script."""
    return {*_by_module().values()}


def parsed() -> dict[str, ast.Module]:
    """Returns the same texts, parsed, by the names of modules; without those that are not of this version of Python."""
    found = dict[str, ast.Module]()
    for name, text in _by_module().items():
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            found[name] = ast.parse(text)
    return found


def calls_method(name: str) -> bool:
    """Returns whether a method of that name is called anywhere in these texts."""
    called = re.compile(rf"\.\s*{name}\s*\(".encode())
    return any(map(called.search, texts()))


def seeds_numpy() -> bool:
    """Returns whether NumPy's global stream is given a seed anywhere in these texts."""
    return any(map(NUMPY_SEED.search, texts()))


def hashes() -> list[str]:
    """Returns where Python's `hash` is called, other than by a `__hash__`: `hash(name), in train`."""
    found = list[str]()
    for module, text in _by_module().items():
        nodes = nodes_of(text) if HASHES.search(text) and "hash" not in vars(sys.modules[module]) else []
        defined = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "__hash__"]
        within = {id(each) for node in defined for each in ast.walk(node)}
        called = [node for node in nodes if isinstance(node, ast.Call) and id(node) not in within]
        found += [f"{ast.unparse(node)}, in {module}" for node in called if ast.unparse(node.func) == "hash"]
    return [*dict.fromkeys(found)]


def folder() -> str:
    """Returns where the script is."""
    return os.path.dirname(os.path.abspath(_file(sys.modules["__main__"]) or ""))


def _by_module() -> dict[str, bytes]:
    """Returns the texts of the files or cells by the names of their modules; none if there is no script."""
    script, cells = _file(sys.modules["__main__"]), vars(sys.modules["__main__"]).get("In")
    if script is None and not isinstance(cells, list):
        return {}
    modules = {name: module for name, module in [*sys.modules.items()] if name != AGAIN}
    found = {name: _read(file) for name, module in modules.items() if (file := _file(module))}
    return found | ({"__main__": "\n".join(map(str, cells)).encode()} if isinstance(cells, list) else {})


def _file(module: types.ModuleType) -> str | None:
    """Returns the file of a module that is of the program, and not of a library."""
    # Not by attribute: there are modules that are imported when one is asked for.
    file = vars(module).get("__file__") if isinstance(module, types.ModuleType) else None
    if not isinstance(file, str) or not file.endswith(".py") or GENERATED in file:
        return None
    path = os.path.abspath(file)
    return file if of_user([path])[0] and not package_of(path) else None


def _orders_sets(text: bytes) -> bool:
    nodes = nodes_of(text) if b"set(" in text or b"{" in text else []
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and _is_set(node.value, set())]
    names = {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    through = [node.iter for node in nodes if isinstance(node, ast.For | ast.comprehension)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    through += [argument for call in calls if ast.unparse(call.func) in IN_ORDER for argument in call.args]
    return any(_is_set(node, names) for node in through)


def _is_set(node: ast.expr, names: Collection[str]) -> bool:
    """Returns whether this is seen to be a set, or has the name of one."""
    called = isinstance(node, ast.Call) and ast.unparse(node.func) in ("set", "frozenset")
    return called or isinstance(node, ast.Set | ast.SetComp) or (isinstance(node, ast.Name) and node.id in names)


def _read(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError:  # removed since, or of a directory that the process has left
        return b""
