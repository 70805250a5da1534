"""Runs a script up to where it would train, and measures the loop instead.

    python -c "from exactloop.speed.child import main; main()" SCRIPT [ARGUMENTS]

What to measure is in the environment: see `Orders`.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable

from exactloop import script
from exactloop.speed.measuring import measured
from exactloop.speed.orders import VARIABLE, Orders
from hooks.places import BELOW
from loop import ArrayData, IndexedData, Loop, RunResult


def main() -> None:
    """Measures the first loop that is run."""
    orders = Orders.decode(os.environ.pop(VARIABLE))
    program = script.begin(orders.parent)
    Loop.__init__ = functools.partialmethod(_made, Loop.__init__, orders)  # type: ignore[assignment, method-assign]
    if orders.times > 1:
        for kind in (ArrayData, IndexedData):
            kind.__init__ = functools.partialmethod(_enlarged, kind.__init__, orders.times)  # type: ignore
    script.run(program)


def _enlarged(data: object, init: Callable[..., None], times: int, *given: object, **named: object) -> None:
    """Makes data with batches that are so many times as large."""
    size = named.get("batch_size")
    init(data, *given, **(named if not isinstance(size, int) else {**named, "batch_size": size * times}))


def _made(loop: Loop, init: Callable[..., None], orders: Orders, *given: object, **named: object) -> None:
    """Makes a loop that is measured when it is to run."""
    named = named if orders.jit_compile is None else {**named, "jit_compile": orders.jit_compile}
    init(loop, *given, **named)
    data = named.get("data", given[1] if len(given) > 1 else None)
    measure = functools.partial(_instead, loop, data, orders, bool(named.get("jit_compile")))
    loop.run = measure  # type: ignore[method-assign]
    loop.dry_run = functools.partial(_dry, loop, loop.dry_run, loop.run)  # type: ignore[method-assign]


def _dry(loop: Loop, dry_run: Callable[[], RunResult], measure: Callable[..., RunResult]) -> RunResult:
    """Makes a dry run, which runs the loop itself."""
    del loop.__dict__["run"]
    try:
        return dry_run()
    finally:
        loop.run = measure  # type: ignore[method-assign]


def _instead(loop: Loop, data: object, orders: Orders, jit_compile: bool, **totals: object) -> RunResult:
    """Measures, writes down what came of it, and ends the process: what the script does with a result is not done."""
    loop.__dict__.pop("run", None)
    try:
        found: dict[str, object] = dataclasses.asdict(
            measured(loop, data, orders, os.environ[BELOW], jit_compile=jit_compile)
        )
    except BaseException as error:
        found = {"error": "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])}
    with open(orders.record, "w", encoding="utf-8") as file:
        json.dump(found, file)
    os._exit(0)
