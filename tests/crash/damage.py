"""Real checkpoints, damaged in every way: each has to be noticed before anything is assigned."""

import contextlib
import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hooks.checkpoint.commits.store
import hooks.checkpoint.disk.directory
import hooks.checkpoint.record.manifest

DATA, INDEX, MANIFEST = "ckpt-6.data-00000-of-00001", "ckpt-6.index", "ckpt-6.json"
PATIENCE = 3  # seconds after which a read that hangs is a failure


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def link(path: Path) -> None:
    """Puts a link in the place of a file, to a copy that is in all respects right."""
    target = path.with_name(f"{path.name}.elsewhere")
    path.rename(target)
    path.symlink_to(target)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def rename(directory: Path, to: str) -> None:
    """Gives a checkpoint another number, and its manifest the right names of files."""
    measured = {name: [(directory / name).stat().st_size, sha256(directory / name)] for name in (DATA, INDEX)}
    edit(directory / MANIFEST, files={name.replace("ckpt-6", to): measure for name, measure in measured.items()})
    for path in directory.glob("ckpt-6.*"):
        path.rename(directory / path.name.replace("ckpt-6", to))


def edit(path: Path, **changes: object) -> None:
    """Changes a manifest and makes its own SHA-256 right again, as somebody who means harm would."""
    store = hooks.checkpoint.commits.store.Store(hooks.checkpoint.disk.directory.open_files(path.parent))
    content = hooks.checkpoint.record.manifest.content(store.read(path.stem)) | changes
    path.write_bytes(hooks.checkpoint.record.manifest.canonical(content))
    store.files.close()


def deadly(directory: Path) -> None:
    """Gives a value in the index a dtype that none has, of which TensorFlow dies, and the manifest the right hash."""
    raw = (directory / INDEX).read_bytes()
    at = raw.index(b"\x08\x01\x12")  # a float32
    (directory / INDEX).write_bytes(raw[: at + 1] + b"\x65" + raw[at + 2 :])
    edit(
        directory / MANIFEST,
        files={name: [(directory / name).stat().st_size, sha256(directory / name)] for name in (DATA, INDEX)},
    )


def edit_digit(path: Path) -> None:
    """Changes a logged value, so that what is left is a manifest in all respects but its SHA-256."""
    raw = path.read_bytes()
    at = raw.index(b'"loss":') + 10
    path.write_bytes(raw[:at] + (b"1" if raw[at : at + 1] != b"1" else b"2") + raw[at + 1 :])


def elsewhere(directory: Path) -> None:
    """Makes a manifest name files outside its directory as well, which are in all respects right."""
    other = directory.with_name(f"{directory.name}, other")
    other.mkdir()
    files = {}
    for name in (DATA, INDEX):
        shutil.copy(directory / name, other / name)
        for path, named in ((directory / name, name), (other / name, f"../{other.name}/{name}")):
            files[named] = [path.stat().st_size, sha256(path)]
    edit(directory / MANIFEST, files=files)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def swap(directory: Path) -> None:
    """Puts another checkpoint's data under the manifest."""
    shutil.copy(directory / DATA.replace("6", "4"), directory / DATA)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "first byte of the data": lambda d: flip(d / DATA, 0),
    "last byte of the data": lambda d: flip(d / DATA, -1),
    "a byte of the index": lambda d: flip(d / INDEX, 50),
    "a byte of the manifest": lambda d: flip(d / MANIFEST, 30),
    "data cut off": lambda d: os.truncate(d / DATA, 10),
    "data with more behind": lambda d: os.truncate(d / DATA, 10**5),
    "no data": lambda d: (d / DATA).unlink(),
    "no manifest": lambda d: (d / MANIFEST).unlink(),
    "no index": lambda d: (d / INDEX).unlink(),
    "manifest empty": lambda d: os.truncate(d / MANIFEST, 0),
    "manifest of 10 MB": lambda d: (d / MANIFEST).write_bytes(b" " * 10**7),
    "manifest nested deeply": lambda d: (d / MANIFEST).write_bytes(b"[" * 10**5),
    "manifest with a key twice": lambda d: (d / MANIFEST).write_bytes(
        b'{"step":6,' + (d / MANIFEST).read_bytes().removeprefix(b"{")
    ),
    "manifest of another kind": lambda d: edit(d / MANIFEST, files=7),
    "a digit of a logged value": lambda d: edit_digit(d / MANIFEST),
    "manifest that names files elsewhere": elsewhere,
    "manifest that names another's file": lambda d: edit(
        d / MANIFEST, files={"ckpt-4.index": [(d / "ckpt-4.index").stat().st_size, sha256(d / "ckpt-4.index")]}
    ),
    "data of another": swap,
    "index of which TensorFlow dies": deadly,
    "manifest of the year 10^400": lambda d: edit(d / MANIFEST, made={"time": 10**400}),
    "another step's name": lambda d: rename(d, "ckpt-99"),
    "pipe for data": lambda d: replace(d / DATA, os.mkfifo),
    "pipe for a manifest": lambda d: replace(d / MANIFEST, os.mkfifo),
    "directory for an index": lambda d: replace(d / INDEX, os.mkdir),
    "link for data": lambda d: link(d / DATA),
    "link for a manifest": lambda d: link(d / MANIFEST),
    "a terabyte for data": lambda d: replace(d / DATA, sparse),
    "a terabyte for a manifest": lambda d: replace(d / MANIFEST, sparse),
}


class Hang(Exception):
    """Not an OSError, for which it could be taken."""


@contextlib.contextmanager
def impatience() -> Iterator[None]:
    """Raises `Hang` if what is done within takes much too long, or for ever."""

    def late(number: int, frame: object) -> None:
        raise Hang(f"still busy after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def found(directory: Path) -> tuple[str | None, list[Any]]:
    """Returns the stem of what a start would restore, and what it would report."""
    store = hooks.checkpoint.commits.store.Store(hooks.checkpoint.disk.directory.open_files(directory))
    with contextlib.closing(store.files):
        damaged = store.load()
        pin, more = store.newest([each.stem for each in store.records()])
        reader, _ = store.newest(store.stems())  # who has no lock goes by the names
        stems = []
        for each in (pin, reader):
            with contextlib.closing(each) if each else contextlib.nullcontext():
                stems.append(each and each.manifest.record.stem)
        return stems[0] if stems[0] == stems[1] else f"{stems[0]}, and by a reader {stems[1]}", [*damaged, *more]


def damage(original: Path, work: Path) -> list[str]:
    """Returns what is not noticed, or not got over, if the newest of two checkpoints (steps 4 and 6) is damaged."""
    wrong = []
    for what, do in DAMAGE.items():
        directory = Path(shutil.copytree(original, work / what))
        do(directory)
        try:
            with impatience():
                stem, reported = found(directory)
        except Exception as error:
            wrong.append(f"{what}: {error!r}")
            continue
        if stem != "ckpt-4" or len(reported) != 1:
            wrong.append(f"{what}: {stem} is used, reported: {reported}")
        shutil.rmtree(directory)
    return wrong
