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

from loop.exact.despite_seed import SPLITS
from loop.exact.reach import Reach, codes, is_of_program
from loop.exact.text import parsed

DRAWS = "random"  # is in the name of nearly all that draws, of NumPy, Python, TensorFlow, Keras and others
SEEDS = "seed"  # is in the names of what is given a number, and gives none
SEED_ARGUMENTS, GENERATORS = ("seed", "random_state"), ("default_rng", "RandomState", "Random")
CALLED = {*SPLITS, "set", "frozenset"}  # draw, or have an order that is another one in each process, too
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
BY_TENSORFLOW = Name(OF_OBJECTS, " ")  # the same of those of TensorFlow and Keras, mostly drawn when functions run
ANY = frozenset((DRAWN, BY_TENSORFLOW))


class Given(NamedTuple):
    """What a function is called with.

    Attributes:
        function: Its name.
        place: Which argument it is: its number, from 0, or its name.
        of_object: Whether it is a method of an object, and no function of a module.
        keywords: The names of all arguments that have one.
        names: All names in it.
    """

    function: str
    place: int | str | None
    of_object: bool
    keywords: frozenset[str | None]
    names: Names


@functools.cache
def drawn_names(kinds: Names = ANY, but: frozenset[str] = frozenset()) -> Collection[Name]:
    """Returns the names in the script, and in what it has imported of its own, that come of random numbers.

    Args:
        kinds: What stands for those that are meant.
        but: What is given something in which such a name is, such as `shape`, does not count.
    """
    found, queue = set[Name](), [*kinds]
    while queue:
        new = _leads_to(but).get(queue.pop(), set[Name]()) - found
        found |= new
        queue += new
    return found


@functools.cache
def _leads_to(but: frozenset[str]) -> Mapping[Name, set[Name]]:
    """Returns by each name those that are given something in which it is named."""
    found = collections.defaultdict[Name, set[Name]](set)
    for module in _modules():
        for target, sources in module.assigned():
            for source in sources if but.isdisjoint(source.name for source in sources) else ():
                found[source].add(target)
    return found


@functools.cache
def drawn_arguments(names: frozenset[str], kinds: Names = ANY, but: frozenset[str] = frozenset()) -> Collection[Given]:
    """Returns the arguments that come of random numbers, in calls of functions with these names; see `drawn_names`."""
    drawn = {*kinds, *drawn_names(kinds, but)}
    of_all = (each for module in _modules() for each in module.given(names))
    return [each for each in of_all if not drawn.isdisjoint(each.names) and but.isdisjoint(n.name for n in each.names)]


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
        self._others = {name: origin for name, origin in roots.items() if origin.rpartition(".")[2] not in self._short}

    def assigned(self) -> Iterator[tuple[Name, Names]]:
        """Yields each name that is given something, and all names in what it is given."""
        for node in ast.walk(self._tree):
            yield from self._by(node)

    def given(self, names: Collection[str]) -> Iterator[Given]:
        """Yields what functions and methods with these names are called with, but for functions without a name."""
        for call in (node for node in ast.walk(self._tree) if isinstance(node, ast.Call)):
            match call.func:
                case ast.Attribute(value=holder, attr=name):
                    # Else a function, such as `random.shuffle` and `np.take`.
                    of_object = not (isinstance(holder, ast.Name) and holder.id in self._modules)
                case ast.Name(id=name):
                    of_object = False
                case _:
                    continue
            if name in names:
                places = [*enumerate(call.args), *((each.arg, each.value) for each in call.keywords)]
                keywords = frozenset(each.arg for each in call.keywords)
                plain = [(place, value) for place, value in places if not isinstance(value, ast.Lambda)]
                yield from (Given(name, place, of_object, keywords, self._in(value)) for place, value in plain)

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
                    own = {_of(module or "")} if draws else {Name(there, each.name)} if there else set[Name]()
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
        return frozenset(name for each in nodes for node in _without_seeded(each) for name in self._named(node))

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
            yield _of(self._others.get(_root(node), ""))


def _of(module: str) -> Name:
    """Returns what stands for the random numbers of a module."""
    return BY_TENSORFLOW if module.partition(".")[0] in ("tensorflow", "keras") else DRAWN


def _draws(name: str) -> bool:
    return DRAWS in name.lower() and SEEDS not in name.lower()


def _without_seeded(node: ast.AST) -> Iterator[ast.AST]:
    """Yields what is in a node, as `ast.walk` does, but not the names of what is called with a seed that is written."""
    queue = [node]
    while queue:
        each = queue.pop()
        yield each
        called = each.func if isinstance(each, ast.Call) and _is_seeded(each) else None
        queue += [part for part in ast.iter_child_nodes(each) if part is not called]


def _is_seeded(call: ast.Call) -> bool:
    seeds = [each.value for each in call.keywords if each.arg in SEED_ARGUMENTS]
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    seeds += call.args[:1] if name in GENERATORS else []
    return any(isinstance(each, ast.Constant) and each.value is not None for each in seeds)


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
