"""Deliberate mistakes in the real source, and the laboratory that has to catch each of them."""

import errno
import fcntl
import functools
import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import operations
import tensorflow as tf
from damage import DATA, damage, edit, flip, found
from planting import Bug
from protocol import protocol
from trainer import Trainer, stream_data

import hooks
import hooks.checkpoint.disk.directory
import hooks.checkpoint.record.manifest
import hooks.nan_guard
from loop import At, Every, Hook, Moment

LATE = """

class Late(Leaf):
    def __init__(self, node):
        self._node, self._now = node, {}
        super().__init__(dict)

    @property
    def held(self):
        self._now = self._now or {n: x() if callable(x) else x for n, x in self._node._serialize_to_tensors().items()}
        return self._now

    @held.setter
    def held(self, held):
        self._now = {}
"""


STORE, SAVER, LOCAL = "hooks.checkpoint.commits.store", "hooks.checkpoint.saving.saver", "hooks.checkpoint.disk.local"
STEMS, ERASING, DURABLE = (
    "hooks.checkpoint.disk.stems",
    "hooks.checkpoint.commits.erasing",
    "hooks.checkpoint.disk.durable",
)
RESTORE, MANIFEST = "hooks.checkpoint.resuming.resume", "hooks.checkpoint.record.manifest"
LOCK, SIGNALS = "hooks.checkpoint.disk.lock", "hooks.signals"
OPENED = "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK\n        descriptor"
BUGS = [
    # Of the order in which things get to the disk.
    Bug("data are not flushed", STORE, "                self.files.sync(name)\n", "                pass\n"),
    Bug("the manifest is not flushed", STORE, '            write_flushed(self.files, f"{stem}{MARK}", encode', '            self.files.write(f"{stem}{MARK}", encode'),
    Bug("the mark of a save is not flushed", STORE, "            self.files.sync()\n            room", "            room"),
    Bug("there is no mark of a save", STORE, '            write_flushed(self.files, f"{stem}{MARK}", b"")  # what', "            pass  # what"),
    Bug("the mark of a removal goes too soon", ERASING,
        "    for name in names:\n        # A mark",
        '    for stem in stems:\n        files.remove(f"{stem}{MARK}")\n    for name in names:\n        # A mark'),
    Bug("a removal is not flushed before data go", ERASING,
        "    if stems:\n        files.sync()\n    for name in names:\n", "    for name in names:\n"),
    Bug("a removal is not flushed before its mark goes", ERASING,
        "    if stems:\n        files.sync()\n    for stem", "    for stem"),
    Bug("names are not flushed before the commit", STORE, "self.files.sync()  # or their", "pass  # or their"),
    Bug("names are not flushed after the commit", STORE, '.json")\n            self.files.sync()\n', '.json")\n'),
    Bug("a flush of a file does nothing", LOCAL, "                flush(descriptor, self.where)\n", "                pass\n"),
    Bug("a new directory is not flushed", DURABLE, "            flush(descriptor, directory)\n", "            pass\n"),
    Bug("the manifest is written in place", STORE,
        '            write_flushed(self.files, f"{stem}{MARK}", encode(manifest(measured)))\n'
        '            self.files.rename(f"{stem}{MARK}", f"{stem}.json")\n',
        '            write_flushed(self.files, f"{stem}.json", encode(manifest(measured)))\n            self.files.remove(f"{stem}{MARK}")\n'),
    Bug("the manifest comes before the data", STORE, '            write(f"{self.files.prefix}/{room}/{stem}")\n',
        '            self.files.write(f"{stem}.json", encode(manifest({})))\n            write(f"{self.files.prefix}/{room}/{stem}")\n'),
    Bug("a committed step is written again", STORE, "        if stem in self._heads:\n            return\n", ""),
    Bug("a failed save leaves its files", STORE, "                erase(self.files, [stem], self.files.names())\n", "                pass\n"),
    # Of what is believed.
    Bug("the hash is of the first block only", LOCAL, 'hashlib.file_digest(file, "sha256")', "hashlib.sha256(file.read(2**10))"),
    Bug("damage to an older one is not seen", STORE, "(found := self.files.size(name)) != size", "(found := size) != size"),
    Bug("hashes are not compared", "hooks.checkpoint.disk.files", "sha256() != measured[1]", "False"),
    Bug("the step in the manifest is not compared", STORE, "head.record.stem != stem", "False"),
    Bug("a manifest may name any file", STORE, "written_for(named) != stem", "False"),
    Bug("a manifest's own hash is not compared", MANIFEST, "    if not same:\n", "    if False:\n"),
    Bug("links are followed", LOCAL, OPENED, OPENED.replace("os.O_NOFOLLOW | ", "")),
    Bug("pipes are waited for", LOCAL, OPENED, OPENED.replace(" | os.O_NONBLOCK", "")),
    Bug("all damaged is a start from nothing", RESTORE, "    if damaged:\n", "    if False:\n"),
    Bug("an index of which TensorFlow dies is given to it", STORE,
        '            self._check_index(f"{directory}/{stem}.index", manifest)\n', ""),
    Bug("it is not compared where a run stands", RESTORE, "        _compare_place(store, manifest, state)\n", ""),
    Bug("nothing is compared after restoring", RESTORE, "        compare(pin, state.variables)\n", ""),
    # Of what goes, and what stays.
    Bug("old ones go before the new one is committed", SAVER, "            self._store.commit(\n",
        "            self._store.remove([each.stem for each in self._store.records()])\n            self._store.commit(\n"),
    Bug("one too few is kept", "hooks.checkpoint.commits.retention", "(self._latest) > self._rule.keep", "(self._latest) >= self._rule.keep"),
    Bug("the oldest are kept", "hooks.checkpoint.commits.retention", "self._latest.popleft()", "self._latest.pop()"),
    Bug("data go before their manifest", ERASING, '        if f"{stem}.json" in names:\n            _take',
        '        for name in [name for name in names if kept_for(name) == stem and ".json" not in name]:\n            files.remove(name)\n'
        '        if f"{stem}.json" in names:\n            _take'),
    Bug("what is removed is taken by its beginning", ERASING, "kept_for(name) in stems and",
        "(kept_for(name) or '-').startswith(tuple(stems)) and"),
    Bug("a lost manifest is a start from nothing", STORE, "sorted(committed | written, key=order)", "sorted(committed, key=order)"),
    Bug("steps are sorted as text", STEMS, "    return int(step), kind", "    return step, kind"),
    Bug("what a crash left stays", STORE, "        sweep(self.files)\n", ""),
    Bug("what is not ours goes", STEMS, r'rf"{STEM}(?:{OF_TENSORFLOW}|\.rows|\.json|\.json\.tmp|{ROOM})"', 'rf"{STEM}.*"'),
    Bug("what was abandoned is not set aside", RESTORE, "changed=changed, then=set_aside)", "changed=changed)"),
    Bug("nobody is locked out", LOCK, "            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "            pass\n"),
    Bug("a lock of another machine is not seen", LOCK, "            if os.pread(self._descriptor, 200, 0) == self._me:\n", "            if True:\n"),
    Bug("it is tidied up before it is locked", "hooks.checkpoint.hook",
        "        files.lock()\n        store = Store(files)\n        damaged = store.load()\n",
        "        store = Store(files)\n        damaged = store.load()\n        files.lock()\n"),
    # Of storage that cannot do everything, or fails now and then, and of who else listens to signals.
    Bug("a file in a copy is written to", LOCAL, "if os.fstat(descriptor).st_nlink <= 1:", "if True:"),
    Bug("a lock is that of a copy, too", LOCK, "if self._of_a_copy():", "if False:"),
    Bug("what cannot be read now is damage", "hooks.checkpoint.disk.errors", "if error.errno in OF_THE_DISK:", "if True:"),
    Bug("what fails once is damage", "hooks.checkpoint.disk.errors", "            if left:\n", "            if False:\n"),
    Bug("a signal is heard by whoever came last", SIGNALS, "        elif self.listen():\n", "        elif False:\n"),
    Bug("signals of others are kept", SIGNALS, " if number in self.previous else self._forward(number)", ""),
    # Of what is saved, and when.
    Bug("an error in the background is dropped", SAVER, "            if error is not None:\n", "            if False:\n"),
    Bug("a save that failed keeps the last one from being made", "hooks.checkpoint.hook", "            if moment.last:  # what could", "            if False:  # what could"),
    Bug("values are read when they are written", "hooks.checkpoint.saving.snapshot", 'Leaf(lambda: {"VARIABLE_VALUE": self.values[path]})', "Late(node)", LATE),
    Bug("the iterator is read when it is written", "hooks.checkpoint.saving.snapshot", "leaf = Leaf(lambda: _own(saved_tensors(node)))", "leaf = Late(node)", LATE),
    Bug("values of the first save are written again", "hooks.checkpoint.saving.bundle", "tensors = [leaf.held[name] for leaf, name in self._of]",
        "tensors = vars(self).setdefault('first', [leaf.held[name] for leaf, name in self._of])"),
    Bug("values that are not finite are saved", SAVER, "self._finite and (wrong := self._not_finite())", "False"),
    Bug("Keras' seeds are not saved", "loop.state.gathering", "if id(raw(v)) not in reached", "if False"),
    Bug("Python's random state is not saved", "loop.state.randomness", '"host": HostRandomness(), ', ""),
    Bug("accumulated gradients are forgotten", "loop.state.training_state", "        self.position.restored()",
        '        gradients = self.variables["optimizer/_variables/2"]\n        gradients.assign(tf.zeros_like(gradients))\n'
        "        self.position.restored()"),
    # Of rolling back.
    Bug("a rollback takes the newest checkpoint", RESTORE, "if latest is None or record.step <= latest", "if True"),
]  # fmt: skip


class Laboratory:
    """Everything that has to hold, tried one after the other, the fastest first.

    Attributes:
        checks: From a directory to work in to what is wrong, by what is tried.
    """

    def __init__(self) -> None:
        self._arrays, self._stream = Trainer(), Trainer(stream_data)
        self.checks: dict[str, Callable[[Path], Iterable[str]]] = {
            "flushes": self._flushes,
            "locks": self._locks,
            "damage": lambda work: damage(self._saved(work / "original"), work),
            "errors": self._errors,
            "going back": self._going_back,
            "storage": self._storage,
            "signals": self._signals,
            "rolling back": self._rolling_back,
            "a disk in memory": lambda work: protocol(),
            "operations": self._operations,
        }

    def caught(self, work: Path) -> tuple[str, str] | None:
        """Returns the first check that sees something wrong, and what; None if all is well."""
        for number, (name, check) in enumerate(self.checks.items()):
            (work / str(number)).mkdir(parents=True)
            try:
                wrong = next(iter(check(work / str(number))), None)
            except Exception as error:
                wrong = repr(error)
            if wrong:
                return name, wrong
        return None

    def _saved(self, directory: Path) -> Path:
        self._arrays.live(directory, steps=6)
        return directory

    def _flushes(self, work: Path) -> list[str]:
        """Every file of a checkpoint, and every directory that was made for it, has to be flushed by the system."""
        flushed, fsync = set[int](), os.fsync

        def seen(descriptor: int) -> None:
            flushed.add(os.fstat(descriptor).st_ino)
            fsync(descriptor)

        os.fsync = seen
        try:
            directory = self._saved(work / "new" / "and new")
        finally:
            os.fsync = fsync
        paths = [work, work / "new", directory, *directory.glob("ckpt-6*")]
        return [f"{path} was not flushed" for path in paths if path.stat().st_ino not in flushed]

    def _locks(self, work: Path) -> list[str]:
        """While somebody writes there, a second trainer has to be refused, and to change nothing."""
        holder = hooks.checkpoint.disk.directory.open_files(self._saved(work / "saved"))
        holder.lock()
        for name in ("ckpt-8.index", "ckpt-8.json.tmp"):
            (work / "saved" / name).write_bytes(b"being written")
        before, wrong = operations.contents(work / "saved"), []
        try:
            self._arrays.live(work / "saved", steps=8)
            wrong.append("a second trainer is let in")
        except RuntimeError:
            pass  # as it should
        if operations.contents(work / "saved") != before:
            wrong.append("a second trainer has changed something")
        holder.close()
        return wrong + self._locks_of_machines(work / "shared")

    def _locks_of_machines(self, directory: Path) -> list[str]:
        """Where each machine has locks of its own, who came first has to save nothing from then on, and to say so."""
        second, flock = hooks.checkpoint.disk.directory.open_files(directory), fcntl.flock

        def come(operation: str, name: str, when: str) -> None:
            if (operation, name, when) == ("rename", "ckpt-2.json.tmp", "after"):
                second.lock()

        fcntl.flock = lambda descriptor, operation: None
        try:
            self._arrays.live(directory, steps=6, watch=come)
            wrong = ["of two trainers on two machines, the first goes on"]
        except OSError:
            wrong = []  # as it should
        finally:
            fcntl.flock = flock
            second.close()
        there = sorted(path.name for path in directory.glob("*.json"))
        return wrong + ([] if there == ["ckpt-2.json"] else [f"after another came, there is {there}"])

    def _errors(self, work: Path) -> list[str]:
        """What cannot be saved has to be raised: for lack of space, and for values that are not finite."""

        def full(operation: str, name: str, when: str) -> None:
            if name.endswith(".json.tmp") and not name.startswith("ckpt-2.") and operation == "write":
                raise OSError(errno.ENOSPC, "No space left on device")

        class Spoiler(Hook):
            every = At(3)

            def on_step_end(hook, moment: Moment) -> None:  # noqa: N805 (self is the laboratory)
                variables = self._arrays.loop.state.variables
                weights = next(v for path, v in variables.items() if path.startswith("model/") and v.shape.rank == 2)
                weights.assign(tf.fill(weights.shape, float("inf")))

        wrong = []
        for expected, others, watch in ((OSError, [], full), (FloatingPointError, [Spoiler()], None)):
            try:
                self._arrays.live(work / expected.__name__, *others, steps=5, watch=watch)
                wrong.append(f"{expected.__name__} is not raised")
            except expected:
                pass  # as it should
            if found(work / expected.__name__)[0] != "ckpt-2":
                wrong.append(f"after {expected.__name__}, something else than step 2 is there")
        failures = [OSError(errno.ENOSPC, "No space left on device")]

        def full_for_a_moment(operation: str, name: str, when: str) -> None:
            if failures and name == "ckpt-4.json.tmp" and operation == "write":
                raise failures.pop()

        try:
            self._arrays.live(work / "for a moment", steps=5, watch=full_for_a_moment)
            wrong.append("a save that failed is not raised")
        except OSError:
            pass  # as it should
        if found(work / "for a moment")[0] not in ("ckpt-4", "ckpt-5"):
            wrong.append("where there is room again, the last state is not saved")
        return wrong

    def _going_back(self, work: Path) -> list[str]:
        """Damage has to be told from nothing, what came after it to be set aside, and a wrong restore to be noticed."""
        wrong = []
        directory = self._saved(work / "one damaged")
        flip(directory / DATA, 3)
        with warnings.catch_warnings(action="ignore", category=hooks.CorruptCheckpoint):
            self._arrays.live(directory, steps=5)
        if (stem := found(directory)) != ("ckpt-5", []):
            wrong.append(f"after going back, the next start finds {stem}")
        directory = self._saved(work / "an older one damaged")
        os.truncate(directory / DATA.replace("6", "2"), 5)
        if [each.file for each in found(directory)[1]] != [str(directory / DATA.replace("6", "2"))]:
            wrong.append("damage to an older one is not reported")
        directory = self._saved(work / "all damaged")
        for path in directory.glob("*.index"):
            flip(path, 9)
        try:
            self._arrays.live(directory)
            wrong.append("with all damaged, it starts from nothing")
        except hooks.checkpoint.record.manifest.CorruptCheckpoint:
            pass  # as it should
        directory = self._saved(work / "other digests")
        manifest = json.loads((directory / "ckpt-6.json").read_bytes())
        edit(directory / "ckpt-6.json", digests=["0" * 16] * len(manifest["digests"]))
        try:
            self._arrays.live(directory)
            wrong.append("other values than were saved are not noticed")
        except RuntimeError:
            pass  # as it should
        directory = self._saved(work / "elsewhere")
        place = {"step": 6, "epoch": 1, "step_in_epoch": 5}
        notes = json.loads((directory / "ckpt-6.json").read_bytes())["notes"] | {"place": place}
        edit(directory / "ckpt-6.json", notes=notes, **place)
        try:
            self._arrays.live(directory)
            wrong.append("a manifest that says another place is believed")
        except hooks.checkpoint.record.manifest.CorruptCheckpoint:
            pass  # as it should
        return wrong

    def _storage(self, work: Path) -> list[str]:
        """A copy by hard links has to stay what it is, and what cannot be opened now to be no reason to go back."""
        wrong, opened = [], os.open
        directory, copy = self._saved(work / "saved"), work / "copy"
        (directory / "ckpt-8.json.tmp").write_bytes(b"")  # of a save that is under way while it is copied

        def copied(operation: str, name: str, when: str) -> None:
            if (operation, name, when) == ("write", "ckpt-7.json.tmp", "after") and not copy.exists():
                shutil.copytree(directory, copy, copy_function=os.link)

        self._arrays.live(directory, steps=7, watch=copied)
        if (copy / "ckpt-7.json.tmp").read_bytes() != b"":
            wrong.append("a copy by hard links is written to")
        holder = hooks.checkpoint.disk.directory.open_files(directory)
        holder.lock()
        shutil.rmtree(copy)
        shutil.copytree(directory, copy, copy_function=os.link)
        try:
            self._arrays.live(copy, steps=8)
        except RuntimeError:
            wrong.append("a copy by hard links cannot be trained")
        holder.close()
        for number, times in ((errno.EIO, 1), (errno.EMFILE, 10**6)):
            refused = list[int]()

            def refuse(path: str, *args: int, **kwargs: int) -> int:
                if path == "ckpt-7.index" and len(refused) < times:  # noqa: B023 (called in this turn only)
                    refused.append(1)  # noqa: B023
                    raise OSError(number, os.strerror(number))  # noqa: B023
                return opened(path, *args, **kwargs)

            os.open = refuse
            try:
                with warnings.catch_warnings(action="ignore", category=hooks.CorruptCheckpoint):
                    self._arrays.live(directory, steps=7)
            except OSError:
                pass  # as it should, of the second
            finally:
                os.open = opened
            if list(directory.glob("set-aside-*")):
                wrong.append(f"{os.strerror(number)}: a checkpoint that is whole is set aside")
        return wrong

    def _signals(self, work: Path) -> list[str]:
        """A signal has to end the run where somebody has taken the descriptor, and others' signals to reach them."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        heard, live = list[int](), functools.partial(self._arrays.live, steps=10)

        class Thief(Hook):
            every = At(3, 5)

            def on_step_end(self, moment: Moment) -> None:
                if moment.step == 3:
                    os.kill(os.getpid(), signal.SIGUSR2)
                else:
                    signal.set_wakeup_fd(write)
                    os.kill(os.getpid(), signal.SIGTERM)

        own = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
        before = signal.set_wakeup_fd(write)
        try:
            live(work / "run", Thief(), hooks.Preemption(exit=False))
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGUSR2, own)
        os.close(write)
        told, ended = os.read(read, 64), self._arrays.loop.step
        os.close(read)
        wrong = [] if ended < 10 else ["a signal is not heard"]
        return wrong + ([] if signal.SIGUSR2 in told else ["a signal of somebody else is kept"])

    def _rolling_back(self, work: Path) -> list[str]:
        """What is left out must not depend on which checkpoints there are."""
        above = sorted(self._arrays.loss(step) for step in range(4, 11))[-3]

        def live(directory: Path, steps: int) -> tuple[list[int], dict[str, bytes]]:
            guard = hooks.nan_guard.NaNGuard("rollback", limits={"loss": above}, skip=2, max_rollbacks=9)
            every = Every(steps=int(directory.name))
            life = self._arrays.live(directory, guard, steps=steps, every=every)
            return guard.found.numpy().tolist(), life.bits

        wanted, bits = live(work / "1", 10)
        wrong = [] if len(wanted) > 1 and bits != self._arrays.whole.bits else ["nothing is left out"]
        wrong += [] if live(work / "3", 10) == (wanted, bits) else ["other checkpoints make another end"]
        live(work / "2", 7)
        return wrong + ([] if live(work / "2", 10) == (wanted, bits) else ["a cut makes another end"])

    def _operations(self, work: Path) -> Iterator[str]:
        for name, trainer in {"stream": self._stream, "arrays": self._arrays}.items():
            (work / name).mkdir()
            yield from operations.operations(trainer, work / name, ("save and prune", "save in the background"))
