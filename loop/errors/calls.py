"""What is said of a call that Python cannot make: what to write instead, not only what is wrong."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from loop.errors.kinds import check_kinds, shown
from loop.errors.tracebacks import in_user_lines

F = TypeVar("F", bound=Callable[..., object])
BY_POSITION = ""  # the key of what to write for arguments that have to have names


def explained(
    instead: Mapping[str, str], *, kinds: bool = True, note: Callable[[Mapping[str, object]], None] | None = None
) -> Callable[[F], F]:
    """Decorates a function, or a class for its `__init__`, so that a wrong call says what to write.

    The signature stays what it is. A call that Python would make is made.

    Args:
        instead: What to do, in words that go on after a colon: by names that it does not have, but others call such
            things by; by names that it has, for calls in which they are missing; and under `BY_POSITION`.
        kinds: Whether to check the kinds of arguments by their annotations; see `check_kinds`.
        note: Called with the arguments of a right call, by name, before it is made.
    """

    def decorate(decorated: F) -> F:
        if isinstance(decorated, type) and "__init__" in vars(decorated):
            made = _explaining(decorated.__init__, decorated.__name__, instead, kinds, note)  # type: ignore[misc]
            decorated.__init__ = made  # type: ignore[misc]
            return decorated
        return _explaining(decorated, decorated.__name__, instead, kinds, note)

    return decorate


def _explaining(
    function: F,
    name: str,
    instead: Mapping[str, str],
    kinds: bool,
    note: Callable[[Mapping[str, object]], None] | None,
) -> F:
    signature = inspect.signature(function)
    # Of a method, and not of a function that was defined within another one.
    owner, between, _ = function.__qualname__.rpartition(".")
    own = bool(between) and not owner.endswith("<locals>")  # of a method, the first argument is no one's to give
    given = signature.replace(parameters=_given(signature, own), return_annotation=signature.empty)
    # Read once, when the class is made, and not in each call.
    annotations = {p.name: p.annotation for p in _one_each(given)} if kinds else {}

    @functools.wraps(function)
    def call(*args: object, **named: object) -> object:
        try:
            # As Python binds: only where that fails is anything said of names.
            bound = signature.bind(*args, **named)
        except TypeError as error:
            # `or`: of what nobody here knows, Python's own words.
            said = _refused(name, given, args[own:], named, instead) or [f"{name}(...): {error}"]
            raise TypeError("\n".join(f"{line.removesuffix('.')}." for line in said)) from None
        check_kinds(name, annotations, bound.arguments, instead)
        if note:
            note(bound.arguments)
        return function(*args, **named)

    return in_user_lines(call)  # type: ignore[return-value]


def _given(signature: inspect.Signature, own: bool) -> list[inspect.Parameter]:
    """Returns the parameters without the first one of a method, whatever it is called, if it takes one argument."""
    parameters = list(signature.parameters.values())
    return (
        parameters[1:]
        if own and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL
        else parameters
    )


def _one_each(signature: inspect.Signature) -> list[inspect.Parameter]:
    """Returns the parameters that take one argument each."""
    parameters = signature.parameters.values()
    return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _refused(
    call: str,
    signature: inspect.Signature,
    args: Sequence[object],
    named: Collection[str],
    instead: Mapping[str, str],
) -> list[str]:
    """Returns what is wrong with a call and what to write, a line for each; nothing if nobody knows."""
    parameters = {p.name: p for p in _one_each(signature)}
    free = [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    # First the names: an unknown one, such as `lr`, is often why another one is missing.
    if unknown := [name for name in named if name not in parameters]:
        return [f"{call}(...) has no argument {name!r}{_other(name, [*parameters], instead)}" for name in unknown]
    if len(args) > len(free):
        others = ", ".join(f"{name}=..." for name in parameters if name not in free)
        what = instead.get(BY_POSITION, f"write {others}" if others else f"there are {', '.join(free) or 'none'}")
        takes = f"{call}(...) takes {len(free) or 'no'} argument{'s' * (len(free) != 1)} without a name"
        return [f"{takes}. Received: {shown(args[len(free)])}; {what}"]
    needed = [p for p in parameters.values() if p.default is p.empty]
    missing = [p.name for p in needed if p.name not in {*free[: len(args)], *named}]
    example = ", ".join(f"{p.name}=..." if p.kind is p.KEYWORD_ONLY else p.name for p in needed)
    what = "; ".join(instead[name] for name in missing if name in instead) or f"write {call}({example})"
    return [f"{call}(...) needs {', '.join(map(repr, missing))}: {what}"] if missing else []


def _other(name: str, names: Collection[str], instead: Mapping[str, str]) -> str:
    if name in instead:
        return f": {instead[name]}"
    # `batchsize` and `batchSize` are `batch_size`, however little alike `difflib` finds short names.
    close = [known for known in names if known.replace("_", "") == name.replace("_", "").lower()]
    close = close or difflib.get_close_matches(name, names, n=1)
    return f": write {close[0]}=..." if close else f"; it has {', '.join(names) or 'none'}"
