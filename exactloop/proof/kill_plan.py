"""Where the lives of a program that is proved are to be cut short."""

import dataclasses
import random
from collections.abc import Sequence

from exactloop.proof.config import KillPoint
from exactloop.proof.journal import Journal, Line
from exactloop.proof.process import Attempt
from exactloop.proof.provable import first_saved


def plan(whole: Journal, kills: int, at: Sequence[int], draw: random.Random, workers: int = 1) -> list[KillPoint]:
    """Returns where to kill, in the order of the run; fewer than asked for if the run has no more places.

    Args:
        whole: What the uninterrupted run wrote down.
        kills: How many kills, of which one is in mid-epoch, one at the end of an epoch, one inside a save and one
            inside an evaluation, as far as there are such.
        at: Steps after which to kill besides.
        draw: Draws what is left open.
        workers: How many there are. In turns one that is not the first dies, the first, and all; in a save, which is
            the first one's affair, the first, and all.

    Raises:
        ValueError: If there is no step that is in `at`.
    """
    steps = whole.of("step_end")
    unknown = sorted({*at} - {line["step"] for line in steps})
    if unknown:
        last = max(line["step"] for line in steps)
        raise ValueError(f"The run has steps 1 to {last}. Received a kill after: {unknown}.")
    asked = {_at("step_end", line) for line in steps if line["step"] in at}
    kinds = [_inside_epochs(whole), [_at("epoch_end", line) for line in whole.of("epoch_end")]]
    kinds += [_saves(whole), _evaluations(whole)]
    # One of each kind first; what is asked for by step is done besides, and counts for none.
    found = [draw.choice(left) for places in kinds if (left := [each for each in places if each not in asked])][:kills]
    anywhere = [_at(event, line) for line in steps for event in ("step_end", "settled")]
    rest = [each for each in anywhere if each not in {*found, *asked}]
    found += draw.sample(rest, min(kills - len(found), len(rest)))  # without repetition: each kill is another one
    order = ("step_end", "evaluation", "epoch_end", "settled", "save")  # of events within a step
    deaths = sorted({*found, *asked}, key=lambda death: (death.loop, death.step, order.index(death.event)))
    return [dataclasses.replace(death, ranks=_ranks(death, i, workers, draw)) for i, death in enumerate(deaths)]


def described(death: KillPoint, life: Attempt, loops: int) -> str:
    """Returns what a death has cut short, for people.

    Args:
        death: Where it was to be.
        life: What it ended.
        loops: How many loops the program has.
    """
    of_victim = life.records[death.ranks[0]]
    last = of_victim.lines[-1]["event"] if of_victim.lines else ""
    what = {
        "step_end": f"after step {death.step}",
        "settled": f"after step {death.step}, when hooks had settled",
        "epoch_end": f"at the end of an epoch, step {death.step}",
        "evaluation": f"{'inside' if last == 'eval_begin' else 'at the end of'} the evaluation of step {death.step}",
        "save": f"inside the save of {' and '.join(life.saving)}",
    }[death.event]
    begun = [line["step"] for line in life.record.of("begin") if line["loop"] == death.loop]
    what += f" of loop {death.loop}" if loops > 1 else ""
    if len(life.records) > 1:
        what += ", all workers" if len(death.ranks) > 1 else f", worker {death.ranks[0]}"
    return what + (f"; this life had begun at step {begun[0]}" if begun else "")


def _ranks(death: KillPoint, number: int, workers: int, draw: random.Random) -> tuple[int, ...]:
    """Returns which workers die the death of this number."""
    if workers == 1:
        return (0,)
    choices = [(draw.randrange(1, workers),), (0,), tuple(range(workers))]
    saving = death.event == "save"
    return choices[1 + number % 2] if saving else choices[number % 3]


def _at(event: str, line: Line) -> KillPoint:
    return KillPoint(event, line["loop"], line["step"])


def _inside_epochs(whole: Journal) -> list[KillPoint]:
    """Returns deaths inside epochs; those after something was saved, if there are any, or else others like that."""
    steps, ends = whole.of("step_end"), {(line["loop"], line["step"]) for line in whole.of("epoch_end")}
    inside = [line for line in steps if (line["loop"], line["step"]) not in ends] or steps
    first = first_saved(whole)
    # A kill before the first save proves nothing: the life begins anew.
    late = [
        [line for line in lines if line["step"] > first.get(line["loop"], line["step"])] for lines in (inside, steps)
    ]
    return [_at("step_end", line) for line in late[0] or late[1] or inside]


def _saved(whole: Journal) -> list[KillPoint]:
    """Returns a death in each save, in the order of the run."""
    lines = whole.of("settled", "end")
    points = (KillPoint("save", line["loop"], step) for line in lines for step in line.get("saved", ()))
    return list(dict.fromkeys(points))


def _saves(whole: Journal) -> list[KillPoint]:
    """Returns deaths in saves; in the first of a loop only if there is no other: it leaves nothing to go on from."""
    saved = _saved(whole)
    first = [each for i, each in enumerate(saved) if each.loop not in {death.loop for death in saved[:i]}]
    return [each for each in saved if each not in first] or saved


def _evaluations(whole: Journal) -> list[KillPoint]:
    """Returns a death in the middle of each evaluation that was completed, after half the time that it took."""
    found = []
    # By the time that it took in the uninterrupted run, so on a busy machine a kill may come early, or late.
    for begin, after in zip(whole.lines, whole.lines[1:], strict=False):
        if (begin["event"], after["event"]) == ("eval_begin", "eval_end"):
            found.append(KillPoint("evaluation", begin["loop"], begin["step"], (after["time"] - begin["time"]) / 2))
    return found
