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

from loop.exact.assigned import BY_NUMPY, BY_TENSORFLOW, DRAWN, OF_OBJECTS, Given, ModuleText, Name, Names
from loop.exact.reach import Reach, codes, is_of_program
from loop.exact.text import parsed

TAKEN = (
    "The run goes on with what it began with: %s. As far as the text of the program says, that was drawn. If you have "
    "set it otherwise, start afresh in another directory."
)
OF_PYTHON = frozenset((DRAWN, BY_NUMPY))  # what Python and its libraries draw, when the text is run
ANY = OF_PYTHON | {BY_TENSORFLOW}


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
def drawn_themselves(kinds: Names) -> Collection[tuple[str, Name]]:
    """Returns the names that are given random numbers, and not only what was computed of these, with where that is:
    the name of a function, or none."""
    return {found for module in _modules() for found in module.drawn(kinds)}


@functools.cache
def drawn_arguments(names: frozenset[str], kinds: Names = ANY, but: frozenset[str] = frozenset()) -> Collection[Given]:
    """Returns the arguments that come of random numbers, in calls of functions with these names; see `drawn_names`."""
    drawn = {*kinds, *drawn_names(kinds, but)}
    of_all = (each for module in _modules() for each in module.given(names))
    return [each for each in of_all if not drawn.isdisjoint(each.names) and but.isdisjoint(n.name for n in each.names)]


@functools.cache
def _modules() -> list[ModuleText]:
    trees = parsed()
    given = {
        node.name: (module, [each.arg for each in (*node.args.posonlyargs, *node.args.args)])
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    return [ModuleText(name, tree, trees, given) for name, tree in trees.items()]


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
