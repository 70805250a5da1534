"""The command `exactloop`: looks at checkpoints, and proves that a script can be resumed exactly."""

import dataclasses
import json
import math
import signal
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence

import rich.box
import rich.console
import rich.table
from absl import flags

from exactloop.prove import prove_script
from hooks.checkpoint.manifest import Manifest, content
from hooks.checkpoint.report import Entry, differences, entries, pinned
from hooks.figures import figure

# No docstring, which python -OO leaves out.
USAGE = """The command `exactloop`: looks at checkpoints, and proves that a script can be resumed exactly.

    exactloop ls DIRECTORY              steps, epochs, ages, sizes, metrics, and whether the files have their sizes
    exactloop verify DIRECTORY          hashes all files; exit status 1 if one is not what was committed
    exactloop diff CHECKPOINT CHECKPOINT   which values differ, in bits; exit status 1 if some do
    exactloop show CHECKPOINT           the manifest
    exactloop prove SCRIPT.py [--kills N] [--at STEPS] [--same-machine-twice] [-- ARGUMENTS]
                                        kills the script N times and compares; exit status 1 if anything differs,
                                        3 if nothing was proved

A CHECKPOINT is DIRECTORY/ckpt-120, or a directory, for its newest. With --json, what is printed is JSON, in which null
stands for NaN, and for the age of what was made later than the clock says it is. The training time, clock/seconds, is
no difference. Exit status 2: what was asked for cannot be done.

A proof runs the script to its end, then again in processes that are killed by SIGKILL and started anew, and compares
batches, logged values, variables, random states and events after each step. Checkpoints and TensorBoard files go to a
temporary directory meanwhile; what the script itself writes, or removes, does not. --at 3,20 kills after these steps as
well; --same-machine-twice kills nothing and runs twice: does the script do the same each time at all?
"""
UNPROVED = 3  # the exit status if nothing was proved, neither that it is exact nor that it is not
NUMBERS = ("step", "epoch", "bytes", "count", "largest")
JSON = flags.DEFINE_bool("json", False, "Print JSON, for machines.")
KILLS = flags.DEFINE_integer("kills", 5, "How many times to kill the script that is proved.", lower_bound=1)
AT = flags.DEFINE_list("at", [], "Steps after which to kill it as well.")
HELP = flags.DEFINE_bool("help", False, "Print what the commands do.", short_name="h")
TWICE = flags.DEFINE_bool("same-machine-twice", False, "Kill nothing, but run the script twice and compare.")


def ls(directory: str) -> int:
    """Lists the checkpoints of a directory."""
    return _list(entries(directory, thorough=False), "sizes right")


def verify(directory: str) -> int:
    """Hashes all files of all checkpoints of a directory."""
    found = entries(directory, thorough=True)
    if not found:
        raise FileNotFoundError(f"There is no checkpoint in {directory!r}.")
    return _list(found, "whole")


def diff(first: str, second: str) -> int:
    """Compares two checkpoints, value by value."""
    count, found = differences(first, second)
    rows = [dataclasses.asdict(difference) for difference in found]
    _print({"values": count, "differences": rows}, rows, f"{len(found)} of {count} values differ.")
    return int(bool(found))


def show(path: str) -> int:
    """Prints a manifest."""
    with pinned(path) as pin:
        said = content(pin.manifest)
    if JSON.value:
        print(_json(said))
    else:
        rich.console.Console().print_json(json.dumps(said))
    return 0


def prove(script: str, *arguments: str) -> int:
    """Proves that a script can be killed and started again."""
    wrong = [step for step in AT.value if not step.isdecimal()]
    if wrong:
        raise ValueError(f"--at needs steps, as in --at 3,20. Received: {','.join(AT.value)}.")
    say = (lambda line: None) if JSON.value else (lambda line: print(line, flush=True))
    at = [int(step) for step in AT.value]
    proof = prove_script(script, *arguments, kills=KILLS.value, at=at, twice=TWICE.value, say=say)
    print(_json(dataclasses.asdict(proof)) if JSON.value else proof)
    return UNPROVED if proof.unproved else int(not proof.exact)


