"""Proves that a program ends with the same bits however often it is killed: kills it, and compares."""

import dataclasses
import inspect
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from hooks.prove_life import REFUSED, Death
from hooks.prove_plan import described, plan
from hooks.prove_process import Life, Program
from hooks.prove_record import Difference, Record, Reference
from hooks.prove_suspects import suspects
from loop import Loop

NOTHING_SAVED = (
    "nothing was proved: no life was killed after its first checkpoint, so each began from nothing. Save more often, "
    "Checkpoint(directory, Every(steps=...)), or kill later, with at=[...] or --at."
)
TRIES = 5  # how often a kill inside a save is tried, if saves are faster than the kill
SEEDS = (
    "Is keras.utils.set_random_seed(1) called before anything is built? Are data, and their order, the same each time?"
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
    return _proof([path], name, totals, kills, at, twice, say=lambda line: None)


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
    return _proof([script, *arguments], "", {}, kills, at, twice, say)


def _proof(
    command: Sequence[str],
    function: str,
    totals: dict[str, int],
    kills: int,
    at: Sequence[int],
    twice: bool,
    say: Callable[[str], None],
) -> Proof:
    if kills < 1:
        raise ValueError(f"A proof needs at least one kill. Received: kills={kills}.")
    root = Path(tempfile.mkdtemp(prefix="exactloop-prove-"))
    program = Program(command, root, function, totals)
    say("Running without interruption.")
    whole = program.live("uninterrupted")
    if whole.status == REFUSED:
        shutil.rmtree(root)
        return Proof(False, (), 0, f"the run was refused before its first step.\n{whole.record.refusal}")
    _must_succeed(whole, "The program")
    steps = len(whole.record.of("step_end"))
    say(f"  {steps} steps, {len(whole.record.of('epoch_end'))} epochs.")
    checkpoints = _checkpoints(whole.record, root / "uninterrupted")
    runs: list[tuple[str, list[Death]]] = [("again", [])] if twice else _runs(whole.record, kills, at)
    happened, begun = list[str](), set[int]()
    for name, deaths in runs:
        say("Running once more." if twice else "Running again, to be killed.")
        found = _compared(program, Reference(whole.record), name, deaths, checkpoints, happened, begun, say)
        if found is not None:
            told = found if isinstance(found, str) else f"{found}\n{_cause(found, whole.record, happened, command[0])}"
            return _ended(root, Proof(False, tuple(happened), steps, told))
    if not twice and begun == {0}:
        return _ended(root, Proof(False, tuple(happened), steps, NOTHING_SAVED))
    return _ended(root, Proof(True, tuple(happened), steps))


def _runs(whole: Record, kills: int, at: Sequence[int]) -> list[tuple[str, list[Death]]]:
    """Returns runs by name, with where to kill them. The save has one of its own: it depends on time what is hit."""
    deaths = plan(whole, kills, at, random.Random())
    saves = [death for death in deaths if death.event == "save"]
    others = [death for death in deaths if death.event != "save"]
    return [(name, some) for name, some in {"killed": others, "killed-in-save": saves}.items() if some]


def _compared(
    program: Program,
    reference: Reference,
    name: str,
    deaths: list[Death],
    checkpoints: Sequence[str],
    happened: list[str],
    begun: set[int],
    say: Callable[[str], None],
) -> Difference | str | None:
    """Runs again, one life after the other, all but the last of which are killed. Returns what differed first."""
    tries = TRIES
    while True:
        death = deaths.pop(0) if deaths else None
        life = program.live(name, death, checkpoints)
        begun |= {line["step"] for line in life.record.of("begin")}
        if death is not None and life.killed:
            happened.append(described(death, life))
            say(f"  killed {happened[-1]}.")
            tries -= 1
            if death.event == "save" and not life.saving and tries and life.record.lines:
                deaths.insert(0, dataclasses.replace(death, step=life.record.lines[-1]["step"] + 1))
        if found := reference.compare(life.record):
            return found
        if not life.killed:
            failed = f"a life that was started again failed with status {life.status}.\n{life.said}"
            return failed if life.status else reference.missing()


def _checkpoints(whole: Record, below: Path) -> list[str]:
    """Returns the directories of checkpoints, relative to that of the run."""
    found = {directory for line in whole.of("begin") for directory in line["directories"]}
    if not found:
        raise ValueError(
            "The loop has no Checkpoint hook, so when it is killed it begins again from nothing. "
            "Add one: hooks=[Checkpoint(directory, Every(steps=20))]."
        )
    return [os.path.relpath(directory, below) for directory in sorted(found)]


def _cause(found: Difference, whole: Record, happened: Sequence[str], file: str) -> str:
    """Says what a difference is likely to come from."""
    findings = [finding for line in whole.of("begin") for finding in line["findings"]]
    lines = [f"  {finding['what']}" + (f", at {finding['where']}" if finding["where"] else "") for finding in findings]
    if lines:
        return "\n".join(["Loop.audit() names what no checkpoint can hold:", *lines])
    if not happened:
        return f"Nothing had been killed by then: the program does not do the same each time.\n{SEEDS}"
    if found.kind == "batches":
        return (
            "What the run saw was right until then: the data do not come again. See StreamData(resume=...), ArrayData."
        )
    lines = [f"  {line}" for line in suspects(file)]
    if lines:
        advice = (
            "Python's own values are in no checkpoint; a tf.Variable that is set on a hook in __init__ is. Suspects:"
        )
        return "\n".join([advice, *dict.fromkeys(lines)])
    return "Something decides this that is in no checkpoint: a value of Python, a file, the time."


def _must_succeed(life: Life, who: str) -> None:
    if life.status != 0:
        raise RuntimeError(f"{who} failed with status {life.status}. It said:\n{life.said}")
    if not life.record.of("step_end"):
        raise ValueError(f"{who} ran no step of a Loop. It said:\n{life.said}")


def _ended(root: Path, proof: Proof) -> Proof:
    """Removes what is not needed any more."""
    if proof.exact:
        shutil.rmtree(root)
        return proof
    return dataclasses.replace(proof, difference=f"{proof.difference}\nWhat each life wrote and said is in {root}.")
