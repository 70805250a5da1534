"""What a program keeps in Python and changes as it goes: nothing of that is in a checkpoint."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def suspects(path: str) -> list[str]:
    """Returns a line for each global, outer variable or attribute of a hook that a function of this file changes.

    Not every one of them matters: only where a difference was found is it worth looking at them.
    """
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    found = dict.fromkeys([*_outer(tree), *_attributes(tree)])
    relative = os.path.relpath(path)
    shown = os.path.abspath(path) if relative.startswith(os.pardir) else relative
    return [f"{what}, at {shown}:{number}" for what, number in found]


def _outer(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yields what functions declare to be global or nonlocal, with the line in which they assign it."""
    for function in ast.walk(tree):
        if isinstance(function, FUNCTION):
            names: dict[str, str] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.Global | ast.Nonlocal):
                    kind = "global" if isinstance(node, ast.Global) else "nonlocal"
                    names |= dict.fromkeys(node.names, kind)
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in names:
                    yield f"the {names[node.id]} {node.id!r} is assigned", node.lineno


def _attributes(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yields the attributes that methods called `on_...` assign, but to a variable's own `assign`."""
    for kind in ast.walk(tree):
        if isinstance(kind, ast.ClassDef):
            for method in kind.body:
                if isinstance(method, FUNCTION) and method.name.startswith("on_"):
                    for node in ast.walk(method):
                        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                            yield f"the attribute {node.attr!r} of {kind.name} is assigned", node.lineno
