"""How the description of a saved run differs from that of the one that is to go on from it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Description = Mapping[str, Mapping[str, Any]]
JIT_COMPILE = "jit_compile"  # counts as an operation of a step that XLA compiles, because other bits come of it
SEED, CONSTANTS = "seed: ", "has other constants now"  # in lines on what a program may set between two runs
LONG = 6  # digits of a seed that nobody may have written down
OF_NUMBERS = ("content", "read", "cached", "files", "seed", "shuffle")  # of data: others go on, with other batches
SAME = "; or, if the program is the same, "
OF_SET = (
    "it has the order of a set, as list(set(names)) does, which is another in each process: write sorted(set(names))"
)
UNSEEDED = (
    f"{SAME}it draws in a process that is not seeded: give shuffles and the like a seed, or call "
    f"keras.utils.set_random_seed first; or {OF_SET}"
)
WRITTEN = (
    "; or it writes its files anew at each start, and not the same into them, such as the time or what has no seed: "
    "write them only if they are not there"
)
MAY_DRAW = {*("Shuffle", "TensorSlice", "Tensor", "Random", "Map", "ParallelMap", "Filter", "FlatMap", "Interleave")}


def unhashed(then: Description, now: Description) -> dict[str, Mapping[str, Any]]:
    """Returns a description in which all that is hashed, or said in one of the two only, is as in the present one.

    So nothing but the rest is compared: where a hash was made in another way, it says nothing.

    Args:
        then: What `TrainingState.describe` returned when a checkpoint was made.
        now: What it returns now.
    """
    said = then["data"]
    # What only this side says counts as equal.
    data = {key: value if _is_hashed(key) else said.get(key, value) for key, value in now["data"].items()}
    saved = then["steps"]
    steps = {
        name: step if _compiled(step) == _compiled(saved.get(name, step)) else saved[name]  # who compiles it is no hash
        for name, step in now["steps"].items()
    }
    return {**then, "data": data, "steps": steps}


def _compiled(step: Mapping[str, Any]) -> bool:
    return JIT_COMPILE in step["operations"]


def _is_hashed(key: str) -> bool:
    name = key.rpartition("/")[2]
    return name in ("content", "read", "cached", "files", "element_spec") or name.startswith("stages")


class Differences(NamedTuple):
    """A line for each difference.

    Attributes:
        structure: What makes it impossible to restore.
        numbers: What makes the run go on with other numbers.
        traced: What does so in functions; another version of TensorFlow or Keras may have traced the same program.
        settings: What the program sets otherwise, by the path of the variable: with a warning, its value is used.
        trainable: What is said about weights that are trainable, or are not any more; empty if all is equal.
    """

    structure: list[str]
    numbers: list[str]
    traced: list[str]
    settings: Mapping[str, str]
    trainable: str = ""

    def yet_to_come(self) -> list[str]:
        """Returns the lines on what a program may still make equal, before it trains: it sets that between two runs."""
        return [line for line in (*self.numbers, *self.traced) if line.startswith(SEED) or CONSTANTS in line]

    def summed_up(self, line: str, of_optimizers: tuple[str, ...], *, numbers: bool) -> "Differences":
        """Returns these with one line about what is trainable, in the place of those that follow from it.

        Args:
            line: That one.
            of_optimizers: What the paths of variables of optimizers begin with.
            numbers: Whether the state can be restored nevertheless.
        """
        start = tuple(f"variables: {prefix}" for prefix in of_optimizers)
        # With other weights to train, an optimizer has other slots.
        follow = [each for each in self.structure if start and each.startswith(start)]
        structure = [each for each in self.structure if each not in follow]
        if numbers and not follow:
            return self._replace(numbers=[line, *self.numbers], trainable=line)
        slots = f", of which {len(follow)} differ" if follow else ""
        whole = f"{line}; so the optimizer has other variables{slots}"
        return self._replace(structure=[whole, *structure], traced=[], trainable=line)


def differences(then: Description, now: Description, *, settings: Mapping[str, str] | None = None) -> Differences:
    """Compares what `TrainingState.describe` returns.

    Hooks and evaluations may be added and taken away: one that is new begins, one that is gone is forgotten.

    Args:
        then: What it returned when a checkpoint was made.
        now: What it returns now.
        settings: The lines about what the program sets.
    """
    found = Differences([], [], [], settings or {})
    for part in ("state", "variables", "data", "seed"):
        for key in sorted({*now[part], *then[part]}):
            if now[part].get(key) != then[part].get(key) and not _comes_or_goes(part, key, then[part], now[part]):
                getattr(found, _kind(part, key)).append(_line(part, key, then[part], now[part]))
    for name in sorted({*now["steps"]} & {*then["steps"]}):  # evaluations come and go
        if now["steps"][name] != then["steps"][name] and not found.structure:  # of which that would be a consequence
            found.traced.append(f"the {name!r} step {_of_steps(then['steps'][name], now['steps'][name])}")
    return found


def _kind(part: str, key: str) -> str:
    """Returns the list of `Differences` that a difference belongs to."""
    if part == "data":
        of_evaluation, _, key = key.rpartition("/")
        if key.startswith("stages"):
            return "traced"
        return "numbers" if of_evaluation or key in OF_NUMBERS else "structure"
    return "numbers" if part == "seed" else "structure"


def _comes_or_goes(part: str, key: str, then: Mapping[str, object], now: Mapping[str, object]) -> bool:
    """Returns whether there is nothing to compare with, because an owner of it is not there at all on the other side.

    That is a hook, an evaluation, the history, TensorFlow's global generator, an epoch of which a function makes a
    dataset, or the file of a cache, which may be filled since then; or an earlier version has not looked into files.
    """
    other = now if key in then else then
    if part == "data":
        owner, _, name = key.rpartition("/")
        if (name in ("cached", "files") or name.startswith("stages of epoch")) and key not in other:
            return True
    else:
        # Such as hooks/early_stopping.
        owner = "/".join(key.split("/")[:2]) if key.startswith(("hooks/", "evaluations/")) else ""
        owner = next((each for each in ("history", "random/tensorflow") if key.startswith(f"{each}/")), owner)
    return owner != "" and not any(path.startswith(f"{owner}/") for path in other)


def _line(part: str, key: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    evaluation, _, name = key.rpartition("/") if part == "data" else ("", "", key)
    owner = f"{part} of evaluation {evaluation!r}" if evaluation else part
    if key not in then:
        return f"{owner}: {name} {now[key]} is missing in the checkpoint"
    if key not in now:
        return f"{owner}: {name} {then[key]} is in the checkpoint only"
    if part == "seed":
        was = f"{SEED}{key} was {then[key]} in the checkpoint and is {now[key]} now"
        is_long = len(str(then[key])) >= LONG
        one = ". If each start draws one, as of the time, start with that of the checkpoint" if is_long else ""
        return f"{was}; keras.utils.set_random_seed calls it{one}"
    if part == "data" and name.startswith("stages"):
        return f"{owner}: the pipeline{name.removeprefix('stages')} {_of_stages(then[key], now[key])}"
    if part == "data" and name == "content":
        kind = now.get(f"{evaluation}/kind" if evaluation else "kind")
        what = "items are others" if kind == "IndexedData" else "arrays have other values"
        return f"{owner}: the {what} than when the checkpoint was made{UNSEEDED}"
    if part == "data" and name == "read":
        return f"{owner}: the variables that the pipeline reads begin with other values than when the run began"
    if part == "data" and name == "cached":
        return f"{owner}: the files of its caches hold other elements than when the checkpoint was made"
    if part == "data" and name == "files":
        return f"{owner}: files that its functions name are not what they were when the checkpoint was made{WRITTEN}"
    return f"{owner}: {name} was {then[key]!r} in the checkpoint and is {now[key]!r} now"


def _of_stages(then: Sequence[str], now: Sequence[str]) -> str:
    """Says how the stages of two pipelines differ; they are listed from the last one to the source."""
    kinds = [[stage.split()[0] for stage in stages] for stages in (then, now)]  # what else is said of a stage is a hash
    if kinds[0] != kinds[1]:
        was, has = (" <- ".join(of_side) for of_side in kinds)
        return f"was {was} in the checkpoint and is {has} now"
    other = [kind for kind, left, right in zip(kinds[0], then, now, strict=True) if left != right]
    hint = UNSEEDED if {*other} & MAY_DRAW else ""
    hint += WRITTEN if "TensorSlice" in other else ""  # which has the names of files, too
    return f"has other arguments, functions or source data now in: {', '.join(other)}{hint}"


def _of_steps(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if _compiled(now) != _compiled(then):
        was, has = (f"{JIT_COMPILE}={_compiled(step)}" for step in (then, now))
        return f"was compiled with {was} in the checkpoint and is with {has} now, of which other bits come"
    # How many more there are now of each kind.
    counts = {kind: now["operations"].get(kind, 0) - then["operations"].get(kind, 0) for kind in then["operations"]}
    counts |= {kind: count for kind, count in now["operations"].items() if kind not in counts}
    if changed := [f"{count:+d} {kind}" for kind, count in sorted(counts.items()) if count]:
        return f"has other operations now: {', '.join(changed)}"
    if then["structure"] != now["structure"]:
        return f"has the same operations, connected otherwise or with other attributes now{SAME}{OF_SET}"
    return (
        f"{CONSTANTS}, such as a coefficient, the length of a schedule, the weights of a network that it "
        f"only reads, or a variable that the program sets between two runs, which belongs into state={UNSEEDED}"
    )
