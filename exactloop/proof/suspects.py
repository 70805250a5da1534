"""What a program keeps in Python and changes as it goes: nothing of that is in a checkpoint."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
CHANGING = {"append", "appendleft", "extend", "insert", "add", "update", "setdefault", "pop", "popleft", "popitem"} | {
    "remove", "discard", "clear", "sort", "reverse", "rotate", "send",
}  # fmt: skip
ROOTS = ("on_", "__call__", "__iter__", "__next__")  # the methods of which somebody else says when they are called
REBUILT = ("on_setup", "on_run_begin")  # what these assign is assigned again in each life


def suspects(path: str) -> list[str]:
    """Returns a line for each value of Python that a function of this file changes, and that outlives the call.

    That is: globals, outer variables, what is in them, and attributes of hooks. Not every one of them matters: only
    where a difference was found is it worth looking at them.
    """
    try:
        # Read and never run: it has been run, and what it does besides is not wanted again.
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    # `np.random.seed(1)` changes no value of the program's own.
    imported = {alias.asname or alias.name.split(".")[0] for node in ast.walk(tree) for alias in _imports(node)}
    found: dict[str, int] = {}
    for function in ast.walk(tree):
        if isinstance(function, Function):
            for what, line in _outer(function, imported):
                found.setdefault(what, line)
        elif isinstance(function, ast.ClassDef):
            for what, line in _attributes(function):
                found.setdefault(what, line)
    relative = os.path.relpath(path)
    shown = os.path.abspath(path) if relative.startswith(os.pardir) else relative
    return [f"{what}, at {shown}:{line}" for what, line in sorted(found.items(), key=lambda item: item[1])]


def _outer(function: Function, imported: set[str]) -> Iterator[tuple[str, int]]:
    """Yields what a function changes that is not its own, with the line."""
    own = list(_nodes(function))
    declared = {name: node for node in own if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    arguments = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    # What a function assigns is its own, unless it says otherwise.
    local = {node.id for node in own if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} | arguments
    for node in own:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in declared:
            kind = "global" if isinstance(declared[node.id], ast.Global) else "nonlocal"
            yield f"the {kind} {node.id!r} is assigned", node.lineno
        target = _changed(node)
        if isinstance(target, ast.Name) and target.id not in (local - {*declared}) | imported:
            yield f"the outer {target.id!r} is changed", target.lineno


def _attributes(kind: ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Yields the attributes that the methods of a class change which events call, and those which these call."""
    methods = {method.name: method for method in kind.body if isinstance(method, Function)}
    reached = [name for name in methods if name.startswith(ROOTS) and name not in REBUILT]
    for name in reached:  # grows while it is read
        nodes = list(ast.walk(methods[name]))
        own = [node for node in nodes if isinstance(node, ast.Attribute) and _is_self(node.value, methods[name])]
        called = {node.attr for node in own} - {*reached, "__init__", *REBUILT}
        reached += [other for other in methods if other in called]
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield f"the attribute {node.attr!r} of {kind.name} is assigned", node.lineno
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
                yield f"an attribute of {kind.name} is assigned", node.lineno
            target = _changed(node)
            if isinstance(target, ast.Attribute) and _is_self(target.value, methods[name]):
                yield f"the attribute {target.attr!r} of {kind.name} is changed", target.lineno


def _changed(node: ast.AST) -> ast.expr | None:
    """Returns what a node changes in place: `x` in `x[0] = 1`, `x.n = 1`, `x.append(1)`, and `next(x)`."""
    if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        return _base(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
        return _base(node.func.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "next" and node.args:
        return _base(node.args[0])
    return None


def _base(value: ast.expr) -> ast.expr:
    """Returns `x` of `x[0][1]`."""
    return _base(value.value) if isinstance(value, ast.Subscript) else value


def _is_self(value: ast.expr, method: Function) -> bool:
    return isinstance(value, ast.Name) and bool(method.args.args) and value.id == method.args.args[0].arg


def _nodes(function: Function) -> Iterator[ast.AST]:
    """Yields what is in a function, but not in those inside of it."""
    body = function.body if isinstance(function.body, list) else [function.body]
    queue: list[ast.AST] = list(body)
    for node in queue:  # grows while it is read
        yield node
        if not isinstance(node, Function | ast.ClassDef):
            queue += ast.iter_child_nodes(node)


def _imports(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []
