"""What the first of several workers, which saves, asks of the others: to restore what it has restored, and to hold the
values that it saves."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from hooks.checkpoint.commits.pin import Pin
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.directory import open_files
from hooks.checkpoint.disk.errors import Differing
from hooks.checkpoint.record.manifest import CorruptCheckpoint
from hooks.checkpoint.resuming.added import Added
from hooks.checkpoint.resuming.resume import taken_over
from hooks.checkpoint.saving.background import Background
from hooks.checkpoint.workers.parcel import packed, unpacked
from hooks.checkpoint.workers.told import Told, Value, heard, said
from loop import Loop, TrainingState, digest
from loop.tf_internals import Tensors, saved_tensors

PATIENCE = 600.0  # seconds in which another worker says what it holds
SEEN_WITHIN, AGAIN = 10.0, 0.5  # seconds until what one machine has written is seen on all that share a disk
NOT_SEEN = (FileNotFoundError, NotADirectoryError, tf.errors.NotFoundError)  # the last from addresses such as gs://
CANNOT_SEE_FILES = (
    "{0} cannot restore {1} in {2!r}, which the first worker has restored from there: {3}. All workers restore from "
    "one directory, so it has to be on a disk that all their machines share, with the same path on each: give "
    "Checkpoint such a directory, or an address such as gs://bucket/checkpoints."
)


class Followers:
    """The workers of a loop, as a hook that saves sees them. Alone, each method is nothing but its answer.

    Args:
        loop: The loop.
        name: The name of the hook.
    """

    def __init__(self, loop: Loop, name: str) -> None:
        self._workers, self._name, self._state = loop.workers, name, loop.state
        self._apart = loop.hooks.apart()
        # A number that is the same in all workers, and another one after each rollback: old keys are never read.
        self._restoring = self._saving = self._workers.turn()
        self._background = Background()
        self._unread = self._saving  # from which save on the chief may want to hear what was told
        self._told: dict[int, Told] = {}  # by save

    @property
    def are_several(self) -> bool:
        """Whether there is more than one."""
        return self._workers.are_several

    @property
    def follows(self) -> bool:
        """Whether this is not the one that saves."""
        return not self._workers.is_chief

    def agreed(self, wanted: bool) -> bool:
        """Returns whether the chief wants to save; all call it once whenever a step is settled."""
        if not self.are_several:
            return wanted
        self._saving = self._workers.turn()
        # The exchange has float64 alone, in which numbers of turns are exact.
        said = self._workers.exchange(float(wanted), self._unread, at=f"whether {self._name} saves")[0]
        self._take_back(said[1])
        return bool(said[0])

    def _take_back(self, unread: float) -> None:
        """Forgets what was told of the saves before that one: it was heard, or is never asked for."""
        for number in [each for each in self._told if each < unread]:
            self._told.pop(number).take_back()

    def wait_for_all(self) -> None:
        """Returns when all have called it: the first one, when it has heard what it has asked for."""
        if self.are_several:
            # So nobody ends while the chief may still ask for what it holds. Nothing of this run stays in the store.
            self._take_back(self._workers.exchange(self._unread, at=f"what {self._name} has saved")[0, 0])

    # Of the chief.

    def announce(self, stem: str | None) -> None:
        """Says which checkpoint was restored; None: none."""
        if self.are_several:
            self._workers.put(f"{self._name}/restored/{self._restoring}", stem)

    def comparing(self) -> Callable[[Mapping[str, str]], Mapping[int, Tensors]]:
        """Returns what is called, in any thread, with the digests of what is saved now, by path.

        It returns what each of the others has for itself, by rank. It raises `Differing` if one holds other values.
        """
        # Of now: the function is called in the thread that saves, when `agreed` may have gone on.
        number = self._unread = self._saving
        in_python = self._state.in_python() if self.are_several else {}

        def compare(of_variables: Mapping[str, str]) -> Mapping[int, Tensors]:
            mine = {**of_variables, **in_python}
            try:
                return {rank: self._compared(number, rank, mine) for rank in range(1, self._workers.count)}
            finally:
                # Also if one differs: nobody asks for these again.
                self._unread = number + 1

        return compare if self.are_several else lambda mine: {}

    def _compared(self, number: int, rank: int, mine: Mapping[str, str]) -> Tensors:
        """Returns what another worker has for itself, if it holds what this one does."""
        key = self._key(number, rank)
        # Waits in the thread that saves; training goes on meanwhile.
        theirs = self._workers.get(key, PATIENCE)
        if isinstance(theirs, str):
            raise RuntimeError(f"{self._workers.name(rank)} could not say what it holds: {theirs}")
        if wrong := self._differing(mine, theirs if isinstance(theirs, dict) else {}):
            raise Differing(
                f"Worker {rank} does not hold what the first one does, and nothing was saved: {', '.join(wrong)}. "
                f"{self._workers.why_apart(wrong)}."
            )
        return {} if self._state.apart is None else unpacked(heard(self._workers, key, PATIENCE))

    def _key(self, number: int, rank: int) -> str:
        return f"{self._name}/digests/{number}/{rank}"

    def _differing(self, mine: Mapping[str, str], theirs: Mapping[str, object]) -> list[str]:
        return [path for path, value in mine.items() if self._counts(path) and value != theirs.get(path)]

    def _counts(self, path: str) -> bool:
        # What hooks keep for each worker by itself differs by right.
        return not path.startswith(self._apart)

    # Of the others.

    def follow(self, directory: str, added: Added, *, changed: str) -> None:
        """Restores what the chief has restored, without a lock: it keeps that until all have."""
        # Waits without an end: the chief hashes a large checkpoint first. If it fails, that ends the wait.
        stem = self._workers.get(f"{self._name}/restored/{self._restoring}")
        if stem is not None:
            with contextlib.ExitStack() as opened:
                store, pin = self._seen(directory, str(stem), opened)
                if added:
                    added.restore(store, self._state)
                else:
                    taken_over(store, self._state, pin, changed=changed)
                    added.restored(str(stem))

    def _seen(self, directory: str, stem: str, opened: contextlib.ExitStack) -> tuple[Store, Pin]:
        """Returns the checkpoint that the chief has seen to be whole, as soon as this machine sees it too."""
        end = time.monotonic() + SEEN_WITHIN
        while True:
            try:
                files = opened.enter_context(contextlib.closing(open_files(directory, make=False)))
                store = Store(files)
                return store, opened.enter_context(contextlib.closing(store.pin(stem)))
            except (*NOT_SEEN, CorruptCheckpoint) as error:
                # Opened anew: it may not have been there, or was another one, a moment ago.
                opened.close()
                if time.monotonic() > end:
                    why = error.reason if isinstance(error, CorruptCheckpoint) else _why(error)
                    name = self._workers.name(self._workers.rank)
                    raise FileNotFoundError(CANNOT_SEE_FILES.format(name, stem, directory, why)) from error
            time.sleep(AGAIN)

    def tell(self) -> None:
        """Says, in a thread, what this worker holds now, and what it has for itself."""
        # Held now, in the main thread; hashed in the thread, while steps change the variables.
        values, key = _held(self._state, self._counts), self._key(self._saving, self._workers.rank)
        in_python = self._state.in_python()
        apart = None if self._state.apart is None else saved_tensors(self._state.apart)

        def texts() -> Iterator[tuple[str, Value]]:
            if apart is not None:
                yield from said(key, packed(apart))
            yield key, {**{path: digest(value) for path, value in values.items()}, **in_python}

        self._told[self._saving] = Told(self._workers, key, texts, self._background.do)

    def leave(self) -> None:
        """Says that there will be no more to tell; what there is, is told."""
        self._background.end()


def _why(error: OSError | tf.errors.NotFoundError) -> str:
    said = (error.strerror or str(error)) if isinstance(error, OSError) else error.message  # ours have no number
    return said.rstrip(".")


def _held(state: TrainingState, counts: Callable[[str], bool]) -> dict[str, tf.Tensor]:
    return {path: variable.read_value() for path, variable in state.variables.items() if counts(path)}
