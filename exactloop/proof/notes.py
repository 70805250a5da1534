"""What a proof says besides: what it has not compared, and what a program leaves behind."""

import os
from collections.abc import Collection, Iterable, Sequence

SHOWN = 5  # files


def of_random_states(unseeded: Collection[str]) -> tuple[str, ...]:
    """Returns what to say of random states that were not the same when run again."""
    if not unseeded:
        return ()
    return (
        f"Nothing seeds {', '.join(sorted(unseeded))}: random states that were not the same when run again. They are "
        "not compared.",
    )


def of_removed(removed: Collection[str], directories: Sequence[str]) -> tuple[str, ...]:
    """Returns what to say of what a program has removed.

    That may be the checkpoints that it would go on from, outside of a proof: it cleans up before it trains, say.

    Args:
        removed: The paths.
        directories: Where checkpoints go when nothing is proved.
    """
    theirs = [path for path in sorted(removed) if any(_is_or_holds(path, each) for each in directories)]
    kept = "Only what hooks write is kept elsewhere while it is proved."
    return tuple(f"The program removed {path}. {kept}" for path in theirs)


def of_python(names: Iterable[str], suspicious: Sequence[str]) -> tuple[str, ...]:
    """Returns what to say of values in Python that were others at the end: of those that the program changes.

    Args:
        names: What to call them, as `Loop.unsaved` does.
        suspicious: What the program changes as it goes, as `suspects` says it.
    """
    found = [name for name in sorted(names) if name.endswith(" of the state")]
    for name in sorted({*names} - {*found}):
        of_class, _, own = name.rpartition(".")
        whose = f"{own!r} of {of_class} is" if of_class else f"{own!r} is"
        found += [line for line in suspicious if whose in line][:1]
    if not found:
        return ()
    return (
        f"At the end, Python holds other values than without kills: {'; '.join(found)}. No checkpoint has them, or "
        "they come back otherwise: what the program makes of them is not what it would be.",
    )


def of_written(paths: Iterable[str]) -> tuple[str, ...]:
    """Returns what to say of files that a program has written by itself."""
    found = sorted(map(os.path.relpath, paths))
    if not found:
        return ()
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"The program wrote {', '.join(found[:SHOWN])}{more} by itself. These files are not compared; each life finds "
        "what the one before has left there, and so will the next start of the program.",
    )


def _is_or_holds(path: str, directory: str) -> bool:
    """Returns whether a path is a directory of checkpoints, or above it, or one of the checkpoints in it."""
    is_checkpoint = os.path.basename(path).startswith(("ckpt-", "pending-"))
    return f"{directory}/".startswith(f"{path}/") or (os.path.dirname(path) == directory and is_checkpoint)
