"""The store's protocol, tried on a disk in memory: what a kill or a power failure may leave of it, at any instant."""

import functools
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf
from disk import Disk, Tree

import hooks.checkpoint.commits.retention
import hooks.checkpoint.commits.store
import hooks.checkpoint.record.manifest
import hooks.checkpoint.record.rows
import hooks.checkpoint.saving.rows_file
from loop import NEVER

KEEP = 2
KEPT = {"0": tf.constant([1.5, 2.5]), "val/0": tf.constant(["a", "bc"])}


def record(step: int, *, pending: bool = False) -> Any:
    return hooks.checkpoint.record.manifest.Record(step, pending, epoch=0, step_in_epoch=step, seconds=float(step))


def content(stem: str) -> Tree:
    """Returns the files that TensorFlow writes for a checkpoint; not a byte of them is alike in two checkpoints."""
    rng = random.Random(stem)
    return {f"{stem}.data-00000-of-00001": rng.randbytes(60), f"{stem}.index": rng.randbytes(40)}


def new_store(disk: Disk) -> Any:
    """Returns a store of checkpoints whose index is none."""
    return hooks.checkpoint.commits.store.Store(disk, check_index=lambda path, data: None)


def commit(
    store: Any,
    step: int,
    *,
    pending: bool = False,
    tensorflow: Callable[[str], object] | None = None,
    rows: Mapping[str, tf.Tensor] = MappingProxyType({}),
) -> None:
    """Commits a checkpoint, as far as the store is concerned a real one; and one in fact, if TensorFlow writes it."""
    new = record(step, pending=pending)

    def write(prefix: str) -> None:
        room = prefix.removeprefix(f"{store.files.prefix}/").removesuffix(new.stem)
        for name, written in content(new.stem).items():
            store.files.write(room + name, written)
        store.files.write(f"{room}checkpoint", b"TensorFlow's")
        hooks.checkpoint.saving.rows_file.RowsFile(store, rows).write(prefix)

    def manifest(files: Mapping[str, tuple[int, str]]) -> object:
        place = {"step": step, "epoch": 0, "step_in_epoch": step}
        parts_of_state = ("state", "variables", "data", "steps", "seed", "settings", "trainable")
        description: dict[str, dict] = {part: {} for part in parts_of_state}
        parts = {"notes": {"place": place, "data": {}}, "logs": {}, "made": {"time": 0.0}}
        return hooks.checkpoint.record.manifest.Manifest(new, files, description=description, digests=(), **parts)

    store.commit(new, tensorflow or write, manifest)


def prune(store: Any, keep: int = KEEP) -> None:
    *earlier, latest = store.records()
    rule = hooks.checkpoint.commits.retention.Retention(keep, None, 1, NEVER)
    store.remove(hooks.checkpoint.commits.retention.Standing(rule, earlier).add(latest))


def committed(*steps: int) -> Tree:
    """Returns what is on a disk when these steps have been saved."""
    store = new_store(Disk({}))
    for step in steps:
        commit(store, step)
    return store.files.tree()


# Each scenario is what is on the disk at the beginning, and what is then done: it says which step is there to be
# recovered, at the least, from now on, and how many whole checkpoints there are.
Say = Callable[..., None]


def first_save(store: Any, say: Say) -> None:
    commit(store, 2)
    say(2)


def next_save(store: Any, say: Say) -> None:
    say(4)
    commit(store, 6)
    say(6)


def save_and_prune(store: Any, say: Say) -> None:
    say(9, KEEP)
    for step in (10, 11, 12):
        commit(store, step)
        say(step, KEEP)
        prune(store)


def same_step_again(store: Any, say: Say) -> None:
    say(4)
    commit(store, 4)
    prune(store, keep=1)


def stop_in_mid_round(store: Any, say: Say) -> None:
    say(4)
    commit(store, 5, pending=True)
    say(5)
    prune(store)
    commit(store, 5)
    prune(store)


def with_rows(store: Any, say: Say) -> None:
    """Saves of a run whose rows are kept, written once."""
    for count, step in enumerate((2, 4, 6), 1):
        commit(store, step, rows=KEPT)
        say(step, min(count, KEEP))
        prune(store)


def failed_save(store: Any, say: Say, operation: int) -> None:
    """A save of which one operation fails, and the next one, which does not."""
    say(4)
    store.files.fail(operation)
    try:
        commit(store, 6)
        say(6)
    except OSError:
        pass  # nothing of it may be left
    commit(store, 8)
    say(8)


def clean_up(store: Any, say: Say) -> None:
    say(4)


def set_aside(store: Any, say: Say) -> None:
    say(4)
    pin, _ = store.newest(store.stems())
    store.set_aside([stem for stem in store.stems() if stem != pin.manifest.record.stem and stem > "ckpt-4"])
    commit(store, 8)
    say(8)


def an_old_one_damaged(store: Any, say: Say) -> None:
    say(10)
    store.set_aside(["ckpt-1"])
    commit(store, 11)
    say(11)


