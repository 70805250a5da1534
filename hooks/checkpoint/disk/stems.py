"""What the files of a checkpoint are called: `ckpt-<step>`, or `pending-<step>`, and an ending. Without TensorFlow."""

import re
from collections.abc import Iterable

MARK = ".json.tmp"  # of what is not, or no longer, committed; it becomes the manifest
ROOM = "_temp"  # the directory that TensorFlow writes to
ROWS = ".rows"  # of what is written once, and is the same file for each checkpoint
STEM, OF_TENSORFLOW = r"((?:ckpt|pending)-(?:0|[1-9][0-9]*))", r"\.index|\.data-[0-9]{5}-of-[0-9]{5}"
MANIFEST = re.compile(rf"{STEM}\.json")
WRITTEN = re.compile(rf"{STEM}(?:{OF_TENSORFLOW}|\.rows)")
OURS = re.compile(rf"{STEM}(?:{OF_TENSORFLOW}|\.rows|\.json|\.json\.tmp|{ROOM})")


def committed_by(name: str) -> str | None:
    """Returns the stem of the checkpoint of which a file is the manifest; None if it is none."""
    match = MANIFEST.fullmatch(name)
    return match[1] if match else None


def written_for(name: str) -> str | None:
    """Returns the stem of the checkpoint that a file is a part of, as those of TensorFlow; None if it is none."""
    match = WRITTEN.fullmatch(name)
    return match[1] if match else None


def kept_for(name: str) -> str | None:
    """Returns the stem of the checkpoint that a file belongs to in whatever way; None if it is not ours."""
    match = OURS.fullmatch(name)
    return match[1] if match else None


def order(stem: str) -> tuple[int, bool]:
    """Returns what to sort stems by; see `Record.order`."""
    kind, step = stem.split("-")  # as numbers: by their texts, 1000 would come before 200
    return int(step), kind == "ckpt"


def check_complete(stem: str, names: Iterable[str]) -> None:
    """Raises `FileNotFoundError` if these are not all the files that TensorFlow writes for a checkpoint."""
    # TensorFlow says in each part's name how many there are; all have to say the same.
    names = list(names)
    parts = [name for name in names if name.startswith(f"{stem}.data-")]
    if f"{stem}.index" not in names or not parts or not all(int(name[-5:]) == len(parts) for name in parts):
        raise FileNotFoundError(f"of the files of {stem}, there are only: {', '.join(names) or 'none'}")
