"""What is set aside, in directories `set-aside-<n>`: the latest of them stay, and what nothing has overtaken."""

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator

from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.disk.stems import committed_by, order, written_for

log = logging.getLogger("exactloop")

# 18 digits at most: a name with more was not given here, and would be no number to count on from.
SET_ASIDE = re.compile(r"set-aside-([1-9][0-9]{0,17})")
KEPT, MOST = 3, 10  # how many directories stay in any case, and at most


def next_aside(names: Iterable[str]) -> str:
    """Returns the name of the next directory, given all that is there. Of what is dropped, none comes again."""
    return f"set-aside-{max(_numbers(names), default=0) + 1}"


def drop(files: Files, newest: str | None) -> None:
    """Removes what was set aside long ago, and says what.

    Of all but the latest `KEPT` directories, those whose every checkpoint is overtaken: by one that is there, or by one
    of the same name in a later of these directories. If there are more than `MOST`, the oldest in any case. What holds
    anything else than checkpoints is left alone. A kill in between leaves what is no checkpoint, and goes next time.

    Args:
        files: The directory of checkpoints, locked.
        newest: The newest checkpoint that is there; None if there is none.
    """
    # Asked of the disk each time: an earlier life, or a person, may have made or removed some.
    numbers = sorted(_numbers(files.names()))
    held = {number: stems for number in numbers if (stems := _held(files, f"set-aside-{number}")) is not None}
    for i, number in enumerate(numbers[:-KEPT]):
        # What was set aside once more since is the younger version of the same step.
        later = {stem for other in numbers[i + 1 :] for stem in held.get(other, ())}
        stems = held.get(number)  # None: not ours alone, so it stays whatever is in it
        if stems is None:
            continue
        over = {stem for stem in stems if stem in later or (newest is not None and order(stem) <= order(newest))}
        if over == stems or len(numbers) - i > MOST:
            _remove(files, f"set-aside-{number}", sorted(stems, key=order))


def _numbers(names: Iterable[str]) -> Iterator[int]:
    return (int(match[1]) for name in names if (match := SET_ASIDE.fullmatch(name)))


def _held(files: Files, aside: str) -> set[str] | None:
    """Returns the checkpoints in a directory; None if it is none, or something else is in it."""
    with contextlib.suppress(OSError):
        stems = [committed_by(name) or written_for(name) for name in files.names(aside)]
        return {stem for stem in stems if stem} if all(stems) else None
    return None


def _remove(files: Files, aside: str, stems: list[str]) -> None:
    try:
        for stem in stems:
            files.remove(f"{aside}/{stem}.json")  # first: what is half gone is not to be taken for a checkpoint
        # Flushed before the data go: else a power failure could bring a manifest back without its files.
        files.sync(aside)
        files.remove(aside)
    except OSError as error:  # no reason to end a training
        log.warning("%s/%s could not be removed: %s", files.where, aside, error)
    else:
        said = f"{', '.join(stems[:5])}{f' and {len(stems) - 5} more' if len(stems) > 5 else ''}" or "nothing"
        log.warning(
            "Removed %s/%s, set aside long ago, with: %s. The latest %d directories of what is set aside stay.",
            files.where,
            aside,
            said,
            KEPT,
        )
