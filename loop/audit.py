"""What would keep a resumed run from ending with the same bits, found before the first step."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from loop.digest import sampled
from loop.graph import changes, is_callback, is_random, line, operations, uses
from loop.types import FuncGraph

log = logging.getLogger("exactloop")
STREAMS = (
    "keras.random functions with seed=keras.random.SeedGenerator(1), or a tf.random.Generator; put either into state. "
    "Or tf.random.stateless_* functions with seed=[1, step]"
)
CALLBACKS = (
    "TensorFlow operations, or a hook for what need not be in the step. Python's state is not saved; "
    "tf.numpy_function(..., stateful=False) says that there is none"
)


@dataclass(frozen=True)
class Finding:
    """One thing that would keep a resumed run from ending with the same bits.

    Attributes:
        what: What it is and why.
        where: The line of the program, as `file:number: text`; empty where there is none to be had.
        instead: What to do about it.
    """

    what: str
    where: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what}\n    at {self.where}" if self.where else self.what


def in_function(graph: FuncGraph, owner: str) -> list[Finding]:
    """Returns what is random, or calls Python, in a function and in those that it calls."""
    found = []
    for op in operations(graph):
        if is_random(op):
            found.append(
                Finding(f"{owner} draws from a stream that cannot be saved: {op.type}", line(op), f"Use {STREAMS}.")
            )
        elif is_callback(op):
            found.append(Finding(f"{owner} calls Python: {op.type}", line(op), f"Use {CALLBACKS}."))
    return found


def in_resources(
    graph: FuncGraph, owner: str, covered: Collection[int], variables: Mapping[int, tf.Variable]
) -> tuple[list[Finding], set[int]]:
    """Looks at variables, tables and iterators that a function has from outside and no checkpoint would hold.

    Args:
        graph: The function.
        owner: What to call it.
        covered: The ids of the handles that a checkpoint holds.
        variables: The variables among them, by the ids of their handles.

    Returns:
        What is found to be changed, and the ids of the handles of what is only read.
    """
    found, read = [], set()
    for handle, ops in uses(graph).items():
        if handle not in covered:
            changing = next((op for op in ops if changes(op)), None)
            if changing is None:
                read.add(handle)
            else:
                v = variables.get(handle)
                name = f"{v.name}  shape {v.shape}, {v.dtype.name}" if v is not None else KINDS.get(changing.type[:8])
                what = f"{owner} changes what no checkpoint would hold: {name or changing.type}"
                found.append(Finding(what, line(changing), STATE))
    return found, read


KINDS = {"Iterator": "an iterator", "LookupTa": "a lookup table"}  # by the first letters of what is done with it
STATE = (
    "Add what it belongs to: Loop(..., state={'model': ..., 'optimizer': ..., ...}); "
    "metrics that the step updates: Step(function, metrics={...})."
)


def listed(findings: Iterable[Finding]) -> str:
    """Returns the findings as text, each remedy once."""
    by_remedy: dict[str, list[str]] = {}
    for finding in findings:
        by_remedy.setdefault(finding.instead, []).append(f"  {finding}")
    return "\n".join("\n".join([*dict.fromkeys(lines), f"  -> {remedy}"]) for remedy, lines in by_remedy.items())


class Constants:
    """Variables of which nobody but a hook could know that they change.

    Args:
        variables: What the steps only read, and no checkpoint holds.
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._names = [variable.name for variable in variables]
        self._read = tf.function(lambda: [sampled(variable.read_value()) for variable in variables])
        self._digests = self._now()

    def findings(self) -> list[Finding]:
        """Returns those that have another value than at first."""
        changed = [name for name, then, now in zip(self._names, self._digests, self._now(), strict=True) if then != now]
        what = "A hook, or another thread, has changed what no checkpoint holds"
        return [Finding(f"{what}: {name}", "", STATE) for name in changed]

    def _now(self) -> list[int]:
        return [int(value) for value in self._read()] if self._names else []


class InexactRun(ValueError):
    """A run was refused because it could not be resumed exactly.

    Attributes:
        findings: All reasons.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(
            f"If this run were interrupted, it could not go on exactly as if it had not been:\n{listed(findings)}\n"
            "With Loop(..., exact=False) it runs nevertheless."
        )
        self.findings = tuple(findings)


def report(findings: Sequence[Finding], *, exact: bool) -> None:
    """Raises `InexactRun` if there are findings, or logs them if the run need not be exact."""
    if findings and exact:
        raise InexactRun(findings)
    if findings:
        log.warning("This run could not be resumed exactly:\n%s", listed(findings))
