"""How checkpoints go, so that a kill or a power failure at any instant leaves none that is half there.

First the commit is taken back, by renaming the manifest to a mark; last goes the mark. What lies beside a mark is
nobody's, and the next start removes it.
"""

from collections.abc import Collection

from hooks.checkpoint.disk.files import Files
from hooks.checkpoint.disk.state_file import STATE_OURS
from hooks.checkpoint.disk.stems import MARK, ROOM, kept_for


def write_flushed(files: Files, name: str, content: bytes) -> None:
    """Writes a file so that it is there after a power failure, if its name is."""
    # In place: readers look for its final name, so half a file under this one hurts nobody.
    files.write(name, content)
    files.sync(name)


def erase(files: Files, stems: Collection[str], names: Collection[str]) -> None:
    """Removes checkpoints, or what there is of them.

    Args:
        files: The directory, locked.
        stems: What their names begin with.
        names: Their files, and perhaps others.
    """
    # Commits first. From here on a reader that lists sees none of these, and a kill leaves marks only.
    for stem in stems:
        if f"{stem}.json" in names:
            _take_back(files, stem)
    # Once for all of them: a flush of the directory takes milliseconds on a disk.
    if stems:
        files.sync()
    for name in names:
        # A mark stays until everything that it accounts for is gone.
        theirs = kept_for(name) in stems and not name.endswith((MARK, ".json"))
        if theirs or STATE_OURS.fullmatch(name):
            files.remove(name)
    # Else the marks could be gone after a power failure, and files be back that nothing accounts for.
    if stems:
        files.sync()
    for stem in stems:
        files.remove(f"{stem}{MARK}")


def sweep(files: Files) -> None:
    """Removes what a crash has left of saves and removals; their mark tells it from what is not ours."""
    # One listing for all that follows: the lock is held, so nobody adds to it meanwhile.
    names = {*files.names()}
    marked = {name.removesuffix(MARK) for name in names if name.endswith(MARK) and kept_for(name)}
    committed = {stem for stem in marked if f"{stem}.json" in names}  # by whomever: the mark alone goes
    for name in [f"{stem}{ending}" for stem in committed for ending in (MARK, ROOM)]:
        files.remove(name)
    erase(files, marked - committed, names)


def _take_back(files: Files, stem: str) -> None:
    """Takes back a commit: the manifest becomes the mark of what goes."""
    try:
        files.rename(f"{stem}.json", f"{stem}{MARK}")
    except OSError:
        if f"{stem}.json" in files.names():
            raise
        write_flushed(files, f"{stem}{MARK}", b"")  # somebody has removed it, and the rest has to go all the same
