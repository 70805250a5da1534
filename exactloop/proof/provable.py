"""Whether anything could be proved of a program, as far as its uninterrupted run shows."""

from collections.abc import Sequence

from exactloop.proof.journal import Journal

OFTEN = 20  # steps
AGAIN = "whenever it is killed, it begins again from nothing"
NOT_RESUMED = (
    f"{AGAIN}, because it does not take up what it had saved. Give Checkpoint the same directory each time, and "
    "leave out resume='never'."
)


def why_not(whole: Journal, said: str, *, killing: bool) -> str:
    """Returns why nothing can be proved, and what to do about it; empty if something can.

    Args:
        whole: What the uninterrupted run wrote down.
        said: What it printed last.
        killing: Whether it is to be killed, or only run again.
    """
    begins, steps = whole.of("begin"), whole.of("step_end")
    if killing and (without := unsaved(whole)):
        which = "the loop" if len(whole.loops()) == 1 else f"loop {without[0]}, counted from 0,"
        total = next(line.get("total") for line in begins if line["loop"] == without[0])
        add = f"hooks=[Checkpoint(directory, Every(steps={_within(total or 2 * OFTEN)}))]"
        return f"{AGAIN}, because {which} has no Checkpoint hook. Add one: {add}."
    if not steps:
        never = "it never called Loop.run() in the process that was started, or in one that this has forked"
        why = f"it was complete when it began, at step {begins[0]['step']}" if begins else never
        return (
            f"the program ran no step, because {why}. Let it train when it is started; its own arguments come after "
            f"a --. It said:\n{said.strip() or 'nothing.'}"
        )
    # Something has to be done again after a kill, or resuming was not tried.
    saved = first_saved(whole)
    if killing and not any(line["step"] > saved.get(line["loop"], line["step"]) for line in steps):
        last = max(line["step"] for line in steps)
        save = f"Save earlier: Checkpoint(directory, Every(steps={_within(last)}))."
        remedy = save if last > 1 else "Train for more steps."
        return f"{AGAIN}, because it saves nothing before its last step, which is step {last}. {remedy}"
    return ""


def trained_apart(records: Sequence[Journal]) -> str:
    """Returns what to do about it if several workers have not trained one model; empty if they have, or it is one."""
    counts = [line["workers"] for record in records for line in record.of("begin")]
    if all(count == len(records) for count in counts):
        return ""
    return (
        f"{len(records)} workers were started, and each would train a model of its own. Let the script begin with "
        "loop.connect(), which joins them."
    )


def _within(steps: int) -> int:
    """Returns after how many steps to save, if there are so many: often enough, and not only at the end."""
    return min(OFTEN, max(1, steps // 2))


def unsaved(whole: Journal) -> list[int]:
    """Returns the loops that nobody saves, by number."""
    begins = whole.of("begin")
    return sorted({line["loop"] for line in begins} - {line["loop"] for line in begins if line["directories"]})


def first_saved(whole: Journal) -> dict[int, int]:
    """Returns the step of the first checkpoint of each loop."""
    saved = [(line["loop"], step) for line in whole.of("settled", "end") for step in line.get("saved", ())]
    return {loop: min(step for each, step in saved if each == loop) for loop, _ in saved}
