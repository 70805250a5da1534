"""Proves that a program ends with the same bits however often it is killed: kills it, and compares."""

import dataclasses
import inspect
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hooks.prove_cause import cause
from hooks.prove_life import REFUSED
from hooks.prove_plan import plan
from hooks.prove_process import Life, Program
from hooks.prove_record import Record, Reference
from hooks.prove_trial import Trial
from loop import Loop

NOTHING_SAVED = (
    "nothing was proved: no life was killed after its first checkpoint, so each began from nothing. Save more often, "
    "Checkpoint(directory, Every(steps=...)), or kill later, with at=[...] or --at."
)


@dataclasses.dataclass(frozen=True)
class Proof:
    """What came of it.

    Attributes:
        exact: Whether nothing differed.
        kills: What each kill cut short, such as "after step 40, resumed from step 20".
        steps: How many train steps the uninterrupted run has, in all its loops.
        difference: What differed first, and what is likely to be the cause; empty if nothing did.
    """

    exact: bool
    kills: tuple[str, ...]
    steps: int
    difference: str = ""

    def __str__(self) -> str:
        done = f"{len(self.kills)} kills, {self.steps} steps"
        return f"exact: {done}, 0 differences" if self.exact else f"NOT exact: {self.difference}"


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
    a digest of the batches, what is logged, every variable, Python's and NumPy's random states, and the list of events.
    Hooks that keep files keep them in a temporary directory meanwhile.

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
        ValueError: If an argument cannot be used, or what `make_loop` makes has no `Checkpoint`.
        RuntimeError: If the program fails without being killed, with what it said.
    """
    name, path = getattr(make_loop, "__qualname__", ""), inspect.getsourcefile(make_loop)
    if not name.isidentifier() or path is None:
        raise ValueError(
            "prove(make_loop) calls it in other processes, so it has to be a function at the top level of a module. "
            f"Received: {make_loop!r}."
        )
    totals = {key: total for key, total in {"epochs": epochs, "steps": steps}.items() if total is not None}
    return _proof(Program([path], name, totals), kills, at, twice, say=lambda line: None)


def prove_script(
    script: str,
    *arguments: str,
    kills: int = 5,
    at: Sequence[int] = (),
    twice: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Proof:
    """Proves that a script can be killed and started again, whatever loops it makes. See `prove`.

    Args:
        script: The path of the script.
        arguments: What it is started with.
        kills: As for `prove`.
        at: As for `prove`.
        twice: As for `prove`.
        say: Is told what is being done.
    """
    if not os.path.isfile(script):
        raise FileNotFoundError(f"There is no script {script!r}.")
    return _proof(Program([script, *arguments]), kills, at, twice, say)


def _proof(program: Program, kills: int, at: Sequence[int], twice: bool, say: Callable[[str], None]) -> Proof:
    if kills < 1:
        raise ValueError(f"A proof needs at least one kill. Received: kills={kills}.")
    root = Path(tempfile.mkdtemp(prefix="exactloop-prove-"))
    proof = None
    try:
        proof = _compared(program, root, kills, at, twice, say)
    finally:
        keep = proof is not None and not proof.exact and proof.steps > 0
        if not keep:
            shutil.rmtree(root)
    if keep:
        return dataclasses.replace(proof, difference=f"{proof.difference}\nWhat each life wrote and said is in {root}.")
    return proof


def _compared(
    program: Program, root: Path, kills: int, at: Sequence[int], twice: bool, say: Callable[[str], None]
) -> Proof:
    say("Running without interruption.")
    life = program.live(root, "uninterrupted")
    if life.status == REFUSED:
        return Proof(False, (), 0, f"the run was refused before its first step.\n{life.record.refusal}")
    whole, steps = life.record, len(life.record.of("step_end"))
    _must_succeed(life)
    say(f"  {steps} steps, {len(whole.of('epoch_end'))} epochs.")
    checkpoints = _checkpoints(whole, root / "uninterrupted")
    deaths = [] if twice else plan(whole, kills, at, random.Random())
    # The one in a save has a run of its own, because it depends on time what it hits.
    groups = {"killed": [d for d in deaths if d.event != "save"], "saving": [d for d in deaths if d.event == "save"]}
    trials = [Trial(program, root, name, some, checkpoints) for name, some in groups.items() if some]
    happened, begun = list[str](), set[int]()
    for trial in trials or [Trial(program, root, "again", [], checkpoints)]:
        say("Running once more." if twice else "Running again, to be killed.")
        trial.run(Reference(whole), say)
        happened += trial.kills
        begun |= trial.begun
        if trial.failure:
            return Proof(False, tuple(happened), steps, trial.failure)
        if trial.difference is not None:
            likely = cause(trial.difference, whole, resumed=bool(trial.kills), program=program.path)
            return Proof(False, tuple(happened), steps, f"{trial.difference}\n{likely}")
    if not twice and begun == {0}:
        return Proof(False, tuple(happened), steps, NOTHING_SAVED)
    return Proof(True, tuple(happened), steps)


def _must_succeed(life: Life) -> None:
    if life.status != 0:
        raise RuntimeError(f"The program failed without being killed, with status {life.status}:\n{life.said}")
    if not life.record.of("step_end"):
        raise ValueError(f"The program ran no step of a Loop. It said:\n{life.said}")


def _checkpoints(whole: Record, below: Path) -> list[str]:
    """Returns the directories of checkpoints, relative to that of the run."""
    found = {directory for line in whole.of("begin") for directory in line["directories"]}
    if not found:
        raise ValueError(
            "The loop has no Checkpoint hook, so when it is killed it begins again from nothing. "
            "Add one: hooks=[Checkpoint(directory, Every(steps=20))]."
        )
    return [os.path.relpath(directory, below) for directory in sorted(found)]
