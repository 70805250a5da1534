"""Batches from a `tf.data` pipeline."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import tensorflow as tf

from loop.data.fetched import AGAIN, ENDED, PENDING, Fetched
from loop.data.orders.arguments import is_drawn, is_taken_back
from loop.data.pipelines.epochs import AROUND, LATE, VECTOR, EpochDatasets
from loop.data.pipelines.errors import InLinesOf
from loop.data.pipelines.iterators import begun, state_of
from loop.data.pipelines.of_epoch import check_length
from loop.data.pipelines.replay import read_again
from loop.data.pipelines.shares import check_count, check_shared, share_of
from loop.digest import BatchDigest
from loop.errors.calls import BY_POSITION, explained
from loop.errors.kinds import shown
from loop.exact.pipeline import UNKNOWN
from loop.findings import Finding
from loop.state.position import Position
from loop.state.resumable import Earlier, Unlike
from loop.tensors import Nest, text_of
from loop.tf_internals import Trackable, restore_iterator
from loop.workers.cluster import here

PIPELINES = {
    BY_POSITION: "write StreamData(dataset)",
    **dict.fromkeys(("shuffle", "seed"), "write dataset.shuffle(1000, seed=1)"),
    "batch_size": "write dataset.batch(32)",
}
OWN = "StreamData"
Sought: TypeAlias = tuple[Position, Mapping[str, int]]
SHARED = (
    "The generators of the data change {}, and so does something else, such as a hook: the pass cannot be read again "
    "from its beginning. Give each its own, or let StatefulData(source) yield the batches, as of a replay buffer."
)
BLOCK = "data: a hook had halted within a block of batches that jit_compile=True had read; the rest of it is left out"


@explained(PIPELINES)
class StreamData(Trackable):
    """A `tf.data.Dataset`, read anew in each epoch, or one made for each epoch by a function of its number.

    If the number of batches is not known beforehand, each batch is fetched one step early, so that the last step of an
    epoch is known for what it is.

    A dataset that shuffles, draws random numbers or calls Python is made anew for each epoch, so that all this depends
    on a seed and on the epoch alone: where the user gave seeds, its order is TensorFlow's own; what has none gets one
    that is drawn when the run begins, and saved. See `describe_data`.

    Args:
        dataset: A batched dataset, or a function from the epoch, counted from 0, to one. Use a fresh dataset object for
            each loop. A function has to put the epoch into the seeds that it gives: `shuffle(1000, seed=epoch)`.
        resume: How to come back to mid-epoch. "state" saves the iterator: any position at the same cost; what lies in
            shuffle and prefetch buffers is saved too. "replay" reads the epoch again and skips what was seen: for
            generators and Python functions, which cannot be saved; exact if they yield the same again. None: "state",
            unless there is something that cannot be saved.
        steps_per_epoch: Cuts one endless stream, `dataset.repeat()`, into epochs of that many batches. With a function,
            takes at most that many of each epoch's dataset.
        shard: "files": each of several workers reads files of its own, and `batch(n)` in the dataset makes batches of n
            rows for each of them. None: each reads all, and trains on its own rows of every batch.

    Raises:
        TypeError: If it is neither a dataset nor a function that returns one.
        ValueError: If the dataset is empty, or has no end and `steps_per_epoch` is not given, or cannot be resumed
            exactly; when the first epoch begins, if its iterator cannot be saved.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset | Callable[[int], tf.data.Dataset],
        *,
        resume: Literal["state", "replay"] | None = None,
        steps_per_epoch: int | None = None,
        shard: Literal["files"] | None = None,
    ) -> None:
        if resume not in (None, "state", "replay"):
            raise ValueError(f"StreamData(resume=...) must be 'state' or 'replay'. Received: {shown(resume)}.")
        steps_per_epoch = None if steps_per_epoch is None else operator.index(steps_per_epoch)
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"StreamData(steps_per_epoch=...) must be at least 1. Received: {steps_per_epoch!r}.")
        saved = None if resume is None else resume == "state"
        self._source = EpochDatasets(dataset, steps_per_epoch, saved=saved, share=share_of(shard, here()))
        self.element_spec = self._source.element_spec
        check_length(self._source.cardinality, steps_per_epoch)
        self.pool_rows = self._source.pool_rows  # see `Passes`
        self.endless, self._steps = self._source.endless, steps_per_epoch
        self.share, self._resume = self._source.share, "state" if self._source.saved else "replay"
        check_shared(self.share, varies=self._source.varies, steps=steps_per_epoch, saved=self._source.saved)
        self.steps_per_epoch = steps_per_epoch if self.endless else self._length()
        self.source: Nest = None  # the iterator; None between passes
        self.ahead: Nest = ()
        self.fetched, self.in_blocks = Fetched(), False  # what comes before that; whether it is read so
        self.variables: tuple[tf.Variable, ...] = ()
        self._passes, self._epoch = 0, 0  # how many were begun; of which epoch the open one is, or the next will be
        self.repeats_itself, self.taken = not self.endless, False
        self.seen: BatchDigest | None = BatchDigest() if self._resume == "replay" else None
        self._can_be_saved = False  # seen at the beginning of the first pass
        self._sought: Sought | None = None
        self._read_anew = False  # in the place of the iterator that a checkpoint has

    def _length(self) -> int | None:
        known = not self._source.varies and self._source.cardinality != UNKNOWN
        return self._source.cardinality if known else None

    def fix_seed(self) -> None:
        """Takes 0 for a seed that was not given. For evaluations, of whose data nothing is saved."""
        self._source.fix_seed()

    def open(self, epoch: int) -> None:
        if self.source is None or not self.endless:  # an endless one goes on
            self._begin(self._dataset(epoch), epoch)

    @property
    def reads_next(self) -> bool:
        """Whether a batch is read before it is wanted, to know whether there is one."""
        return self.steps_per_epoch is None and self.share is None

    def close(self, *, complete: bool = True) -> None:
        if not self.endless:
            self.source, self.fetched = None, Fetched()
            self._epoch += 1
            self._source.ended(int(self.seen.digest) if complete and self.seen and self._resume == "replay" else None)

    def cursor(self) -> dict[str, int]:
        digest = {"seen": int(self.seen.digest)} if self.seen and self._resume == "replay" else {}
        return {
            **{"passes": self._passes, "open": int(self.source is not None)},
            **digest,
            **self._drawn_steps(),
            **(self.fetched.cursor(lambda: bool(self.more(self.ahead))) if self._resume == "state" else {}),
            **self._source.cursor(self._epoch),
        }

    def _drawn_steps(self) -> dict[str, int]:
        return {"steps": self._steps} if self.endless and self._steps and is_drawn(OWN, "steps_per_epoch") else {}

    def drawn(self) -> dict[str, int]:
        return self._source.drawn()

    def in_memory(self) -> Sequence[tf.Tensor]:
        return self._source.in_memory()

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        check_count(cursor, self.share)
        self._source.recall(cursor, earlier)
        then = cursor.get("steps", self._steps)
        if self.endless and self._steps and then and is_taken_back(OWN, "steps_per_epoch", then, self._steps, earlier):
            self._steps = self.steps_per_epoch = then
        elif not self.endless:
            self.steps_per_epoch = self._length()

    def goes_by(self) -> Sequence[tf.Variable]:
        """Returns the variables that have to have their saved values before `seek`."""
        return self._source.goes_by()

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self.source, self.fetched = None, Fetched()
        self._epoch, self._passes = cursor.get("epoch", place.epoch), cursor["passes"] - cursor["open"]
        self._sought = (place, cursor) if AROUND in cursor else None  # first, what Python has changed has to be there
        return [] if self._sought else self._arrive(place, cursor)

    def _arrive(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        wrong = self._source.resume_from(self._epoch, cursor)
        if cursor["open"]:
            seen, dataset = place.step if self.endless else place.step_in_epoch, self._dataset(place.epoch)
            # An iterator of an earlier version has rows, or a buffer of their numbers.
            if self._source.reads_late and cursor.get(LATE) != VECTOR:
                cursor = {AGAIN: 1} | {name: note for name, note in cursor.items() if name not in (PENDING, ENDED)}
            self._read_anew = AGAIN in cursor
            self._begin(dataset, place.epoch, skip=seen if self._resume == "replay" or self._read_anew else 0)
            if ENDED in cursor:
                self.ahead = tf.experimental.Optional.empty(self.element_spec)
            if PENDING in cursor and not self.in_blocks:
                wrong = [*wrong, BLOCK]
            elif PENDING in cursor:
                self.fetched = Fetched.noted(cursor, self.element_spec)
        if self.seen and cursor["open"] and cursor.get("seen", 0) != int(self.seen.digest):
            self._source.forget()
            return [
                f"data: read again, the first {seen} batches of the pass are not those that the run saw. What the "
                "dataset reads has changed, or its random numbers have no seed of the epoch, or it reads a set: sort it"
            ]
        return wrong

    def _read_once_more(self, state: Mapping[str, tf.Tensor], sought: Sought, names: list[str]) -> None:
        """Sees what is other each time that the pass is read, as what comes of a clock, and lets that be as saved."""
        first = self._source.around.now(names)
        self.source, self._passes = None, self._passes - 1
        self._source.take(state)
        self._arrive(*sought)
        again = self._source.around.now(names)
        if same := [name for name in names if first.get(name) == again.get(name)]:
            raise Unlike(SHARED.format(", ".join(same)))
        self._source.around.put_saved(names)

    def mark(self) -> Callable[[], None]:
        held, source = dict(vars(self)), self._source.mark()

        def go_back() -> None:
            self.__dict__.update(held)
            source()

        return go_back

    def _dataset(self, epoch: int) -> tf.data.Dataset:
        dataset, self._epoch, self._sought = self._source.dataset(epoch), epoch, None
        return dataset

    def _begin(self, dataset: tf.data.Dataset, epoch: int, skip: int = 0) -> None:
        with InLinesOf(dataset):
            self._iterate(dataset, epoch, skip)

    def _iterate(self, dataset: tf.data.Dataset, epoch: int, skip: int) -> None:
        self.source, self.fetched = begun(dataset), Fetched()
        before, self._passes = self._passes, self._passes + 1
        if self.seen and not (self.endless and before):  # a stream has one digest, over all epochs
            self.seen.reset()
        seen = self.seen if self._resume == "replay" else None
        if skip and not read_again(self.source, skip, seen or BatchDigest()):  # costs as much as the first time
            raise ValueError(f"The dataset of epoch {epoch + 1} ends before the {skip} batches that the run saw of it.")
        if self._resume == "state" and not self._can_be_saved:
            state_of(self.source)  # better refused now than at the first save
            self._can_be_saved = True
        if self.reads_next:
            try:
                self.ahead = self.source.get_next_as_optional()
            except tf.errors.OpError as error:
                if not (skip and self.in_blocks):
                    raise
                self.fetched = Fetched(failed=error)
                return
            if not self.ahead.has_value():  # sync: waits for the first batch
                after = f" after {skip} skipped batches, where the run was" if skip else ""
                raise ValueError(f"The dataset of epoch {epoch + 1} has no element{after}.")

    def changes(self) -> list[str]:
        return self._source.made_otherwise()

    def findings(self, owner: str) -> list[Finding]:
        return self._source.findings(owner)

    def describe(self) -> dict[str, object]:
        return {
            "kind": "StreamData",
            "resume": self._resume,
            "cardinality": self._source.cardinality,
            "steps_per_epoch": self._steps,
            "element_spec": text_of(self.element_spec),
            **self._source.describe(),
        }

    def dataset(self) -> tf.data.Dataset | None:
        return self._source.iterated

    def feed_spec(self) -> tuple[Nest, Nest]:
        ahead = tf.OptionalSpec(self.element_spec) if self.steps_per_epoch is None else ()
        return tf.data.IteratorSpec(self.element_spec), ahead

    def more(self, ahead: Nest) -> tf.Tensor:
        return ahead.has_value() if self.steps_per_epoch is None else tf.constant(True)

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        return ahead.get_value() if self.steps_per_epoch is None else source.get_next()

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        return source.get_next_as_optional() if self.steps_per_epoch is None else ahead

    # TensorFlow's protocol for objects that a checkpoint saves; the iterator is there in mid-epoch only.

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        if self._resume == "replay":  # the notes are enough, but for what Python has changed
            return self._source.kept() if self._sought or self._source.around.changes else {}
        if self.fetched.failed is not None:  # the iterator is behind what could not be read: see `AGAIN`
            return {}
        state = {}
        if self.source is not None:
            state["iterator"] = state_of(self.source)
            if self.reads_next and self.more(self.ahead):
                # The batch that was fetched early is in no iterator any more.
                ahead = tf.nest.flatten(self.ahead.get_value(), expand_composites=True)
                state |= {f"ahead_{i}": tensor for i, tensor in enumerate(ahead)}
            state |= self.fetched.tensors()
        return state

    def _restore_from_tensors(self, state: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
        if self._sought is not None:
            self._source.take(state)
            sought = _, cursor = self._sought
            if wrong := self._arrive(*sought):
                raise Unlike("\n".join(wrong))
            if cursor["open"] and not self.in_blocks and (names := self._source.around.changed_by_others()):
                self._read_once_more(state, sought, names)
        if self.source is None or self._resume == "replay" or self._read_anew:
            return []
        self.fetched = self.fetched.restored(state)
        if self.reads_next and self.more(self.ahead):
            ahead = [state[f"ahead_{i}"] for i in range(sum(name.startswith("ahead_") for name in state))]
            element = tf.nest.pack_sequence_as(self.element_spec, ahead, expand_composites=True)
            self.ahead = tf.experimental.Optional.from_value(element)
        return restore_iterator(self.source, state["iterator"])
