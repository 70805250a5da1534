"""How the description of a saved run differs from that of the one that is to go on from it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Description = Mapping[str, Mapping[str, Any]]
OF_NUMBERS = ("content", "seed", "shuffle")  # of data: another one can be restored, but yields other batches


class Differences(NamedTuple):
    """A line for each difference.

    Attributes:
        structure: What makes it impossible to restore.
        numbers: What makes the run go on with other numbers.
        traced: What does so in functions; another version of TensorFlow or Keras may have traced the same program.
    """

    structure: list[str]
    numbers: list[str]
    traced: list[str]


def differences(then: Description, now: Description) -> Differences:
    """Compares what `TrainingState.describe` returns.

    Hooks and evaluations may be added and taken away: one that is new begins, one that is gone is forgotten.
    """
    found = Differences([], [], [])
    for part in ("state", "variables", "data", "seed"):
        for key in sorted({*now[part], *then[part]}):
            if now[part].get(key) != then[part].get(key) and not _comes_or_goes(key, then[part], now[part]):
                getattr(found, _kind(part, key)).append(_line(part, key, then[part], now[part]))
    for name in sorted({*now["steps"]} & {*then["steps"]}):
        if now["steps"][name] != then["steps"][name] and not found.structure:  # of which that would be a consequence
            found.traced.append(f"the {name!r} step {_of_steps(then['steps'][name], now['steps'][name])}")
    return found


def _kind(part: str, key: str) -> str:
    """Returns the list of `Differences` that a difference belongs to."""
    if part == "data" and key == "stages":
        return "traced"
    return "numbers" if part == "seed" or (part == "data" and key in OF_NUMBERS) else "structure"


def _comes_or_goes(key: str, then: Mapping[str, object], now: Mapping[str, object]) -> bool:
    """Returns whether a variable belongs to a hook or an evaluation of which the other side has none at all."""
    owner = "/".join(key.split("/")[:2])
    other = now if key in then else then
    return owner.startswith(("hooks/", "evaluations/")) and not any(path.startswith(f"{owner}/") for path in other)


def _line(part: str, key: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if key not in then:
        return f"{part}: {key} {now[key]} is missing in the checkpoint"
    if key not in now:
        return f"{part}: {key} {then[key]} is in the checkpoint only"
    if part == "seed":
        was = f"{part}: {key} was {then[key]} in the checkpoint and is {now[key]} now"
        return f"{was}; keras.utils.set_random_seed calls it"
    if key == "stages":
        return f"data: the pipeline {_of_stages(then[key], now[key])}"
    if key == "content":
        return "data: the arrays have other values than when the checkpoint was made"
    return f"{part}: {key} was {then[key]!r} in the checkpoint and is {now[key]!r} now"


def _of_stages(then: Sequence[str], now: Sequence[str]) -> str:
    """Says how the stages of two pipelines differ; they are listed from the last one to the source."""
    kinds = [[stage.split()[0] for stage in stages] for stages in (then, now)]
    if kinds[0] != kinds[1]:
        was, has = (" <- ".join(of_side) for of_side in kinds)
        return f"was {was} in the checkpoint and is {has} now"
    other = [kind for kind, left, right in zip(kinds[0], then, now, strict=True) if left != right]
    return f"has other arguments, functions or source data now in: {', '.join(other)}"


def _of_steps(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    counts = {kind: now["operations"].get(kind, 0) - then["operations"].get(kind, 0) for kind in then["operations"]}
    counts |= {kind: count for kind, count in now["operations"].items() if kind not in counts}
    if changed := [f"{count:+d} {kind}" for kind, count in sorted(counts.items()) if count]:
        return f"has other operations now: {', '.join(changed)}"
    if then["structure"] != now["structure"]:
        return "has the same operations, connected otherwise or with other attributes now"
    return (
        "has other constants now, such as a coefficient, the length of a schedule, or the weights of a network that it "
        "only reads"
    )
