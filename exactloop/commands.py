"""What the command `exactloop` does: looks at checkpoints, averages them, proves that a script is resumed exactly."""

import dataclasses
import functools
import os
from collections.abc import Callable

import tensorflow as tf

from exactloop import looking, wanted
from exactloop.options import AT, JSON, KILLS, LAST, OUT, TWICE, WORKERS
from exactloop.printing import as_json, report
from exactloop.proving import prove_script
from hooks.checkpoint.average import average as averaged
from hooks.checkpoint.differences import differences
from hooks.shared.figures import counted

UNPROVED = 3  # the exit status if nothing was proved, neither that it is exact nor that it is not


def verify(directory: str) -> int:
    """Hashes all files of all checkpoints of a directory."""
    return looking.listed("verify", directory, thorough=True)


def diff(first: str, second: str) -> int:
    """Compares two checkpoints, value by value."""
    count, found = differences(*(wanted.checkpoint("exactloop diff", path) for path in (first, second)))
    rows = [dataclasses.asdict(difference) for difference in found]
    report({"values": count, "differences": rows}, rows, f"{len(found)} of {count} values differ.")
    return int(bool(found))  # as `diff` does


def average(directory: str) -> int:
    """Averages the weights of the latest checkpoints of a directory."""
    if not os.path.isfile(directory):  # of which the reader says more
        wanted.checkpoint("exactloop average", directory)
    # In the directory of the run, where no run and no `watch` takes it for a checkpoint of its own.
    out = OUT.value or f"{directory.rstrip('/')}/average"
    stems, paths, written = averaged(directory, LAST.value, out)
    said = {"checkpoints": stems, "averaged": paths, "written": written}
    print(
        as_json(said)
        if JSON.value
        else f"Averaged {counted(len(paths), 'value')} of {', '.join(stems)}. Written: {written}"
    )
    return 0


def prove(script: str, *arguments: str) -> int:
    """Proves that a script can be killed and started again."""
    wrong = [step for step in AT.value if not step.isdecimal()]
    if wrong:
        raise ValueError(f"--at needs steps, as in --at 3,20. Received: {','.join(AT.value)}.")
    say = (lambda line: None) if JSON.value else (lambda line: print(line, flush=True))
    at = [int(step) for step in AT.value]
    workers = WORKERS.value or 1
    proof = prove_script(script, *arguments, kills=KILLS.value, at=at, twice=TWICE.value, workers=workers, say=say)
    print(as_json(dataclasses.asdict(proof)) if JSON.value else proof)
    return UNPROVED if proof.unproved else int(not proof.exact)  # so CI fails on a proof that shows nothing


def _reading(command: Callable[..., int]) -> Callable[..., int]:
    """Returns a command that fails as others do where TensorFlow cannot read, as when a service is away."""

    @functools.wraps(command)
    def run(*given: str) -> int:
        try:
            return command(*given)
        except tf.errors.OpError as error:  # or Python's exit status would be 1, which says that something differs
            raise OSError(f"TensorFlow cannot read or write it: {error.message}") from error

    return run


COMMANDS: dict[str, Callable[..., int]] = {
    **looking.COMMANDS,
    **{"verify": _reading(verify), "diff": _reading(diff), "average": _reading(average), "prove": prove},
}