MARKS = [f"{stem}.json.tmp" for stem in ("ckpt-6", "ckpt-4", "pending-7", "ckpt-8")]
HALF = [*MARKS, "ckpt-8_temp/part-0", "checkpoint.tmp"]
DEBRIS = dict.fromkeys([*content("ckpt-6"), *content("pending-7"), *HALF], b"half")
NOT_OURS = ["ckpt-6.bak", "ckpt-06.index", "notes.json", "ckpt-6.index~", "my-ckpt-6.index", "results/ckpt-6.index"]
MINE = dict.fromkeys(NOT_OURS, b"mine")
SCENARIOS: dict[str, tuple[Callable[[], Tree], Callable[[Any, Say], None]]] = {
    "first save": (dict, first_save),
    "next save": (lambda: committed(2, 4), next_save),
    "save and prune": (lambda: committed(1, 9), save_and_prune),
    "same step again": (lambda: committed(4), same_step_again),
    "rows beside it": (dict, with_rows),
    "stop in mid-round": (lambda: committed(2, 4), stop_in_mid_round),
    **{
        f"save that fails at operation {number}": (
            lambda: committed(2, 4),
            functools.partial(failed_save, operation=number),
        )
        for number in range(17)
    },
    "clean-up at the start": (lambda: committed(2, 4) | DEBRIS, clean_up),
    "set an old one aside": (lambda: committed(1, 10) | {"ckpt-1.index": b"damaged"}, an_old_one_damaged),
    "set aside": (lambda: committed(2, 4, 6) | {"ckpt-6.index": b"damaged"}, set_aside),
}
ROWS = hooks.checkpoint.record.rows.encoded(KEPT)
ASIDE = {b"damaged", content("ckpt-6")["ckpt-6.data-00000-of-00001"]}


def recovered(disk: Disk) -> tuple[int, int, bool, list[str]]:
    """Returns what a start finds: the newest step (0: none), how many there are, whether its files are as written.

    The last of the four is what it reports.
    """
    store = new_store(disk)
    damaged = store.load()
    pin, more = store.newest([each.stem for each in store.records()])
    reported = [str(each) for each in [*damaged, *more]]
    if pin is None:
        return 0, 0, True, reported
    files = content(pin.manifest.record.stem)
    found = {name: disk.tree()[name] for name in pin.manifest.files}
    rows = found.pop(f"{pin.manifest.record.stem}.rows", ROWS)
    return pin.manifest.record.step, len(store.records()), found == files and rows == ROWS, reported


class Witness:
    """Looks at all that could be left, after each operation, and notes what must not be.

    Attributes:
        wrong: What must not be.
        states: How many different states were looked at.
    """

    def __init__(self, name: str) -> None:
        tree, act = SCENARIOS[name]
        begin = tree() | MINE
        self.wrong: list[str] = []
        self._name, self._seen, self._rng = name, set[tuple](), random.Random(name)
        self._least, self._count = 0, 0
        self._disk = Disk(begin, self._look)
        store = new_store(self._disk)
        store.load()
        act(store, self._say)
        self._look()
        self.states = len(self._seen)
        names = {name for name in self._disk.tree() if "/" not in name and name not in MINE and "-" in name}
        if uncommitted := [name for name in names if f"{name.split('.')[0]}.json" not in names]:
            self.wrong.append(f"{name}: left behind by what was done: {uncommitted}")

    def _say(self, step: int, count: int = 0) -> None:
        self._least, self._count = step, count

    def _look(self) -> None:
        for what, tree in self._left():
            key = (self._least, self._count, frozenset(tree.items()))
            if key not in self._seen:
                self._seen.add(key)
                self.wrong += [f"{self._name}, {what}: {wrong}" for wrong in self._judge(tree, twice=what == "killed")]

    def _left(self) -> Iterator[tuple[str, Tree]]:
        yield "killed", self._disk.tree()
        for tree in self._disk.after_power_loss(self._rng):
            yield "power lost", tree

    def _judge(self, tree: Tree, *, twice: bool) -> Iterator[str]:
        again: list[Tree] = []
        disk = Disk(tree, lambda: again.append(disk.tree()))
        try:
            step, count, whole, reported = recovered(disk)
        except Exception as error:
            yield f"the next start fails: {error!r}"
            return
        if step < self._least:
            yield f"step {step} is recovered, and {self._least} was there; {reported}"
        if count < self._count:
            yield f"{count} checkpoints are there, less than the {self._count} to be kept"
        if not whole:
            yield f"other files than were saved are taken for step {step}"
        if reported and "aside" not in self._name:
            yield f"damage is reported: {reported}"
        if lost := [name for name in MINE if name not in disk.tree()]:
            yield f"not ours, and gone: {lost}"
        if left := [name for name in disk.tree() if name.endswith((".tmp", "_temp"))]:
            yield f"left behind by the next start: {left}"
        # Killed while that start clears away: the one after it has to find the same.
        for tree_then in again if twice else ():
            if recovered(Disk(tree_then))[0] != step:
                yield f"a second kill, in the clean-up, loses step {step}"
        if self._name == "set aside" and not {*disk.tree().values()} >= ASIDE:
            yield "what was set aside is not all there"


def protocol() -> Iterator[str]:
    """Yields what is wrong in any scenario."""
    for name in SCENARIOS:
        yield from Witness(name).wrong
