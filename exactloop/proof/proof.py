"""Runs a program without interruption, then kills it, and compares."""

import dataclasses
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from exactloop.proof.cause import all_suspects, cause
from exactloop.proof.compare import Whole
from exactloop.proof.journal import Journal, place
from exactloop.proof.kill_plan import plan
from exactloop.proof.notes import of_python, of_random_states, of_removed, of_written
from exactloop.proof.process import Attempt, ProvedProgram
from exactloop.proof.provable import NOT_RESUMED, trained_apart, unsaved, why_not
from exactloop.proof.trial import Experiment
from hooks.shared.figures import counted


@dataclasses.dataclass(frozen=True)
class Proof:
    """What came of it: it is exact, or it is not, or nothing was proved.

    Attributes:
        exact: Whether it is proved that nothing differs.
        kills: What each kill cut short, such as "after step 40; this life had begun at step 20".
        steps: How many train steps the uninterrupted run has, in all its loops.
        difference: What differed first, and what is likely to be the cause; empty if nothing did.
        notes: What else is worth knowing, such as kills that could not be done.
        unproved: Why nothing was proved, and what to do about it; empty if something was.
    """

    exact: bool
    kills: tuple[str, ...]
    steps: int
    difference: str = ""
    notes: tuple[str, ...] = ()
    unproved: str = ""

    def __str__(self) -> str:
        done = f"{counted(len(self.kills), 'kill')}, {counted(self.steps, 'step')}"
        said = f"exact: {done}, 0 differences" if self.exact else f"NOT exact: {self.difference}"
        said = f"not proved: {self.unproved}" if self.unproved else said
        return "\n".join([said, *(f"Note: {note}" for note in self.notes)])


def compared(program: ProvedProgram, kills: int, at: Sequence[int], twice: bool, say: Callable[[str], None]) -> Proof:
    """Returns the proof. See `prove`."""
    listed: list[Any] = [*at] if isinstance(at, Iterable) else [None]
    if wrong_kinds := [n for n in (kills, *listed) if isinstance(n, bool) or not isinstance(n, int)]:
        what = "kills=5" if wrong_kinds[0] is kills else "at=[7, 130]"
        raise TypeError(f"A proof takes whole numbers, as in {what}. Received: kills={kills!r:.40}, at={at!r:.40}.")
    if kills < 1:
        raise ValueError(f"A proof needs at least one kill. Received: kills={kills}.")
    at = listed  # not what was given, which may be a generator, and is at its end
    if wrong := [step for step in at if step < 1]:
        raise ValueError(f"Steps count from 1. Received a kill after: {wrong}.")
    root = Path(tempfile.mkdtemp(prefix="exactloop-prove-"))
    proof = None
    try:
        proof = _prove_in(root, program, kills, at, twice, say)
    finally:
        # To be looked into; all else leaves nothing behind.
        keep = proof is not None and bool(proof.difference) and proof.steps > 0
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
    if keep:
        return dataclasses.replace(proof, difference=f"{proof.difference}\nWhat each life wrote and said is in {root}.")
    return proof


def _prove_in(
    root: Path, program: ProvedProgram, kills: int, at: Sequence[int], twice: bool, say: Callable[[str], None]
) -> Proof:
    say("Running without interruption.")
    # Given to lives that begin anew as well, or programs that nothing seeds could not be proved at all.
    entropy = None if twice else random.getrandbits(63)
    life = program.live(root, "uninterrupted", in_vain=twice, entropy=entropy)
    whole, steps = life.record, len(life.record.of("step_end"))
    if whole.failure and whole.failure["error"]["kind"] == "InexactRun":
        where = f"at {place(whole.of('step_end')[-1])}" if steps else "before its first step"
        return Proof(False, (), steps, f"the run was refused {where}.\n{whole.failure['error']['message']}")
    if apart := trained_apart(life.records):
        return Proof(False, (), steps, unproved=apart)
    if twice or not life.killed or not unsaved(whole):  # or else it has not even tried to get to an end
        _must_succeed(life)
    if unproved := why_not(whole, life.said, killing=not twice):
        return Proof(False, (), steps, unproved=unproved)
    say(f"  {counted(steps, 'step')}, {counted(len(whole.of('epoch_end')), 'epoch')}.")
    directories = _directories(whole, root / "uninterrupted")
    # Other places each time: who proves daily comes to see them all.
    deaths = [] if twice else plan(whole, kills, at, random.Random(), program.workers)
    trial = Experiment(program, root, deaths, entropy)
    say("Running once more." if twice else "Running again, to be killed.")
    reference = Whole(life.records)
    trial.run(reference, say)
    notes = of_random_states(reference.unseeded) + of_removed(trial.removed | {*whole.removed}, directories)
    notes += of_python(reference.python, all_suspects(whole, program.path))
    notes += of_written(path for path in trial.written | {*whole.written} if os.path.isfile(path))
    happened = tuple(trial.kills)
    if trial.difference is not None:
        likely = cause(
            trial.difference,
            whole,
            resumed=bool(happened),
            stepwise=trial.stepwise,
            said=trial.life.said,
            program=program.path,
        )
        return Proof(False, happened, steps, f"{trial.difference}\n{likely}", notes)
    if trial.failure:
        return Proof(False, happened, steps, trial.failure, notes)
    # Equal ends prove nothing if each life began from nothing.
    if not (trial.resumed or twice):
        return Proof(False, happened, steps, notes=notes, unproved=NOT_RESUMED)
    asked = 0 if twice else kills + len({*at})
    fewer = (f"{asked} kills were asked for, {len(happened)} done.",) if len(happened) < asked else ()
    return Proof(True, happened, steps, notes=(*fewer, *notes))


def _must_succeed(life: Attempt) -> None:
    """Raises unless the uninterrupted run came to an end."""
    if life.record.failure or life.status != 0:
        why = f": {life.record.failure['error']['message']}" if life.record.failure else ""
        raise RuntimeError(f"The program failed without being killed, with status {life.status}{why}\n{life.said}")


def _directories(whole: Journal, below: Path) -> list[str]:
    """Returns where checkpoints go when nothing is proved."""
    found = {directory for line in whole.of("begin") for directory in line["directories"]}
    return sorted(f"/{os.path.relpath(directory, below)}" for directory in found)
