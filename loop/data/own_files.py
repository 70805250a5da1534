"""A stream of which each of several workers reads files of its own."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from loop.data.orders.pool import Pool
from loop.data.pipelines.iterators import state_of
from loop.data.pipelines.shares import SHARES
from loop.data.stream import StreamData
from loop.digest import BatchDigest
from loop.findings import Finding
from loop.state.position import Position
from loop.state.resumable import Earlier
from loop.tensors import Nest, examples
from loop.tf_internals import Tensors, Trackable, restore_iterator, save_below
from loop.workers.cluster import Workers
from loop.workers.rows import no_rows, none_of, of_any_rows

NO_ELEMENT = "The dataset of epoch {} has no element: none of the {} workers finds any in its files."
NUMBER = (
    "StreamData(shard='files') needs batches of which all parts have rows, because each worker has others. Received: "
    "{}. Give it a first dimension, as in dataset.batch(n)."
)


class OwnFiles(Trackable):
    """Batches of a `StreamData(shard="files")` of several workers. What all of them read is one batch together.

    Files are not equally long. Whoever has read all of its own goes on with batches of no rows until all have, so that
    all run the same steps, and nothing is left out. A batch is read one step early, and all say how many rows they have
    found; the sum is what gradients and values are weighted with.

    Attributes:
        shard: What only this worker has of the data in a checkpoint.

    Args:
        stream: Yields what this worker reads.
        workers: All of them.

    Raises:
        ValueError: If a part of a batch is a number.
    """

    def __init__(self, stream: StreamData, workers: Workers) -> None:
        specs = tf.nest.flatten(stream.element_spec)
        if numbers := [str(spec) for spec in specs if spec.shape.rank == 0]:
            raise ValueError(NUMBER.format(numbers[0]))
        self._stream, self._workers = stream, workers
        self.element_spec = of_any_rows(stream.element_spec)
        self.steps_per_epoch = stream.steps_per_epoch if stream.endless else None
        self.ahead: Nest = ()  # the next batch; whether it is read, how many workers have read one, and their rows
        self.variables: Sequence[tf.Variable] = ()
        self.seen: BatchDigest | None = None
        self.repeats_itself, self.taken = stream.repeats_itself, True
        self.shard = Shard(self, workers.rank, workers.count)
        save_below(self, str(workers.rank), self.shard)  # its path is `data/<rank>`

    @property
    def source(self) -> tf.data.Iterator | None:
        """The iterator; None between passes."""
        return self._stream.source

    def digested(self) -> BatchDigest:
        """Returns a digest of what all workers see, which is the same in all."""
        # The sum of what all have seen: each sees other rows, and all have to note the same.
        return BatchDigest(lambda digest: self._workers.collective.sum([digest], on_host=True)[0])

    def pool_rows(self, pool: Pool) -> None:
        self._stream.pool_rows(pool)

    def fix_seed(self) -> None:
        """Takes 0 for a seed that was not given. For evaluations, of whose data nothing is saved."""
        self._stream.fix_seed()

    def open(self, epoch: int) -> None:
        goes_on = self.source is not None and self._stream.endless
        self._stream.open(epoch)
        if goes_on or self.source is None:  # the next batch is at hand
            return
        if self.seen:
            self.seen.reset()
        first = self.source.get_next_as_optional()
        has = bool(first.has_value())  # sync: waits for the first batch
        batch = first.get_value() if has else none_of(self.element_spec)
        rows = int(examples(batch))
        # int [workers, 2]; all wait here for the slowest to read its first batch.
        found = self._workers.exchange(has, rows, at="how many rows all begin a pass with").sum(axis=0)
        if not found[0]:
            raise ValueError(NO_ELEMENT.format(epoch + 1, self._workers.count))
        self.ahead = batch, tf.constant([int(has), *map(int, found)])  # int32 [3]

    def close(self, *, complete: bool = True) -> None:
        self._stream.close(complete=complete)
        if self.source is None:
            self.ahead = ()

    def dataset(self) -> tf.data.Dataset | None:
        return self._stream.dataset()

    def feed_spec(self) -> tuple[Nest, Nest]:
        return tf.data.IteratorSpec(self._stream.element_spec), (self.element_spec, tf.TensorSpec([3], tf.int32))

    def more(self, ahead: Nest) -> tf.Tensor:
        # As long as anybody has a batch: who has none trains on no rows, and is not missed in a collective.
        return ahead[1][1] > 0

    def batch(self, source: Nest, ahead: Nest) -> Nest:
        return ahead[0]

    def rows_of_all(self, ahead: Nest) -> tf.Tensor:
        """Returns how many rows the next batch has in all workers together: int32 `[]`."""
        return ahead[1][2]

    def advance(self, source: Nest, ahead: Nest, index: tf.Tensor) -> Nest:
        batch, found = ahead

        def none() -> list[tf.Tensor]:
            return [tf.constant([0, 0]), *_flat(no_rows(batch))]

        def some(found: tf.experimental.Optional) -> list[tf.Tensor]:
            read = found.get_value()
            return [tf.stack([1, examples(read)]), *_flat(read)]

        def read() -> list[tf.Tensor]:
            optional = source.get_next_as_optional()
            return tf.cond(optional.has_value(), lambda: some(optional), none)

        said, *flat = tf.cond(found[0] > 0, read, none)  # what is over is not asked again
        # All workers get here in each step, also those that are over, or the others would wait for ever.
        (of_all,) = self._workers.collective.sum([tf.ensure_shape(said, [2])], on_host=True)
        return self._packed(flat), tf.concat([said[:1], of_all], axis=0)

    def _packed(self, flat: Sequence[tf.Tensor]) -> Nest:
        return tf.nest.pack_sequence_as(self.element_spec, flat, expand_composites=True)

    def cursor(self) -> dict[str, int]:
        return {**self._stream.cursor(), SHARES: self._workers.count}

    def drawn(self) -> dict[str, int]:
        return self._stream.drawn()

    def in_memory(self) -> Sequence[tf.Tensor]:
        return self._stream.in_memory()

    def recall(self, cursor: Mapping[str, int], earlier: Earlier) -> None:
        self._stream.recall(cursor, earlier)

    def goes_by(self) -> Sequence[tf.Variable]:
        """Returns what that of the stream does."""
        return self._stream.goes_by()

    def seek(self, place: Position, cursor: Mapping[str, int]) -> list[str]:
        self.ahead = none_of(self.element_spec), tf.zeros([3], tf.int32)  # TensorFlow asks what to restore
        return self._stream.seek(place, cursor)

    def mark(self) -> Callable[[], None]:
        ahead, stream = self.ahead, self._stream.mark()

        def go_back() -> None:
            self.ahead = ahead
            stream()

        return go_back

    def changes(self) -> list[str]:
        return [f"files: those of worker {self.shard.rank} of {self.shard.count}", *self._stream.changes()]

    def findings(self, owner: str) -> list[Finding]:
        return self._stream.findings(owner)

    def describe(self) -> dict[str, object]:
        return self._stream.describe()

    def held(self) -> Tensors:
        """Returns what a checkpoint has to hold of this worker."""
        if self.source is None:
            return {}
        batch, found = self.ahead
        ahead = {f"ahead_{i}": tensor for i, tensor in enumerate(_flat(batch))}
        return {"iterator": state_of(self.source), "found": found, **ahead}

    def take(self, held: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
        """Takes that over, where the pass is open."""
        if self.source is None:
            return []
        count = len(_flat(self.element_spec))
        self.ahead = self._packed([held[f"ahead_{i}"] for i in range(count)]), held["found"]
        return restore_iterator(self.source, held["iterator"])


class Shard(Trackable):
    """What only one worker has of the data: where it is in its own files.

    Attributes:
        rank: The number of the worker.
        count: How many there are.

    Args:
        data: Its data.
        rank: As above.
        count: As above.
    """

    def __init__(self, data: OwnFiles, rank: int, count: int) -> None:
        self.rank, self.count, self._data = rank, count, data

    # TensorFlow's protocol for objects that a checkpoint saves.

    def _serialize_to_tensors(self) -> Tensors:
        return self._data.held()

    def _restore_from_tensors(self, state: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
        return self._data.take(state)


def _flat(nest: Nest) -> list[tf.Tensor]:
    return tf.nest.flatten(nest, expand_composites=True)
