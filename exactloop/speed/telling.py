"""Prints what was measured, for people."""

import dataclasses
from collections.abc import Sequence

import rich.box
import rich.console
import rich.table

from exactloop.speed.advice import advice, gained, micro
from exactloop.speed.config import Measured
from exactloop.speed.trying import AGAIN, Outcome
from hooks.shared.figures import counted

WHAT = {
    "step": "the train step itself, on a batch that is there",
    "data": "what it takes longer because batches are read",
    "loop": "halts for hooks, ends of epochs, counting, recording",
    "hooks": "",
}


def show(script: str, as_it_is: Measured, tried: Sequence[Outcome], console: rich.console.Console) -> None:
    """Prints it.

    Args:
        script: What was measured.
        as_it_is: How fast it is.
        tried: How fast it would be.
        console: Where to.
    """

    def say(text: object) -> None:
        # Names of hooks may have brackets, which rich would take for its own marks.
        console.print(text, highlight=False, markup=False, soft_wrap=False)

    epoch = "" if as_it_is.batches is None else f", {as_it_is.batches:,} an epoch"
    xla = ", under XLA" if as_it_is.jit_compile else ""
    parts = as_it_is.parts
    step = sum(parts.values())  # seconds
    say(f"{script}: {as_it_is.data}, batches of {counted(as_it_is.rows, 'row')}{epoch}{xla}.\n")
    say(f"A step takes {micro(step)} us: {1 / step:,.0f} steps and {as_it_is.rows / step:,.0f} rows a second. Of that:")
    say(_table_of(parts, as_it_is))
    if as_it_is.left_out:
        names = ", ".join(as_it_is.left_out)
        say(f"Left out, because nobody knows where they write: {names}. A Hook that has before_dry_run is not.\n")
    say(_table_of_tried(as_it_is, tried))
    for line in advice(as_it_is, tried):
        say(line)


def _table_of(parts: dict[str, float], as_it_is: Measured) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify, overflow="fold")
    most = sorted(as_it_is.hooks.items(), key=lambda each: -each[1])  # the slowest first
    hooks = ", ".join(f"{name} {micro(seconds)}" for name, seconds in most) or "there are none"
    for name, seconds in parts.items():
        share, what = seconds / sum(parts.values()), WHAT[name] or hooks
        table.add_row(name, f"{share:.0%}", f"{micro(seconds)} us", what)
    return table


def _table_of_tried(as_it_is: Measured, tried: Sequence[Outcome]) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("without hooks", overflow="fold")
    for name in ("us a step", "rows a second", "against as it is"):
        table.add_column(name, justify="right")
    again = [] if as_it_is.again is None else [Outcome(AGAIN, dataclasses.replace(as_it_is, compiled=as_it_is.again))]
    same = [Outcome("as it is", as_it_is), *again]
    for name, measured in [(each.name, each.measured) for each in (*same, *tried)]:
        if measured is None:
            table.add_row(name, "-", "-", "cannot be had")
        else:
            times = "" if name in ("as it is", AGAIN) else f"{gained(as_it_is, measured):.2f}"
            table.add_row(name, micro(measured.compiled), f"{measured.rows / measured.compiled:,.0f}", times)
    return table
