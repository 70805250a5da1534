"""Batches from something that can say where it is: a Grain iterator, a loader, a replay buffer, a curriculum."""

import contextlib
import gc
import operator
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import tensorflow as tf

from loop.data.fed import Fed
from loop.data.objects.kept_batches import kept, taken
from loop.data.objects.keyed import key_streams
from loop.data.python.ahead import Making, ReadAhead
from loop.data.python.items import as_batch, leaves_of, spec_of
from loop.data.python.iterated import Iterated, Yields
from loop.data.python.tried import Tried
from loop.digest import digest
from loop.errors.calls import BY_POSITION, explained
from loop.errors.remedies import AGAIN_FROM_STATE, ITERATED_ANEW, READS_AHEAD
from loop.exact.pipeline_audit import Read
from loop.findings import Finding
from loop.state.plain import Encoded, Plain
from loop.state.position import Position
from loop.state.randomness import HostRandomness
from loop.tensors import Nest

ENDLESS = 2**62
OWN = "Make an object of its own for each of them."
STATEFUL = {
    BY_POSITION: "write StatefulData(source)",
    **dict.fromkeys(("shuffle", "seed"), "leave it out: the source decides its order"),
    "batch_size": "leave it out: the source yields batches",
    **dict.fromkeys(("workers", "num_workers"), "leave it out: a source that has a state is read in order"),
}


MADE: "weakref.WeakSet[StatefulData]" = weakref.WeakSet()


class ReadBatch(NamedTuple):
    """A batch, alone in a list; or none, because the source was over. And the state behind it, if it was read ahead."""

    batch: list[Nest]
    after: Encoded | None


