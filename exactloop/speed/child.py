"""Runs a script up to where it would train, and measures the loop instead.

    python -c "from exactloop.speed.child import main; main()" SCRIPT [ARGUMENTS]

What to measure is in the environment: see `SpeedConfig`.
"""

import contextlib
import dataclasses
import functools
import json
import operator
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, SupportsIndex
from weakref import WeakKeyDictionary

from exactloop import script
from exactloop.speed.config import VARIABLE, SpeedConfig
from exactloop.speed.measuring import measured
from hooks.shared.paths import BELOW
from loop import ArrayData, IndexedData, Loop, RunResult


class MadeLoop(NamedTuple):
    """What a loop was made with."""

    data: object
    jit_compile: bool


def main() -> None:
    """Measures the first loop that is run."""
    # Taken out, or a process that the script starts would think that it is to measure.
    config = SpeedConfig.decode(os.environ.pop(VARIABLE))
    program = script.begin(config.parent)
    # Before the script is run: it imports `Loop` when this has replaced the methods already.
    instead_of_running(config)
    if config.times > 1:
        for kind in (ArrayData, IndexedData):  # of other data, nobody here knows where the size is
            kind.__init__ = functools.partialmethod(_enlarged, kind.__init__, config.times)  # type: ignore
    script.run(program)


def instead_of_running(config: SpeedConfig) -> None:
    """Has loops be measured when they are run, whichever way: by a method of a subclass, say, or by `Loop.run(loop)`.

    A dry run, and what is measured, run a loop itself.
    """
    made = WeakKeyDictionary[Loop, MadeLoop]()  # a script may make thousands of loops
    init, run, dry_run = Loop.__init__, Loop.run, Loop.dry_run

    def make(loop: Loop, *given: object, **named: object) -> None:
        named = named if config.jit_compile is None else {**named, "jit_compile": config.jit_compile}
        init(loop, *given, **named)  # type: ignore[arg-type]
        data = named.get("data", given[1] if len(given) > 1 else None)
        made[loop] = MadeLoop(data, bool(named.get("jit_compile")))

    @contextlib.contextmanager
    def as_it_is() -> Iterator[None]:
        measure, Loop.run = Loop.run, run  # type: ignore[method-assign]
        try:
            yield
        finally:
            Loop.run = measure  # type: ignore[method-assign]

    def measure(loop: Loop, **totals: object) -> RunResult:
        with as_it_is():
            return _instead(loop, made[loop], config)

    def dry(loop: Loop) -> RunResult:
        with as_it_is():
            return dry_run(loop)

    Loop.__init__ = functools.wraps(init)(make)  # type: ignore[assignment, method-assign]
    Loop.run = functools.wraps(run)(measure)  # type: ignore[assignment, method-assign]
    Loop.dry_run = functools.wraps(dry_run)(dry)  # type: ignore[assignment, method-assign]


def _enlarged(data: object, init: Callable[..., None], times: int, *given: object, **named: object) -> None:
    """Makes data with batches that are so many times as large."""
    size = named.get("batch_size")
    larger = {"batch_size": operator.index(size) * times} if isinstance(size, SupportsIndex) else {}
    init(data, *given, **(named | larger))


def _instead(loop: Loop, made: MadeLoop, config: SpeedConfig) -> RunResult:
    """Measures, writes down what came of it, and ends the process: what the script does with a result is not done."""
    try:
        found: dict[str, object] = dataclasses.asdict(
            measured(loop, made.data, config, os.environ[BELOW], jit_compile=made.jit_compile)
        )
    except BaseException as error:  # SystemExit too: whatever ends it, the parent has to read why
        found = {"error": "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])}
    with open(config.record, "w", encoding="utf-8") as file:
        json.dump(found, file)
    # At once, so no handler at exit of the script's writes or sends anything.
    os._exit(0)
