"""Mistakes planted into what an attack on the whole has brought, each found by a look at that one thing.

`bugs.py` has those of how checkpoints are written, believed and removed.
"""

import contextlib
import functools
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from damage import edit
from planting import Bug, planted
from protocol import commit
from trainer import Trainer

import hooks
import hooks.checkpoint.commits.store
import hooks.checkpoint.disk.directory
import hooks.checkpoint.disk.local
import hooks.checkpoint.report
import hooks.signals
import loop.standard
from loop import ArrayData, At, Every, Hook, Loop, Moment

trainer = functools.cache(Trainer)


def in_a_child(ask: Callable[[], bool]) -> bool:
    """Returns what a child that is forked from this process answers."""
    if (pid := os.fork()) == 0:
        answer = False
        with contextlib.suppress(BaseException):
            answer = ask()
        os._exit(not answer)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def is_locked(directory: Path) -> bool:
    files = hooks.checkpoint.disk.directory.open_files(directory)
    with contextlib.closing(files):
        try:
            files.lock()
        except RuntimeError:
            return True
        return False


@contextlib.contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def forks_are_their_own(work: Path) -> bool:
    """A child has neither our handlers nor our descriptor, and does not keep a directory locked."""
    listener = hooks.signals.SignalListener([signal.SIGUSR1], lambda number: None, lambda number, frame: None)
    with handled(signal.SIGUSR1, signal.SIG_DFL):
        listener.begin()
        try:
            handler = in_a_child(lambda: signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)
            descriptor = in_a_child(lambda: signal.set_wakeup_fd(-1) < 0)
        finally:
            listener.close()
    holder = hooks.checkpoint.disk.directory.open_files(work)
    holder.lock()
    ours, its = socket.socketpair()
    with ours, its:
        if (pid := os.fork()) == 0:
            ours.close()
            its.send(b"there")  # so that all has been done that is done at a fork
            its.recv(1)  # until this process closes its end
            os._exit(0)
        ours.recv(5)
        holder.close()
        locked = is_locked(work)
    os.waitpid(pid, 0)
    return handler and descriptor and not locked


def a_save_is_left_in_peace(work: Path) -> bool:
    """Whoever waits for a save no longer leaves the directory to it; the next run waits, and goes on from there."""
    waited, written = list[int](), threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if len(waited) < 2:  # the second one while the run waits because of the first
            waited.append(number)
            raise KeyboardInterrupt

    def slowly(operation: str, name: str, when: str) -> None:
        while (operation, name) == ("write", "ckpt-4.json.tmp") and not written.wait(0.01):
            os.kill(os.getpid(), signal.SIGINT)

    with handled(signal.SIGINT, interrupt):
        try:
            with contextlib.suppress(KeyboardInterrupt):
                trainer().live(work, steps=4, watch=slowly)
            locked = is_locked(work)
        finally:
            written.set()
    life = trainer().live(work)
    return locked and (life.begun, life.bits) == (4, trainer().whole.bits)


def readers_find_what_is_there(work: Path) -> bool:
    """Whatever a trainer removes and renames meanwhile: the newest, and no older one."""
    weight, loaded = tf.Variable([0.0], name="weight"), tf.Variable([0.0])
    training = Loop(
        lambda x: {"loss": tf.reduce_sum(weight.assign_add(x))},
        ArrayData(tf.range(8.0), batch_size=1),
        state={"weight": weight},
        hooks=[hooks.Checkpoint(work, Every(steps=1), keep=1, keep_every=At(1))],
    )
    training.run(steps=3)
    readers: dict[str, Callable[[], int]] = {
        "pin": lambda: hooks.restore(work, {"weight": loaded}),
        "read": lambda: hooks.checkpoint.report.described(str(work)).record.step,
    }
    store, files, right = hooks.checkpoint.commits.store.Store, hooks.checkpoint.disk.local.LocalFiles, list[bool]()
    for method, read in readers.items():
        usual, names, asked, listed = getattr(store, method), files.names, list[str](), list[str]()

        def after_a_step(self: Any, stem: str, *, usual: Any = usual, asked: list[str] = asked) -> Any:
            asked.append(stem)
            if len(asked) == 1:
                training.run(steps=training.step + 1)  # removes the one that was just chosen
            return usual(self, stem)

        def not_at_first(self: Any, directory: str = ".", *, names: Any = names, listed: list[str] = listed) -> Any:
            listed.append(directory)
            return names(self, directory) if len(listed) > 1 else []

        newest = training.step + 1
        for of, name, instead in ((store, method, after_a_step), (files, "names", not_at_first)):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(of, name, instead)
                right.append(read() == newest)
    return all(right)