@explained(STATEFUL)
class StatefulData(Fed):
    """Batches from Python, from something with `get_state()` and `set_state(state)`, or `state_dict()` and
    `load_state_dict(state)`: an iterator, an object that is iterated anew in each epoch, as a loader is, or a function
    from the epoch, counted from 0, to an iterator. The methods may be those of the iterator, or of what it is made of.

    `next` is called in the thread that trains, after the step before and all hooks that are told of it, and before its
    own step. So it may use what is trained, as it is then, and what hooks set: an environment that the policy plays in,
    and a replay buffer that it fills, are exact. What it draws from the global streams of Python and NumPy is exact,
    too, as these are in the checkpoint.

    Attributes:
        given: The source.

    Args:
        source: The source. A batch is made of arrays, tensors, numbers and texts; tuples, lists and dicts of them. A
            state is made of JSON values, bytes, and NumPy arrays and numbers; lists, tuples and dicts of them.
        steps_per_epoch: After how many batches an epoch ends. An iterator goes on in the next one; of what is begun
            anew, the rest is left. If None, an epoch ends where the source does, and each batch is made right after
            the step before, to know whether that was the last one; it is then in the checkpoint.
        prefetch: How many batches are read before they are wanted, in another thread, while the compiled step runs; for
            sources that read nothing that is trained. The state is then taken at each batch, and that of the batch that
            was trained is saved. What is drawn from the streams of Python and NumPy is a function of the place.
        element_spec: What batches are like, a nest of `tf.TensorSpec`; if None, the first one is read to see, with any
            number of examples, and the source taken back by its state.

    Raises:
        TypeError: If it yields no batches or has no state, or one that cannot be saved.
        ValueError: If it is over at its beginning.
    """

    def __init__(
        self,
        source: Yields,
        *,
        steps_per_epoch: int | None = None,
        prefetch: int = 0,
        element_spec: Nest = None,
    ) -> None:
        for name, count, least in (("steps_per_epoch", steps_per_epoch, 1), ("prefetch", prefetch, 0)):
            if count is not None and operator.index(count) < least:
                raise ValueError(f"StatefulData({name}=...) must be at least {least}. Received: {count!r}.")
        self._iterated, self.given = Iterated(source), source
        self._tried = Tried(source, self._iterated)
        self._prefetch = prefetch
        self._reader: ReadAhead[ReadBatch] = ReadAhead(self._make, 1, prefetch)
        self._epoch = self._next = 0
        self._open = False
        self._at: int | None = None  # which batch the source yields next; None: it has to be taken there
        self._states: dict[int, Encoded] = {}  # before each batch that is wanted, or was read ahead
        self._late: Plain = None  # a state that was restored before hooks were, by which an iterator may be made
        self._failed: Exception | None = None  # what was raised when the batch that is wanted was read ahead
        self._found: list[Finding] | None = None
        if element_spec is None:
            batches, _ = self._tried.first(1, self._epoch)
            element_spec = spec_of(dict(enumerate(batches)), batched=True, size=None)
        super().__init__(element_spec, steps_per_epoch)
        self.repeats_itself = not self._iterated.endless
        MADE.add(self)

    def open(self, epoch: int) -> None:
        if self.seen:
            self.seen.reset()
        self._iterated.renew(epoch)
        self._epoch, self._next, self._open = epoch, 0, True
        self._late = self._wanted = self._failed = None
        self._begin_reading()
        if self.steps_per_epoch is None and not self._goes_on():
            raise ValueError(f"{self._iterated.name} yields nothing in epoch {epoch + 1}.")

    def _begin_reading(self) -> None:
        self._at, self._states = self._next, {}
        if self._prefetch:
            # The state before the first batch: what is saved before it is trained.
            self._states[self._next] = self._iterated.get()
            self._reader.begin(self._next, self.steps_per_epoch or ENDLESS)

    def close(self, *, complete: bool = True) -> None:
        self._open, self._late = False, None
        self._iterated.close()

    def _make(self, number: int) -> Making[ReadBatch]:
        """Reads a batch in another thread, or where it is to be read again."""
        # Batches behind this one were read, and are wanted anew: the source goes back.
        if self._at != number:
            self._iterated.put(self._states[number].decoded(), self._epoch, is_open=True)
        self._at = None  # if `next` raises, nobody knows where it is
        if self._reader.draws:
            key_streams(self._epoch, number)  # the reader puts them back
        part = self._part(number)
        # Taken at each batch, as nobody knows at which one a save will come. Costs a copy of the state.
        after = self._states[number + 1] = self._iterated.get()
        self._at = number + 1
        yield
        return part._replace(after=after)

    def _part(self, number: int) -> ReadBatch:
        batch = self._iterated.next()
        where = f"Batch {number} of {self._iterated.name}"
        return ReadBatch([as_batch(each, leaves_of(each, where), self.element_spec, where) for each in batch], None)

    def _goes_on(self) -> bool:
        """Makes the next batch, and returns whether there is one."""
        if self._late is not None:
            self._iterated.put(self._late, self._epoch, is_open=True)
            self._late = None
        part = self._reader.take(self._next) if self._prefetch else self._part(self._next)
        self._wanted = part.batch[0] if part.batch else None
        return bool(part.batch)

    def _fetch(self) -> Nest:
        if self._failed is not None:
            raise self._failed
        if not self._goes_on():
            done = self._next if not self._iterated.endless else f"{self._next} batches of epoch {self._epoch + 1}"
            raise ValueError(
                f"{self._iterated.name} is over after {done}, before the {self.steps_per_epoch} of an epoch. Let it go "
                "on, or leave out steps_per_epoch."
            )
        return self._wanted

    def _follows(self) -> bool:
        self._states.pop(self._next, None)  # that step is done: nobody goes back behind it
        self._next += 1
        if self.steps_per_epoch is not None:
            return self._next < self.steps_per_epoch
        try:
            return self._goes_on()
        except Exception as error:
            if not self._prefetch:  # where the source is now is not known
                raise
            self._failed = error  # the step before is done, and this one may never be wanted
            return True

    def meanwhile(self) -> contextlib.AbstractContextManager[object]:
        return self._reader.meanwhile()

    def cursor(self) -> dict[str, int]:
        return {"open": int(self._open)}

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self._epoch, self._next, self._open = place.epoch, place.step_in_epoch, bool(cursor["open"])
        self._wanted = self._failed = None
        return []

    def _saved(self) -> Plain:
        # Not where the source is, which has read ahead, but where training is.
        behind = self._states.get(self._next) if self._prefetch and self._open else None
        state = self._iterated.get() if behind is None else behind
        # It was made to know whether there is another, and cannot be made again: hooks may have changed weights.
        ahead = None if self._prefetch or self._wanted is None else [kept(t) for t in tf.nest.flatten(self._wanted)]
        return {"source": state.decoded(), "ahead": ahead}

    def _restored(self, state: Plain) -> None:
        self._failed = None
        self._iterated.put(state["source"], self._epoch, is_open=self._open)
        if self._open:
            self._begin_reading()
        if self._open and not self._iterated.endless:
            # It was made to see whether it takes the state. Another one is when a batch is wanted: by then, hooks and
            # variables have what they had, of which a level may be taken as it is made.
            self._late, self._at = (None if self._prefetch else state["source"]), None
        if state["ahead"] is not None:
            leaves = [tf.convert_to_tensor(taken(each)) for each in state["ahead"]]
            self._wanted = tf.nest.pack_sequence_as(self.element_spec, leaves)

    def digests(self) -> dict[str, str]:
        streams = {} if self._prefetch else {"random streams of Python and NumPy": digest(HostRandomness().serialize())}
        return {**super().digests(), **streams}

    def mark(self) -> Callable[[], None]:
        held = self._epoch, self._next, self._open
        state, ahead = Encoded(self._saved(), self._iterated.name), self._wanted

        def go_back() -> None:
            self._epoch, self._next, self._open = held
            self._restored(state.decoded())
            self._wanted = None if self._prefetch else ahead

        return go_back

    def findings(self, owner: str) -> list[Finding]:
        if self._found is None:
            self._found = self._look(owner)
        return [*self._found]

    def _look(self, owner: str) -> list[Finding]:
        found = []
        if not self._open and not self._tried.comes_again(self._epoch):
            what = f"{owner} yield something else, or go on from another state, when they are taken back to a state"
            again = f"{owner} yield something else when an epoch is begun again"
            endless = self._iterated.endless
            found.append(Finding(what if endless else again, "", AGAIN_FROM_STATE if endless else ITERATED_ANEW))
        if self._is_shared():
            found.append(Finding(f"{owner} come from an object that another loop or evaluation reads, too", "", OWN))
        if self._prefetch:
            what = f"{owner} may depend on a variable that a step changes, and are read ahead"
            found += [Read(what, "", READS_AHEAD, variable) for variable in self._tried.reached()]
        return found

    def _is_shared(self) -> bool:
        """Returns whether something else that is in use reads the same object, and so moves it on."""
        if not isinstance(self.given, Iterable):
            return False  # it makes an iterator each time
        others = [each for each in MADE if each is not self and each.taken and each.given is self.given]
        if others:
            del others
            gc.collect()  # of a loop that is gone, they may be left
        return any(each is not self and each.taken and each.given is self.given for each in MADE)

    def describe(self) -> dict[str, object]:
        return {
            "kind": "StatefulData",
            "source": self._iterated.name,
            "steps_per_epoch": self.steps_per_epoch,
            "read ahead": self._prefetch > 0,
            "element_spec": str(self.element_spec),
        }
