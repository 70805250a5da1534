"""The files of checkpoints: what is committed, what is whole, and what may go.

A directory of `tf.train.CheckpointManager` holds `ckpt-<step>.index` and `.data-...` as TensorFlow writes them, and one
`ckpt-<step>.json` for each: the manifest, with the sizes and SHA-256 of the files. Writing it is the commit, the last
thing a save does. No manifest, no checkpoint. TensorFlow's own `checkpoint` file is kept up for others, never believed.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("exactloop")

FORMAT = 1
STEP, OF_TENSORFLOW = r"ckpt-(0|[1-9][0-9]*)", r"\.index|\.data-[0-9]{5}-of-[0-9]{5}"
MANIFEST = re.compile(rf"{STEP}\.json")
WRITTEN = re.compile(rf"{STEP}(?:{OF_TENSORFLOW})")
OURS = re.compile(rf"{STEP}(?:{OF_TENSORFLOW}|\.json|\.json\.tmp|_temp)")


class CorruptCheckpoint(Exception):
    """A checkpoint whose files are not what its manifest says, or whose manifest cannot be read."""


@dataclass(frozen=True)
class Manifest:
    """The commit record of one checkpoint.

    Attributes:
        step: Train steps completed; also in the file names.
        files: Size in bytes and SHA-256 (hex) of each file, by name.
        notes: What `TrainingState.restore` wants to know.
        description: What `TrainingState.describe` said.
        logs: The values logged in the event round of this step.
        best: The monitored metric's `name`, `mode` and `value` at this step; empty if it was not evaluated here.
        made: Seconds since the epoch, versions and thread counts: for people, and for later comparison.
    """

    step: int
    files: Mapping[str, tuple[int, str]]
    notes: Mapping[str, Mapping[str, int]]
    description: Mapping[str, Mapping[str, object]]
    logs: Mapping[str, float]
    best: Mapping[str, str | float] = field(default_factory=dict)
    made: Mapping[str, object] = field(default_factory=dict)
    format: int = FORMAT


class Store:
    """A directory of checkpoints.

    Args:
        directory: Made if it is missing. Taken as an absolute path at once, whatever becomes of the working directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(os.path.abspath(directory))
        self._lock: int | None = None

    def acquire(self) -> None:
        """Makes the directory, becomes its only writer and clears away what a crash left behind.

        Raises:
            NotADirectoryError: If the path is a file.
            PermissionError: If nothing can be written there.
            RuntimeError: If another process, or another loop of this one, writes there.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):
                pass  # now, not when the first save comes after hours
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(
                f"Checkpoints need a directory. Received: {str(self.directory)!r}, which is, or is below, a file."
            ) from error
        except OSError as error:
            raise PermissionError(
                f"Checkpoints cannot be written to {str(self.directory)!r}: {error.strerror}. "
                "Give a directory that this process may write to."
            ) from error
        self._lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._lock, 200).decode(errors="replace") or "unknown"
            self.release()
            raise RuntimeError(
                f"{str(self.directory)!r} is being written by another trainer ({holder}). "
                "Wait for it to end, or give this one a directory of its own."
            ) from error
        os.truncate(self._lock, 0)
        os.write(self._lock, f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}".encode())
        try:
            self.sweep()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Lets others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def steps(self) -> list[int]:
        """Returns the steps of the committed checkpoints, ascending."""
        if not self.directory.is_dir():
            return []
        names = (MANIFEST.fullmatch(name) for name in os.listdir(self.directory))
        return sorted(int(match[1]) for match in names if match)

    def read(self, step: int) -> Manifest:
        """Returns the manifest of a checkpoint, whose files are not looked at.

        Raises:
            CorruptCheckpoint: If it cannot be read, or is not the manifest of this step.
        """
        path = self._manifest(step)
        if path.is_symlink() or not path.is_file():
            raise CorruptCheckpoint(f"{path}: missing, or not a file")
        try:
            content = json.loads(path.read_bytes())
            digest = content.pop("sha256")
            manifest = Manifest(**content)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise CorruptCheckpoint(f"{path}: not a manifest ({error!r})") from error
        if digest != _digest(manifest):
            raise CorruptCheckpoint(f"{path}: its SHA-256 is not the one in it")
        if manifest.format != FORMAT or manifest.step != step:
            found = f"format {manifest.format!r}, step {manifest.step!r}"
            raise CorruptCheckpoint(f"{path}: expected format {FORMAT}, step {step}; found {found}")
        return manifest

    def verify(self, manifest: Manifest) -> str:
        """Returns the path prefix of a checkpoint, as TensorFlow takes it, after comparing its files to the manifest.

        Raises:
            CorruptCheckpoint: If a file is missing or not the one that was committed.
        """
        for name, (size, digest) in manifest.files.items():
            path = self.directory / name
            if not WRITTEN.fullmatch(name) or path.is_symlink() or not path.is_file():
                raise CorruptCheckpoint(f"{path}: missing, or not a file of a checkpoint")
            if path.stat().st_size != size:
                raise CorruptCheckpoint(f"{path}: has {path.stat().st_size} bytes instead of {size}")
            if _sha256(path) != digest:
                raise CorruptCheckpoint(f"{path}: its SHA-256 is not the one in the manifest")
        return self.prefix(manifest.step)

    @contextlib.contextmanager
    def readable(self, path: str) -> Iterator[str]:
        """Yields a path prefix by which TensorFlow finds a checkpoint of this directory, whatever that is called.

        TensorFlow takes the path for a pattern when it looks whether the index is there, so it finds nothing below a
        directory `run[1]`. By way of the descriptor, the name does not occur.
        """
        if not {"[", "\\"} & set(path):
            yield path
            return
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{descriptor}/{os.path.basename(path)}"
        finally:
            os.close(descriptor)

    def prefix(self, step: int) -> str:
        return str(self.directory / f"ckpt-{step}")

    def commit(
        self, step: int, write: Callable[[], object], manifest: Callable[[dict[str, tuple[int, str]]], Manifest]
    ) -> None:
        """Saves a checkpoint: when this returns, it is there even if the power fails.

        Args:
            step: Its number; nothing is written if that is committed already.
            write: Lets TensorFlow write the files `ckpt-<step>.*`.
            manifest: Makes the manifest from the sizes and hashes of these files.
        """
        if step not in self.steps():
            self.directory.mkdir(exist_ok=True)
            write()
            files = {}
            for path in self._written(step):
                _fsync(path)
                files[path.name] = (path.stat().st_size, _sha256(path))
            self.record(manifest(files))

    def record(self, manifest: Manifest) -> None:
        """Puts a manifest in its place, whole or not at all."""
        path = self._manifest(manifest.step)
        temporary = path.with_name(path.name + ".tmp")
        content = {**vars(manifest), "sha256": _digest(manifest)}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        _fsync(temporary)
        temporary.replace(path)
        _fsync(self.directory)

    def remove(self, steps: list[int]) -> None:
        """Removes committed checkpoints, manifests first, so that none is ever there by halves."""
        for step in steps:
            self._manifest(step).unlink()
        for step in steps:
            for path in self._written(step):
                path.unlink()
        self._tell_tensorflow()

    def set_aside(self, steps: list[int]) -> None:
        """Moves checkpoints that must not be picked up again into a directory `set-aside-<n>`."""
        if not steps:
            return
        aside = next(path for n in range(1, 10**6) if not (path := self.directory / f"set-aside-{n}").exists())
        aside.mkdir()
        for step in steps:
            for path in [*self._written(step), self._manifest(step)]:  # what has no manifest would be swept away
                path.replace(aside / path.name)
        self._tell_tensorflow()
        log.warning("Set aside in %s: checkpoints of steps %s.", aside, ", ".join(map(str, steps)))

    def sweep(self) -> None:
        """Removes what belongs to no committed checkpoint, if its name is one that only a save gives."""
        if not self.directory.is_dir():
            return
        committed = set(self.steps())
        for name in os.listdir(self.directory):
            match = OURS.fullmatch(name)
            if match and (int(match[1]) not in committed or name.endswith(("_temp", ".tmp"))):
                path = self.directory / name
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self._tell_tensorflow()

    def _tell_tensorflow(self) -> None:
        names = [f"ckpt-{step}" for step in self.steps()]
        state = self.directory / "checkpoint"
        if not names:
            state.unlink(missing_ok=True)
            return
        lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{n}"' for n in names)]
        temporary = state.with_name("checkpoint.tmp")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(state)

    def _manifest(self, step: int) -> Path:
        return self.directory / f"ckpt-{step}.json"

    def _written(self, step: int) -> list[Path]:
        """Returns what there is of the files that TensorFlow writes for a checkpoint; not, say, a user's ckpt-9.bak."""
        names = [name for name in os.listdir(self.directory) if WRITTEN.fullmatch(name)]
        return [self.directory / name for name in sorted(names) if name.startswith(f"ckpt-{step}.")]


def _digest(manifest: Manifest) -> str:
    """Returns the SHA-256 of what a manifest says, in whatever form it is written down."""
    return hashlib.sha256(json.dumps(vars(manifest)).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