class Fails(Hook):
    """Raises at each step, or when the second one is settled."""

    every = Every(steps=1)

    def on_step_end(self, moment: Moment) -> None:
        if self.on_error == "warn":
            raise OSError("no paper")

    def on_settled(self, moment: Moment) -> None:
        if self.on_error == "raise" and moment.step == 2:
            raise OSError("no paper")


def ornaments_end_nothing(work: Path) -> bool:
    """What only shows is gone on without, and told once; what is raised at a settled step tears nothing."""
    weight, told = tf.Variable(0.0, name="weight"), list[str]()
    step = lambda x: {"loss": weight.assign_add(x[0])}  # noqa: E731 (traced with its loop)

    def look(record: logging.LogRecord) -> bool:
        told.append(record.getMessage())
        return True

    log = logging.getLogger("exactloop")
    log.addFilter(look)
    try:
        for on_error in ("warn", "raise"):
            training = Loop(
                step, ArrayData(tf.range(8.0), batch_size=1), state={"weight": weight}, hooks=[Fails(on_error=on_error)]
            )
            with contextlib.suppress(OSError) if on_error == "raise" else contextlib.nullcontext():
                training.run(steps=4)
            training.run(steps=6)  # the state is whole
    finally:
        log.removeFilter(look)
    return sum("no paper" in line and "failed in on_step_end" in line for line in told) == 2  # once in each run


def other_versions_are_not_compared(work: Path) -> bool:
    """Of a checkpoint with hashes of another kind, the values are restored, and no hash is held against it."""
    trainer().live(work, steps=4)
    count = len(hooks.checkpoint.report.described(str(work)).digests)
    edit(work / "ckpt-4.json", writer={"exactloop": "9.8.7", "fingerprint": 99}, digests=["0" * 16] * count)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        life = trainer().live(work)
    said = [str(warning.message) for warning in caught]
    return life.bits == trainer().whole.bits and any("exactloop 9.8.7, fingerprint 99" in line for line in said)


def what_is_set_aside_is_bounded(work: Path) -> bool:
    """The latest three directories stay, of those that are overtaken."""
    store = hooks.checkpoint.commits.store.Store(hooks.checkpoint.disk.directory.open_files(work))
    with contextlib.closing(store.files):
        commit(store, 50)
        for step in range(1, 7):
            commit(store, step)
            store.set_aside([f"ckpt-{step}"])
    return {path.name for path in work.glob("set-aside-*")} == {"set-aside-4", "set-aside-5", "set-aside-6"}


def a_save_looks_at_no_other(work: Path) -> bool:
    """It lists no directory but that which TensorFlow has just written to."""
    store = hooks.checkpoint.commits.store.Store(hooks.checkpoint.disk.directory.open_files(work))
    listed, names = list[str](), type(store.files).names

    def note(self: Any, directory: str = ".") -> list[str]:
        listed.append(directory)
        return names(self, directory)

    with contextlib.closing(store.files), pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(store.files), "names", note)
        for step in (1, 2):
            commit(store, step)
        store.remove(["ckpt-1"])
    return listed == ["ckpt-1_temp", "ckpt-2_temp"]


def standard_descriptors_are_nobody_elses(work: Path) -> bool:
    """One that is closed is opened on what swallows everything, and children have it so."""

    def occupied() -> bool:
        os.close(1)
        loop.standard.occupy()
        return os.readlink("/proc/self/fd/1") == os.devnull and os.get_inheritable(1)

    return in_a_child(occupied)


