"""A real training whose files are copied at each operation on them: every copy has to be a place to go on from."""

import contextlib
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from damage import DATA, flip
from trainer import STEPS, Trainer

import hooks
from loop import At, Every, Hook, Moment


class Copier:
    """Copies a directory before and after each operation on its files, whenever that leaves something new.

    Attributes:
        copies: The copies, and at which operation they were made.
        operations: How many there were.
    """

    def __init__(self, directory: Path, work: Path) -> None:
        self.copies: list[tuple[str, Path]] = []
        self.operations = 0
        self._directory, self._work, self._last = directory, work, dict[str, bytes]()

    def __call__(self, operation: str, name: str, when: str) -> None:
        self.operations += when == "before"
        now = contents(self._directory)
        if now != self._last:
            copy = self._work / f"copy-{len(self.copies)}"
            shutil.copytree(self._directory, copy, symlinks=True)
            self.copies.append((f"{when} {operation} {name}", copy))
            self._last = now


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


class Terminator(Hook):
    """Sends SIGTERM to its own process after the fifth step."""

    every = At(5)

    def on_step_end(self, moment: Moment) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


class Hasty(Hook):
    """Lets a save begin only when training has gone on by a step, so that nothing can be read too late unnoticed."""

    every = Every(steps=1)

    def __init__(self) -> None:
        super().__init__()
        self._gone_on = threading.Event()

    def on_step_end(self, moment: Moment) -> None:
        if moment.step % 2:
            self._gone_on.set()

    def watch(self, operation: str, name: str, when: str) -> None:
        if operation == "ensure" and when == "before":
            self._gone_on.wait(1.0)  # after the last step, none is to come
            self._gone_on.clear()


# What is there before, what a life then does, and the steps from which its successor may go on.
Act = Callable[[Trainer, Path, Copier], object]


def _saved(trainer: Trainer, directory: Path, *steps: int) -> None:
    for step in steps:
        trainer.live(directory, every=Every(steps=100), steps=step)


def first_save(trainer: Trainer, directory: Path, copier: Copier) -> None:
    trainer.live(directory, steps=2, watch=copier, background=False)


def next_save(trainer: Trainer, directory: Path, copier: Copier) -> None:
    _saved(trainer, directory, 2, 4)
    trainer.live(directory, steps=6, watch=copier, background=False)


def save_and_prune(trainer: Trainer, directory: Path, copier: Copier) -> None:
    _saved(trainer, directory, 2, 4)
    trainer.live(directory, steps=7, watch=copier, background=False, keep=1)


def in_the_background(trainer: Trainer, directory: Path, copier: Copier) -> None:
    hasty = Hasty()

    def watch(operation: str, name: str, when: str) -> None:
        hasty.watch(operation, name, when)
        copier(operation, name, when)

    trainer.live(directory, hasty, steps=8, watch=watch, keep=2)


def on_sigterm(trainer: Trainer, directory: Path, copier: Copier) -> None:
    _saved(trainer, directory, 2)
    trainer.live(directory, Terminator(), hooks.Preemption(exit=False), watch=copier)


def clean_up(trainer: Trainer, directory: Path, copier: Copier) -> None:
    _saved(trainer, directory, 2, 4)
    for name in ("ckpt-6.index", "ckpt-6.json.tmp", "pending-5.index", "pending-5.json.tmp", "ckpt-7.json.tmp"):
        (directory / name).write_bytes(b"half")
    shutil.copytree(directory, directory / "ckpt-7_temp")
    trainer.live(directory, steps=4, watch=copier)


def set_aside(trainer: Trainer, directory: Path, copier: Copier) -> None:
    _saved(trainer, directory, 2, 4, 6)
    flip(directory / DATA, 7)
    with warnings.catch_warnings(action="ignore", category=hooks.CorruptCheckpoint):
        trainer.live(directory, steps=5, watch=copier)


SCENARIOS: dict[str, tuple[Act, set[int]]] = {
    "first save": (first_save, {0, 2}),
    "next save": (next_save, {4, 6}),
    "save and prune": (save_and_prune, {4, 6, 7}),
    "save in the background": (in_the_background, {0, 2, 4, 6, 8}),
    "save on SIGTERM": (on_sigterm, {2, *range(4, STEPS + 1)}),  # it is heard by a thread, perhaps a step later
    "clean-up at the start": (clean_up, {4}),
    "set aside": (set_aside, {4, 5}),
}


def operations(trainer: Trainer, work: Path, names: tuple[str, ...] = tuple(SCENARIOS)) -> Iterator[str]:
    """Yields what is wrong with the life that follows a kill at any operation."""
    for name in names:
        act, allowed = SCENARIOS[name]
        directory = work / name
        directory.mkdir()
        copier = Copier(directory, work / f"{name}, copies")
        act(trainer, directory, copier)
        copier("end", "", "after")
        latest = 0
        for at, copy in copier.copies:
            with contextlib.ExitStack() as stack:
                if name == "set aside":  # what is moved by halves is damaged, and reported
                    stack.enter_context(warnings.catch_warnings(action="ignore", category=hooks.CorruptCheckpoint))
                try:
                    life = trainer.live(copy)
                except Exception as error:
                    yield f"{name}, {at}: {error!r}"
                    continue
            if life.begun not in allowed or life.begun < latest:
                yield f"{name}, {at}: goes on from step {life.begun}, after {latest}"
            latest = life.begun
            expected = {step: trainer.whole.values[step] for step in range(life.begun + 1, STEPS + 1)}
            if life.values != expected:
                yield f"{name}, {at}: other values from step {life.begun} on"
            yield from (f"{name}, {at}: {path}" for path, bits in life.bits.items() if bits != trainer.whole.bits[path])
            if left := [path.name for path in copy.iterdir() if path.name.endswith((".tmp", "_temp"))]:
                yield f"{name}, {at}: {left} left behind"
            shutil.rmtree(copy)
