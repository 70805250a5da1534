"""Items that are found by their numbers, in an order of our own."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.data.fed import Fed
from loop.data.objects.progress import BetweenPasses, generators_of
from loop.data.objects.reached import variables_reached
from loop.data.orders.order import order_of
from loop.data.orders.seed import Seed
from loop.data.python.ahead import Making, ReadAhead
from loop.data.python.indexable import INDEXED, Source, check_length, size_of_batches
from loop.data.python.item_batches import Items, short
from loop.data.python.item_rows import ItemRows
from loop.data.python.items import spec_of
from loop.errors.calls import explained
from loop.errors.remedies import ITEM_DRAWS, READS_AHEAD, SOURCE_STATE
from loop.exact.pipeline_audit import Read
from loop.findings import Finding
from loop.state.plain import Encoded, Plain
from loop.state.position import Position
from loop.state.resumable import Earlier
from loop.tensors import Nest
from loop.workers.rows import Count, OwnRows

ROUNDS = 4  # so often are items read again before the first step: what is drawn may be one bit


@explained(INDEXED)
class IndexedData(Fed):
    """Anything with `len` and `[i]`: a list, a `keras.utils.PyDataset`, a map-style dataset of Grain or PyTorch, a
    memory-mapped array.

    Epoch e visits the items in the order of a permutation that depends on (seed, e) alone, the same as that of
    `ArrayData`; so going back to any step reads nothing again. What an item draws from the global streams of Python and
    NumPy is a function of (seed, e, i), and leaves these streams as they are. It is read in the thread that trains, or
    in others while that is in the compiled step. `on_epoch_begin` and `on_epoch_end` are called, if there are any, but
    not for an evaluation, whose data are the same each time; what they change of the source's attributes is saved.

    Args:
        source: The source. Arrays, tensors, numbers and texts make an item; tuples, lists and dicts of them. Python's
            numbers become float32, or `keras.config.floatx()`, and int64.
        batch_size: Items in a batch; None if each item is a batch already, as those of a `PyDataset` are.
        seed: Any integer; its lowest 64 bits count. If None, a loop draws one from Python's `random`, and saves it with
            each checkpoint; an evaluation takes 0.
        shuffle: Whether to permute the items in each epoch.
        drop_remainder: Whether to leave out the last batch of an epoch if it is smaller.
        workers: How many threads read items at the same time, if the source can be read so; 1 if an item is seen to
            draw from global streams.
        prefetch: How many batches are read at most before they are wanted; with 0, all are read by the thread that
            trains.
        element_spec: What batches are like, a nest of `tf.TensorSpec`, if that cannot be told by some of them.

    Raises:
        TypeError: If it has no length or items, or an item is nothing that arrays can be made of.
        ValueError: If there are no items, or they differ from one another, or no batch can be made.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int | None,
        seed: int | None = None,
        shuffle: bool = True,
        drop_remainder: bool = False,
        workers: int = 1,
        prefetch: int = 2,
        element_spec: Nest = None,
    ) -> None:
        self._size = size_of_batches(source, batch_size, workers, prefetch, drop_remainder=drop_remainder)
        self._source, self._batched, self._shuffle = source, batch_size is None, shuffle
        self._drops, self._given_spec = drop_remainder, element_spec
        self._seed = Seed("IndexedData", seed, shuffles=shuffle)
        self._progress = BetweenPasses(source, lambda: self._seed.value)
        self._reader: ReadAhead[Nest] = ReadAhead(self._make, workers, prefetch)
        self._order = np.zeros([0], np.int32)  # [items], of the open pass
        self._epoch, self._next, self._open = 0, 0, False  # of the batch that is wanted
        self._sought = self._evaluates = False
        self.own: OwnRows | None = None  # of several workers: the items that are read of each batch
        self._found: list[Finding] | None = None
        self._generators: Mapping[tuple[str, ...], object] = {}
        self._items = Items(source, batched=self._batched)
        self._rows = ItemRows(source, self._items)
        super().__init__(*self._look_at_items())
        self.reads_ahead = prefetch > 0
        self._tried_now: list[str] | None = None  # in this pass, if somebody wants to know

    def _look_at_items(self) -> tuple[Nest, int]:
        """Returns what batches are like, and how many there are in a pass."""
        self._count = len(self._source)
        self._even = self._drops or self._count % self._size == 0
        # Reads some items, for a second at most; what they draw is undone.
        samples = self._items.sample()
        self._reader.draws = self._items.draw
        spec = self._given_spec
        if spec is None:
            spec = spec_of(samples, batched=self._batched, size=self._size if self._even else None)
        return spec, self._count // self._size + (0 if self._even else 1)

    def _make(self, number: int) -> Making[Nest]:
        """Makes a batch, with a yield after each item."""
        numbers = self._order[number * self._size : (number + 1) * self._size].tolist()
        if self.own is not None:
            numbers = numbers[slice(*self.own.bounds(len(numbers)))]
        # Without a key, an item costs 15 us less.
        key = (self._seed.value, self._epoch) if self._reader.draws else None
        return self._items.batch(numbers, self.feed_spec()[1], key)

    def draw(self) -> None:
        """Draws a seed that was not given, if there is none yet. A loop does so with its data when it is made."""
        self._seed.draw()

    def fix_seed(self) -> None:
        """Makes the data of an evaluation of these: each pass is as the first one, and nothing is saved."""
        self._seed.put(0)
        self._evaluates = True

    def open(self, epoch: int) -> None:
        if self.seen:
            self.seen.reset()
        if not self._evaluates:
            self._progress.begin(epoch)
            self._tried_now = None  # what was saved between the two passes had the items as they were
            self._generators = generators_of(self._source)
        check_length(self._source, self._count, epoch)
        self._epoch, self._next, self._open, self._wanted = epoch, 0, True, None
        self._begin_order()

    def _order_in(self, epoch: int) -> np.ndarray:
        with tf.device("CPU"):  # Python wants it
            return order_of(
                self._count, tf.constant([self._seed.value, epoch], tf.int64), shuffled=self._shuffle
            ).numpy()

    def _begin_order(self) -> None:
        self._order = self._order_in(self._epoch)
        self._reader.begin(self._next, self.steps_per_epoch or 0)
        self._sought = False

    def read_apart(self, own: OwnRows) -> None:
        """Has only the items of one of several workers be read; of whole batches, all of a batch have to be."""
        self.own = None if self._batched or self.seen is not None else own

    @property
    def of_batches(self) -> bool:
        """Whether each item of the source is a batch, so that all workers read all of it."""
        return self._batched

    def size_at(self, index: tf.Tensor) -> Count:
        """Returns how many items batch `index` of a pass has, int32 `[]`."""
        return self._size if self._even else tf.minimum(self._count - index * self._size, self._size)

    def feed_spec(self) -> tuple[Nest, Nest]:
        return (), self.element_spec if self.own is None else self.own.spec(self.element_spec)

    def rows(self, epoch: int, index: int) -> list[int]:
        """Returns the numbers of the items, or of a source of whole batches the batch, in batch `index` of an epoch."""
        return self._order_in(epoch)[index * self._size : (index + 1) * self._size].tolist()

    def close(self, *, complete: bool = True) -> None:
        self._open = False
        if not self._evaluates:
            # Before `end`, which may draw: that is kept, and no fault of the items.
            drawn = self._own_draws()
            self._progress.end(self._epoch)
            self._generators = self._generators if drawn else generators_of(self._source)
            self._tried_now = None

    def _fetch(self) -> Nest:
        # After a resume, or a step back: only now, as a finished run needs no order.
        if self._sought:
            self._begin_order()
        return self._reader.take(self._next)

    def _follows(self) -> bool:
        self._next += 1
        return self._next < (self.steps_per_epoch or 0)

    def take_back(self, count: int) -> None:
        self._next -= count
        self._wanted = None
        self._reader.begin(self._next, self.steps_per_epoch or 0)

    def meanwhile(self) -> contextlib.AbstractContextManager[object]:
        return self._reader.meanwhile()

    def cursor(self) -> dict[str, int]:
        return {**self.drawn(), "seed": self._seed.value, "open": int(self._open)}

    def drawn(self) -> dict[str, int]:
        return {**self._rows.cursor(), **self._seed.noted()}

    def in_memory(self) -> Sequence[tf.Tensor]:
        return self._rows.tensors()

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        self._seed.recall(cursor, earlier)
        self._rows.recall(cursor, earlier, changes=self._progress.changes and not self._evaluates)

    @property
    def count(self) -> int:
        """How many items there are."""
        return self._count

    def recall_count(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        """Takes the rows that there were when the run began, if they were more or fewer; before anything is traced."""

        def look() -> None:
            self.element_spec, self.steps_per_epoch = self._look_at_items()

        self._rows.recall_count(cursor, earlier, look)

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self._seed.put(cursor["seed"])
        self._epoch, self._next, self._open = place.epoch, place.step_in_epoch, bool(cursor["open"])
        self._sought, self._wanted, self._tried_now = True, None, None
        return []

    def _saved(self) -> Plain:
        if not self._progress.changes:
            return None
        # Once in a pass, since nothing changes within it: eight items are read for that.
        self._tried_now = self._tried_now or self._items.digests()
        return {"source": self._progress.get(), "items": self._tried_now}

    def _restored(self, state: Plain) -> None:
        if state is not None and self._progress.changes:
            # With the state put in, items have to be what they were at the save.
            held = Encoded(state["source"], type(self._source).__name__)
            self._rows.as_saved(state["items"], lambda: self._progress.put(held.decoded()))  # what was put may change
            self._generators, self._tried_now = generators_of(self._source), state["items"]

    def mark(self) -> Callable[[], None]:
        held = self._epoch, self._next, self._open, self._wanted
        back = self._progress.mark() if self._progress.changes else None
        rows, seed = self._rows.mark(), self._seed.mark()

        def go_back() -> None:
            rows()
            seed()
            self._epoch, self._next, self._open, self._wanted = held
            self._sought, self._tried_now = True, None
            if back is not None:
                back()
                self._generators = generators_of(self._source)

        return go_back

    def findings(self, owner: str) -> list[Finding]:
        if self._found is None:
            self._found = self._look(owner)
            self._generators = generators_of(self._source)
        elif self._progress.lost and not self._found:  # by a pass that does more than the trial did
            self._found += self._not_kept(owner)
        elif self._own_draws():  # by an item that was not among those that were tried
            self._found.append(Finding(f"{owner} draw from a generator that the source holds", "", ITEM_DRAWS))
        return [*self._found]

    def _look(self, owner: str) -> list[Finding]:
        found = []
        if not self._evaluates:
            self._progress.try_out()
        self._generators = generators_of(self._source)
        read_again = [self._items.digests() != self._items.first for _ in range(ROUNDS)]
        if self._progress.lost:  # and so, perhaps, they yield other items
            found += self._not_kept(owner)
        elif any(read_again) or self._own_draws():
            found.append(Finding(f"{owner} yield other items when they are read again", "", ITEM_DRAWS))
        if self.reads_ahead:
            what = f"{owner} may depend on a variable that a step changes, and are read ahead"
            roots = [self._source, self._source.__getitem__]
            found += [Read(what, "", READS_AHEAD, variable) for variable in variables_reached(roots)]
        return found

    def _not_kept(self, owner: str) -> list[Finding]:
        what = f"{owner} change, from pass to pass, what no checkpoint holds: {', '.join(self._progress.lost)}"
        return [Finding(what, "", SOURCE_STATE)]

    def _own_draws(self) -> bool:
        """Returns whether a generator of the source has moved since, other than between passes."""
        return generators_of(self._source) != self._generators

    def describe(self) -> dict[str, object]:
        return {
            "kind": "IndexedData",
            "items": self._count,
            "batch_size": None if self._batched else self._size,
            "seed": self._seed.given,
            "shuffle": self._shuffle,
            "steps_per_epoch": self.steps_per_epoch,
            "element_spec": str(self.element_spec),
            **({} if self._progress.changes else {"content": short(self._items.first)}),
        }
