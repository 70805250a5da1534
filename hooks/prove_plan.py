"""Where the lives of a program that is proved are to be cut short."""

import random
from collections.abc import Sequence

from hooks.prove_life import Death
from hooks.prove_process import Life
from hooks.prove_record import Line, Record


def plan(whole: Record, kills: int, at: Sequence[int], draw: random.Random) -> list[Death]:
    """Returns where to kill, in the order of the run.

    Args:
        whole: What the uninterrupted run wrote down.
        kills: How many kills, of which one is in mid-epoch, one at the end of an epoch, one inside a save and one
            inside an evaluation, as far as there are such.
        at: Steps after which to kill besides.
        draw: Draws what is left open.

    Raises:
        ValueError: If there is no step that is in `at`.
    """
    steps = whole.of("step_end")
    unknown = sorted({*at} - {line["step"] for line in steps})
    if unknown:
        raise ValueError(f"The run has steps 1 to {steps[-1]['step']}. Received a kill after: {unknown}.")
    inside = [line for line in steps if line["step_in_epoch"] > 0] or steps
    ends = {(line["loop"], line["step"]) for line in whole.of("epoch_end")}
    middle = [line for line in inside if (line["loop"], line["step"]) not in ends] or steps
    found = [_at("step_end", draw.choice(middle[len(middle) // 2 :]))]  # of the second half: something is saved by then
    if epochs := whole.of("epoch_end"):
        found.append(_at("epoch_end", draw.choice(epochs)))
    found.append(_at("save", draw.choice(steps[: -(-len(steps) // 2)])))  # of the first saves after that, one is hit
    if evaluations := whole.of("eval_begin"):
        found.append(_in_evaluation(draw.choice(evaluations), whole))
    found = found[:kills]
    while len(found) < kills:
        found.append(_at(draw.choice(["step_end", "settled"]), draw.choice(steps)))
    found += [_at("step_end", line) for line in steps if line["step"] in at]
    order = ("step_end", "evaluation", "epoch_end", "settled", "save")
    return sorted(set(found), key=lambda death: (death.loop, death.step, order.index(death.event)))


def described(death: Death, life: Life) -> str:
    """Returns what a death has cut short, for people."""
    begin, last = life.record.of("begin"), life.record.lines[-1] if life.record.lines else {"event": "", "step": 0}
    what = {
        "step_end": f"after step {death.step}",
        "settled": f"after step {death.step}, when hooks had settled",
        "epoch_end": f"at the end of an epoch, step {death.step}",
        "evaluation": f"inside the evaluation of step {death.step}",
        "save": f"inside the save of {' and '.join(life.saving)}",
    }[death.event]
    if death.event == "evaluation" and last["event"] != "eval_begin":
        what = f"at the end of the evaluation of step {death.step}"
    if death.event == "save" and not life.saving:
        what = f"soon after a save, at step {last['step']}"
    return what + (f"; this life had begun at step {begin[-1]['step']}" if begin else "")


def _at(event: str, line: Line) -> Death:
    return Death(event, line["loop"], line["step"])


def _in_evaluation(begin: Line, whole: Record) -> Death:
    """Returns a death after half the time that the evaluation took."""
    here = (begin["loop"], begin["step"])
    (end,) = [line for line in whole.of("eval_end") if (line["loop"], line["step"]) == here]
    return Death("evaluation", *here, seconds=(end["time"] - begin["time"]) / 2)
