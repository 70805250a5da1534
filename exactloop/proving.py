"""Proves that a program ends with the same bits however often it is killed: kills it, and compares."""

import os
import sys
from collections.abc import Callable, Sequence

from exactloop.proof.process import ProvedProgram
from exactloop.proof.proof import Proof, compared
from exactloop.script import given, refuse_in_cluster
from loop import Loop
from loop.errors.calls import explained

__all__ = ["Proof", "prove", "prove_script"]

# In a cluster, each life would join it, and wait there for workers that nobody starts.
WORKERS = "A proof starts all workers itself, on this machine: say how many, as in exactloop prove --workers=2 train.py"


@explained(
    {
        "loop": "write prove(make_loop): a function that makes the loop, at the top level of a module",
        **dict.fromkeys(("max_epochs", "num_epochs"), "write epochs=3"),
        **dict.fromkeys(("max_steps", "num_steps"), "write steps=100"),
    },
    kinds=False,
)
def prove(
    make_loop: Callable[[], Loop],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    kills: int = 5,
    at: Sequence[int] = (),
    twice: bool = False,
) -> Proof:
    """Proves that a loop can be resumed exactly.

    For tests: `proof = prove(make_loop, epochs=3)`, then `assert proof.exact, proof`.

    Runs to the end, then again in processes that are killed by SIGKILL and started anew, and compares after each step:
    a digest of the batches, what is logged, every variable, Python's and NumPy's random states, and the list of events;
    and at the end of all what `run()` leaves and returns. The last life is not made to stop after each step, so it is
    compared where it does. Hooks that keep files keep them in a temporary directory meanwhile.

    Args:
        make_loop: A function at the top level of a module, without arguments, that makes the loop. One of its hooks has
            to be a `Checkpoint`.
        epochs: For `Loop.run`.
        steps: For `Loop.run`.
        kills: How many times to kill, at least 1. The first four are one in mid-epoch, one at the end of an epoch, one
            inside a save and one inside an evaluation, as far as the run has these; the others are anywhere.
        at: Steps after which to kill as well.
        twice: Kills nothing, but runs twice: whether the program itself does the same each time.

    Raises:
        TypeError, ValueError: If an argument cannot be used, or this process is one of a cluster.
        RuntimeError: If the program fails without being killed, with what it said.
    """
    refuse_in_cluster(WORKERS)
    name, module = getattr(make_loop, "__qualname__", ""), sys.modules.get(getattr(make_loop, "__module__", ""))
    path = getattr(module, "__file__", None)
    # By its name it has to be found again: a lambda, or what a decorator has wrapped, is not.
    if module is None or path is None or vars(module).get(name) is not make_loop:
        raise ValueError(
            "prove(make_loop) calls it in other processes, so it has to be a function at the top level of a module. "
            f"Received: {getattr(make_loop, '__qualname__', type(make_loop).__name__)}."
        )
    # The module that was started has its own name only if it was started by it, as in python -m tests.proof.
    spec = module.__spec__ if module.__name__ == "__main__" else None
    known = "" if module.__name__ == "__main__" and spec is None else spec.name if spec else module.__name__
    totals = {key: total for key, total in {"epochs": epochs, "steps": steps}.items() if total is not None}
    program = ProvedProgram([path], module=known, function=name, totals=totals)
    return compared(program, kills, at, twice, say=lambda line: None)


def prove_script(
    script: str,
    *arguments: str,
    kills: int = 5,
    at: Sequence[int] = (),
    twice: bool = False,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Proof:
    """Proves that a script can be killed and started again, whatever loops it makes. See `prove`.

    What comes through a pipe, or from a file, to this process is given to each life of the script.

    Args:
        script: The path of the script.
        arguments: What it is started with.
        kills: As for `prove`.
        at: As for `prove`.
        twice: As for `prove`.
        workers: How many processes train one model, on this machine; in turns one of them is killed, the first one, and
            all. What each of them does is compared.
        say: Is told what is being done.
    """
    refuse_in_cluster(WORKERS)
    if workers < 1:
        raise ValueError(f"A script is run by at least one worker. Received: workers={workers}.")
    if not os.path.isfile(script):
        raise FileNotFoundError(f"There is no script {script!r}.")
    return compared(ProvedProgram([script, *arguments], given=given(), workers=workers), kills, at, twice, say)
