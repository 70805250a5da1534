"""Which variables of a program come of random numbers, as its text says: without a seed, each process has others.

A number that a pipeline has, such as a mean or a size, may have been drawn, or computed of what was drawn; or somebody
has set it, and has set it otherwise since. Its value does not tell which. The text does: a name that is assigned
something in which a random number is named, or a name for which that holds, comes of random numbers.
"""

import ast
import collections
import functools
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from loop.exact.reach import Reach, codes, is_of_program
from loop.exact.text import parsed

DRAWS = "random"  # is in the name of nearly all that draws, of NumPy, Python, TensorFlow, Keras and others
SEEDS = "seed"  # is in the names of what is given a number, and gives none
# What draws, or has an order that is another one in each process, by other names.
CALLED = {"train_test_split", "split_dataset", "KFold", "StratifiedKFold", "ShuffleSplit", "set", "frozenset"}
TAKEN = (
    "The run goes on with what it began with: %s. As far as the text of the program says, that was drawn. If you have "
    "set it otherwise, start afresh in another directory."
)
OF_OBJECTS = ""  # the module of attributes: of whatever object


class Name(NamedTuple):
    """A name in a program: of a variable, a parameter, or a function, wherever it is in a module; or of an attribute.

    Attributes:
        module: The module.
        name: The name there.
    """

    module: str
    name: str


Names = frozenset[Name]
DRAWN = Name(OF_OBJECTS, "")  # what stands for random numbers themselves


@functools.cache
def drawn_names() -> Collection[Name]:
    """Returns the names in the script, and in what it has imported of its own, that come of random numbers."""
    leads_to = collections.defaultdict[Name, set[Name]](set)
    for module in _modules():
        for target, sources in module.assigned():
            for source in sources:
                leads_to[source].add(target)
    found, queue = set[Name](), [DRAWN]
    while queue:
        new = leads_to[queue.pop()] - found
        found |= new
        queue += new
    return found


@functools.cache
def draws_arguments(names: frozenset[str], keyword: str | None = None) -> bool:
    """Returns whether the program calls something with an argument that comes of random numbers.

    Args:
        names: The names of functions or methods.
        keyword: The name of the argument; None: any, but for functions.
    """
    drawn = {DRAWN, *drawn_names()}
    return any(not drawn.isdisjoint(each) for module in _modules() for each in module.arguments(names, keyword))


@functools.cache
def drawing_methods(names: frozenset[str]) -> Collection[str]:
    """Returns which methods of objects the program calls with an argument that comes of random numbers."""
    drawn = {DRAWN, *drawn_names()}
    given = [pair for module in _modules() for pair in module.of_methods(names)]
    return sorted({name for name, each in given if not drawn.isdisjoint(each)})