SIGNALS, LOCK, STORE = "hooks.signals", "hooks.checkpoint.disk.lock", "hooks.checkpoint.commits.store"
BESIDE, ASIDE = "hooks.checkpoint.commits.beside", "hooks.checkpoint.commits.aside"
READER, FAILURES = "hooks.checkpoint.reader", "loop.listeners.failures"
BUGS: dict[Callable[[Path], bool], list[Bug]] = {
    forks_are_their_own: [
        Bug("a child has our handlers", SIGNALS, "            listener.leave()\n", "            pass\n"),
        *([] if sys.version_info >= (3, 12) else [  # from then on, asyncio does it for all children
        Bug("a child has our descriptor", SIGNALS, "parent's. Called in a child, where the thread is not.\"\"\"\n"
            "        self._put_back_handlers()\n        self._put_back_descriptor()\n",
            "parent's. Called in a child, where the thread is not.\"\"\"\n        self._put_back_handlers()\n")]),
        Bug("a child has our lock", LOCK, "            file.close()\n", "            pass\n"),
    ],
    a_save_is_left_in_peace: [
        Bug("the directory is let go of while it is written to", "hooks.checkpoint.hook",
            "            self._saver.leave(self._close)  #", "            self._close()  #"),
        Bug("who was interrupted closes all", "hooks.checkpoint.saving.saver",
            "        if self._writing is None:\n            self._background.wait()\n", "        if True:\n"),
    ],
    readers_find_what_is_there: [
        Bug("what is gone is a reason for an older one", READER,
            "break  # it was removed just now\n            now = store.stems()\n            missed = any(",
            "continue\n            now = store.stems()\n            missed = False and any("),
        Bug("what a listing misses is not there", BESIDE, "range(TRIES_OF_NONE)", "range(1)"),
        Bug("what is gone is damaged", BESIDE, "if kept_for(os.path.basename(error.file)) in", "if '' not in"),
    ],
    ornaments_end_nothing: [
        Bug("what only shows ends the run", FAILURES, "if hook.on_error == RAISE or", "if True or"),
        Bug("it is told each time", FAILURES, "        if hook.name not in self._failed:\n", "        if True:\n"),
        Bug("what a hook has raised tears the state", "loop.rounds",
            "len(failures.raised) > told or", "bool(failures) or"),
    ],
    other_versions_are_not_compared: [
        Bug("hashes of another kind are compared", "hooks.checkpoint.record.writer",
            'manifest.writer.get("fingerprint") in TrainingState.comparable', "True"),
    ],
    what_is_set_aside_is_bounded: [
        Bug("nothing that is set aside goes", STORE, "drop(self.files, next(reversed(self._heads), None))", "pass"),
        Bug("all that is set aside goes", ASIDE, "enumerate(numbers[:-KEPT])", "enumerate(numbers)"),
    ],
    a_save_looks_at_no_other: [
        Bug("a save lists the directory", STORE, "if self.files.ensure():", "if self.stems() and self.files.ensure():"),
        Bug("a removal lists the directory", STORE, "            manifests = [", "            self.stems()\n"
            "            manifests = ["),
    ],
    standard_descriptors_are_nobody_elses: [
        Bug("what is closed stays so", "loop.standard", "            _open(number)\n", "            pass\n"),
        Bug("children do not get it", "loop.standard", "        os.set_inheritable(got, True)", "        pass"),
    ],
}  # fmt: skip
PLANTED = [pytest.param(check, bug, id=bug.name) for check, bugs in BUGS.items() for bug in bugs]


@pytest.mark.parametrize("check", BUGS, ids=lambda check: check.__name__)
def test_what_was_attacked_holds(check: Callable[[Path], bool], tmp_path: Path) -> None:
    assert check(tmp_path)


@pytest.mark.parametrize(("check", "bug"), PLANTED)
def test_a_mistake_in_it_shows(check: Callable[[Path], bool], bug: Bug, tmp_path: Path) -> None:
    trainer()  # without the mistake
    right = False
    with planted(bug), contextlib.suppress(Exception, KeyboardInterrupt):
        right = check(tmp_path)
    assert not right
