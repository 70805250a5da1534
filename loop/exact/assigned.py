"""What the text of a module assigns to which names, and what it gives to functions: names again, and random numbers."""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from loop.exact.despite_seed import SEEDED, SPLITS, STREAMS, path_of

DRAWS = "random"  # is in the name of nearly all that draws, of NumPy, Python, TensorFlow, Keras and others
SEEDS = "seed"  # is in the names of what is given a number, and gives none
CALLED = {*SPLITS, "set", "frozenset"}  # draw, or have an order that is another one in each process, too
# Have another order in each process, if no seed is given, without being called so.
SHUFFLES = {"shuffle", "list_files", "make_csv_dataset", "make_batched_features_dataset", "sample_from_datasets"}
SHUFFLES |= {"image_dataset_from_directory", "text_dataset_from_directory", "audio_dataset_from_directory"}
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
BY_NUMPY = Name(OF_OBJECTS, "  ")  # the same of NumPy's global stream, which may have a seed of its own
BY_TENSORFLOW = Name(OF_OBJECTS, " ")  # the same of those of TensorFlow and Keras, mostly drawn when functions run


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


class ModuleText:
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

    def drawn(self, kinds: Names) -> Iterator[tuple[str, Name]]:
        """Yields the names that are given random numbers themselves, without a seed, and in which function that is."""
        for function, node in _in_functions(self._tree):
            if isinstance(node, ast.Assign) and not _names_seed(node.value) and kinds & self._in(node.value):
                yield from ((function, name) for target in node.targets for name in self._targets(target))

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
            case ast.Call() if path_of(node)[0] in SHUFFLES and not _is_seeded(node):
                yield BY_TENSORFLOW
                return
            case ast.Name(id=name):
                own = self._modules.get(name, name)
                yield Name(self._name, name)
            case ast.Attribute(value=ast.Name(id=holder), attr=own) if module := self._modules.get(holder, ""):
                yield Name(self._short.get(module.rpartition(".")[2], OF_OBJECTS), own)
            case ast.Attribute(attr=own) | ast.Subscript(slice=ast.Constant(value=str(own))):
                yield Name(OF_OBJECTS, own)
            case _:
                return
        if own in STREAMS:
            yield DRAWN
        elif own in (DRAWS, *CALLED) or (_draws(own) and path_of(node)[-1] in self._others):
            yield _of(self._others.get(path_of(node)[-1], ""))


def _of(module: str) -> Name:
    """Returns what stands for the random numbers of a module."""
    return {"tensorflow": BY_TENSORFLOW, "keras": BY_TENSORFLOW, "numpy": BY_NUMPY}.get(module.partition(".")[0], DRAWN)


def _draws(name: str) -> bool:
    return DRAWS in name.lower() and SEEDS not in name.lower()


def _in_functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yields all that is in a tree, as `ast.walk` does, with the name of the innermost function or class around it."""
    queue: list[tuple[str, ast.AST]] = [("", tree)]
    while queue:
        function, node = queue.pop()
        yield function, node
        function = node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else function
        queue += [(function, each) for each in ast.iter_child_nodes(node)]


def _names_seed(node: ast.AST) -> bool:
    """Returns whether something is called with a seed there, whatever that is."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    begun = any(path_of(call)[0] in STREAMS and call.args for call in calls)
    return begun or any(each.arg in SEEDED for call in calls for each in call.keywords)


def _without_seeded(node: ast.AST) -> Iterator[ast.AST]:
    """Yields what is in a node, as `ast.walk` does, but not the names of what is called with a seed that is written."""
    queue = [node]
    while queue:
        each = queue.pop()
        yield each
        called = each.func if isinstance(each, ast.Call) and _is_seeded(each) else None
        queue += [part for part in ast.iter_child_nodes(each) if part is not called]


def _is_seeded(call: ast.Call) -> bool:
    seeds = [each.value for each in call.keywords if each.arg in SEEDED]
    seeds += call.args[:1] if path_of(call)[0] in STREAMS else []
    return any(isinstance(each, ast.Constant) and each.value is not None for each in seeds)