@functools.cache
def _modules() -> "list[_Module]":
    trees = parsed()
    given = {
        node.name: (module, [each.arg for each in (*node.args.posonlyargs, *node.args.args)])
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    return [_Module(name, tree, trees, given) for name, tree in trees.items()]


def reads_drawn(functions: Iterable[object]) -> bool:
    """Returns whether functions of the program, or what they call of it, read a variable that comes of random numbers.

    Args:
        functions: The functions, or objects that are called.
    """
    found = [each for each in Reach(functions).functions if is_of_program(each)]
    return any(name in drawn_names() for function in found for name in _read(function))


def is_drawn_anywhere(name: str) -> bool:
    """Returns whether a variable or an attribute of that name comes of random numbers, in whatever module it is."""
    return any(each.name == name for each in drawn_names())


def _read(function: types.FunctionType) -> Iterator[Name]:
    module, defaults = function.__module__, len(function.__defaults__ or ())
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    for code in codes(function.__code__):
        # Of functions, not what they return, which may be drawn in the pipeline, but what they read: they are met, too.
        names = (n for n in code.co_names if not isinstance(function.__globals__.get(n), types.FunctionType))
        yield from (Name(module, name) for name in (*code.co_freevars, *names))
        yield from (Name(OF_OBJECTS, name) for name in code.co_names)
    given = (*parameters[len(parameters) - defaults :], *(function.__kwdefaults__ or ()))
    yield from (Name(module, name) for name in given)


class _Module:
    """What is assigned in a module.

    Args:
        name: Its name.
        tree: Its text.
        others: All modules of the program.
        given: By the name of each function of the program, its module and its parameters.
    """

    def __init__(
        self,
        name: str,
        tree: ast.Module,
        others: Collection[str],
        given: Mapping[str, tuple[str, list[str]]],
    ) -> None:
        self._name, self._tree, self._given = name, tree, given
        self._short = {other.rpartition(".")[2]: other for other in others}  # as relative imports have them
        imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        self._modules = {each.asname or each.name: each.name for each in imported}
        # What comes of elsewhere, and is called as it is there: what the program itself calls random may be a setting.
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        roots = {alias.asname or alias.name: node.module or alias.name for node in nodes for alias in node.names}
        roots |= {name.partition(".")[0]: module for name, module in self._modules.items()}
        self._others = {name for name, origin in roots.items() if origin.rpartition(".")[2] not in self._short}

    def assigned(self) -> Iterator[tuple[Name, Names]]:
        """Yields each name that is given something, and all names in what it is given."""
        for node in ast.walk(self._tree):
            yield from self._by(node)

    def arguments(self, names: Collection[str], keyword: str | None) -> Iterator[Names]:
        """Yields all names in each argument of calls; see `draws_arguments`."""
        for call in self._calls():
            if getattr(call.func, "attr", getattr(call.func, "id", "")) in names:
                yield from (self._in(each) for each in _arguments(call, keyword))

    def of_methods(self, names: Collection[str]) -> Iterator[tuple[str, Names]]:
        """Yields the name of each call of a method, and all names in each of its arguments."""
        for call in self._calls():
            match call.func:
                case ast.Attribute(value=ast.Name(id=holder)) if holder in self._modules:
                    continue  # a function, such as `random.shuffle` and `np.take`
                case ast.Attribute(attr=name) if name in names:
                    yield from ((name, self._in(each)) for each in _arguments(call))

    def _calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self._tree) if isinstance(node, ast.Call))

    def _by(self, node: ast.AST) -> Iterator[tuple[Name, Names]]:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from self._to(targets, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                yield from self._to([target], value)
            case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                yield from self._to([target], value)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                yield from self._to([target], value)
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                yield from self._to([target], value)
            case ast.Expr(value=ast.Call(func=function, args=arguments)):
                # In place: `random.shuffle(words)`, and `layer.adapt(rows)`.
                seeds = any(SEEDS in name.name.lower() for name in self._in(function))
                yield from self._to([] if seeds else arguments, function)
                holders = [function.value] if isinstance(function, ast.Attribute) else []
                yield from ((name, self._in(*arguments)) for holder in holders for name in self._targets(holder))
            case ast.ImportFrom(module=module, names=names):
                for each in names:
                    there = self._short.get((module or each.name).rpartition(".")[2], "")
                    draws = not there and _draws(f"{module}.{each.name}")
                    own = {DRAWN} if draws else {Name(there, each.name)} if there else set[Name]()
                    yield Name(self._name, each.asname or each.name), frozenset(own)
            case ast.FunctionDef(name=name):
                gives = [each for each in ast.walk(node) if isinstance(each, ast.Return | ast.Yield)]
                yield Name(self._name, name), self._in(*gives)
            case ast.ClassDef(name=name, body=body):
                yield Name(self._name, name), self._in(*body)
                methods = [each for each in body if isinstance(each, ast.FunctionDef)]
                yield from ((Name(OF_OBJECTS, each.name), self._in(each)) for each in methods if each.name[:2] != "__")
            case ast.arguments(posonlyargs=first, args=rest, defaults=defaults, kwonlyargs=keywords, kw_defaults=given):
                of_rest = zip([*first, *rest][::-1], defaults[::-1], strict=False)
                of_all = [*of_rest, *zip(keywords, given, strict=True)]
                yield from ((Name(self._name, each.arg), self._in(value)) for each, value in of_all if value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self._given:
            module, parameters = self._given[node.func.id]
            pairs = [*zip(parameters, node.args, strict=False)]
            pairs += [(each.arg, each.value) for each in node.keywords if each.arg]
            yield from ((Name(module, parameter), self._in(value)) for parameter, value in pairs)

    def _to(self, targets: Iterable[ast.expr], value: ast.expr) -> Iterator[tuple[Name, Names]]:
        for target in targets:
            match target, value:
                case ast.Tuple(elts=places), ast.Tuple(elts=values) if len(places) == len(values):
                    # One by one: beside what is drawn, one may be set.
                    for place, each in zip(places, values, strict=True):
                        yield from self._to([place], each)
                case _:
                    yield from ((name, self._in(value)) for name in self._targets(target))

    def _targets(self, target: ast.expr) -> Iterator[Name]:
        """Yields the names that something is put into: of `a[0]`, `a`; of `a.b` and `a["b"]`, `b` as an attribute."""
        match target:
            case ast.Name(id=name) if name not in ("self", "cls", *self._modules):
                yield Name(self._name, name)
            case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
                yield Name(OF_OBJECTS, name)  # what else is there may be set
            case ast.Subscript(value=value) | ast.Starred(value=value):
                yield from self._targets(value)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                yield from (name for part in parts for name in self._targets(part))

    def _in(self, *nodes: ast.AST) -> Names:
        return frozenset(name for each in nodes for node in ast.walk(each) for name in self._named(node))

    def _named(self, node: ast.AST) -> Iterator[Name]:
        match node:
            case ast.Name(id=name):
                own = self._modules.get(name, name)
                yield Name(self._name, name)
            case ast.Attribute(value=ast.Name(id=holder), attr=own) if module := self._modules.get(holder, ""):
                yield Name(self._short.get(module.rpartition(".")[2], OF_OBJECTS), own)
            case ast.Attribute(attr=own) | ast.Subscript(slice=ast.Constant(value=str(own))):
                yield Name(OF_OBJECTS, own)
            case _:
                return
        if own in (DRAWS, *CALLED) or (_draws(own) and _root(node) in self._others):
            yield DRAWN


def _draws(name: str) -> bool:
    return DRAWS in name.lower() and SEEDS not in name.lower()


def _root(node: ast.AST) -> str:
    """Returns the name with which something like `a.b(c).d` begins; nothing if it is none."""
    while True:  # a chain may be longer than Python recurses
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=above) | ast.Call(func=above) | ast.Subscript(value=above):
                node = above
            case _:
                return ""


def _arguments(call: ast.Call, keyword: str | None = None) -> list[ast.expr]:
    given = [each.value for each in call.keywords if keyword in (None, each.arg)]
    return [each for each in (*given, *(call.args if keyword is None else ())) if not isinstance(each, ast.Lambda)]