def _list(found: Sequence[Entry], whole: str) -> int:
    rows: list[dict[str, object]] = []
    for entry in found:
        row: dict[str, object] = {"checkpoint": entry.stem}
        if entry.manifest:
            record, age = entry.manifest.record, _age(entry.manifest)
            row |= {"step": record.step, "epoch": record.epoch, "age": age, "bytes": entry.size}
            row |= {"best": entry.best, "logs": dict(entry.manifest.logs)}
        rows.append(row | {"files": entry.damage or whole})
    damaged = sum(bool(entry.damage) for entry in found)
    _print(rows, rows, f"{len(found)} checkpoints, {damaged} damaged.")
    return int(damaged > 0)


def _age(manifest: Manifest) -> float:
    """Returns how old a checkpoint is, in seconds; NaN if by the clock it is yet to come, because that was set back."""
    made = manifest.made.get("time")
    age = time.time() - made if isinstance(made, int | float) else math.nan
    return age if age >= 0 else math.nan


def _print(for_machines: object, rows: Sequence[dict[str, object]], summary: str) -> None:
    if JSON.value:
        print(_json(for_machines))
        return
    console = rich.console.Console()
    if rows:
        table = rich.table.Table(box=rich.box.SIMPLE)
        names = list(dict.fromkeys(name for row in rows for name in row))
        for name in names:
            table.add_column(name, overflow="fold", justify="right" if name in NUMBERS else "left")
        for row in rows:
            table.add_row(*(_text(name, row[name]) if name in row else "" for name in names))
        console.print(table)
    console.print(summary, highlight=False)


def _json(value: object) -> str:
    """Returns JSON as everybody reads it, which has no word for NaN, nor for what is infinite."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _text(name: str, value: object) -> str:
    """Returns a cell of a table, for people."""
    if name == "age":
        return "unknown" if math.isnan(age := float(str(value))) else _span(age)
    if isinstance(value, bool):
        return "best" if value else ""
    if isinstance(value, dict):
        return "  ".join(f"{key} {figure(number)}" for key, number in value.items())
    if isinstance(value, float):
        return "" if math.isnan(value) else figure(value)
    return f"{value:,}" if isinstance(value, int) and name == "bytes" else rich.markup.escape(str(value))


def _span(seconds: float) -> str:
    for unit, length in {"days": 86400, "h": 3600, "min": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


COMMANDS: dict[str, tuple[Callable[..., int], range]] = {  # with how many arguments they take
    "ls": (ls, range(1, 2)),
    "verify": (verify, range(1, 2)),
    "diff": (diff, range(2, 3)),
    "show": (show, range(1, 2)),
    "prove": (prove, range(1, sys.maxsize)),
}


def main(arguments: Sequence[str]) -> int:
    """Runs one command.

    Args:
        arguments: The name of the program, the command, and what it is given.

    Returns:
        The exit status.
    """
    if HELP.value:
        print(USAGE)
        return 0
    command, *given = arguments[1:] or [""]
    run, counts = COMMANDS.get(command, (None, range(0)))
    if run is None or len(given) not in counts:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        return run(*given)
    except (OSError, RuntimeError, ValueError, UserWarning) as error:
        print(f"exactloop {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"exactloop {command}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def run() -> None:
    """The entry point of the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end)
    flags.FLAGS.set_gnu_getopt(True)  # --json may stand anywhere
    try:
        arguments = flags.FLAGS(sys.argv)
    except flags.Error as error:  # absl would exit with 1, which says that something differs
        of_script = " Arguments of the script come after --, as in: exactloop prove train.py -- --epochs=3"
        unknown = isinstance(error, flags.UnrecognizedFlagError) and "prove" in sys.argv
        print(f"exactloop: {error}.{of_script if unknown else ''}", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(arguments))


def _end(number: int, frame: types.FrameType | None) -> None:
    """Ends the command by an exception, so that what it has started and made goes with it."""
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut that short
    sys.exit(128 + number)
