"""Rows of arrays that are shuffled by their numbers, and read when their turn comes.

As it is written, `from_tensor_slices(images).shuffle(60_000)` moves each image into a buffer and out of it, and a
checkpoint in mid-epoch holds the buffer, so all images, each of which takes TensorFlow 15 us besides. The order is the
same if numbers of rows are shuffled, and the rows read behind that, many at once. What a large buffer yields is one
tensor, which is made when a pass begins (`shuffled.py`), and is all that a checkpoint has of it.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from loop.rebuilt.shuffled import ALL_IN_ONE
from loop.tensors import Nest, unconverted
from loop.tf_internals import batch_of, buffer_of, cache_file, inputs_of, kind_of, range_of, read_by, tensors_of

ROWS = "late.rows"  # is in the names of operations that were not written
MOVING = ("Shuffle", "ShuffleAndRepeat", "Repeat", "Take", "Skip", "Shard", "Prefetch", "Options")  # look at no element
SHUFFLES, BATCHES = ("Shuffle", "ShuffleAndRepeat"), ("Batch", "ParallelBatch")
LARGE = 1 / 8  # of the rows: a buffer takes as long to be saved as the order of all, and is filled in a part of it
LONGEST = 2**20  # numbers of a range that are rows
EACH, LEAST = 230, 2**22  # bytes that TensorFlow saves besides each row; in all, or to begin a pass costs more
BATCHES_AT_ONCE = 64
MANY, BYTES, PARTS = 64, 2**20, 32  # a checkpoint may hold a few times the rows that are read at once: see `_many`
PLAIN = (tf.bool, tf.uint8, tf.int8, tf.uint16, tf.int16, tf.uint32, tf.int32, tf.uint64, tf.int64, tf.string) + (
    tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.complex64, tf.complex128,
)  # fmt: skip


class LateRows(NamedTuple):
    """Stages that move rows of arrays, and shuffle them.

    Attributes:
        slices: The stage that yields the rows.
        moving: The stages, from there on.
        batch: What makes batches of what the last of them yields; None: something else reads that.
    """

    slices: tf.data.Dataset
    moving: Sequence[tf.data.Dataset]
    batch: tf.data.Dataset | None

    def reads_all(self, stage: tf.data.Dataset, given: tf.data.Dataset) -> bool:
        """Returns whether all that a stage yields is to be read at once: of the last one that shuffles, if it is known.

        To read all that is behind a small buffer may take long before the first batch is there.

        Args:
            stage: The stage.
            given: What stands in its place, by which it is decided: as in the process that began the run.
        """
        if kind_of(stage) != "Shuffle" or stage is not [each for each in self.moving if kind_of(each) in SHUFFLES][-1]:
            return False
        return self.knows_count(stage) and not 0 <= buffer_of(given) < LARGE * _count(_rows_of(self.slices))

    def knows_count(self, stage: tf.data.Dataset) -> bool:
        """Returns whether a pass that is made anew knows how much a stage yields: not behind what repeats orders."""
        kinds = [kind_of(each) for each in self.moving[: self.moving.index(stage) + 1]]
        orders = kinds[next((i for i, kind in enumerate(kinds) if kind in SHUFFLES), len(kinds)) :]
        with tf.init_scope():
            return not any("Repeat" in kind for kind in orders) and int(stage.cardinality()) >= 0


def late_rows(
    stage: tf.data.Dataset, changed: Collection[int], moved: Mapping[int, tf.data.Dataset]
) -> LateRows | None:
    """Returns what there is up to a stage, that stage included, if rows may be read behind it.

    Args:
        stage: The stage.
        changed: The ids of those that change from pass to pass.
        moved: What stands in the place of others, by their ids: an iterator is that of the rows that are read.
    """
    batch = stage if kind_of(stage) in BATCHES else None
    moving, below = list[tf.data.Dataset](), stage if batch is None else read_by(inputs_of(stage)[0])
    while kind_of(below) in MOVING or _holds_rows(below, changed):
        moving += [] if _holds_rows(below, changed) else [below]
        below = read_by(inputs_of(below)[0])
    shuffled = any(kind_of(each) in SHUFFLES for each in moving)
    slices = moved.get(id(below), below)
    return LateRows(slices, moving[::-1], batch) if shuffled and _are_many(_rows_of(slices)) else None


def _holds_rows(stage: tf.data.Dataset, changed: Collection[int]) -> bool:
    """Returns whether a stage keeps in memory what is in memory: it may be left out."""
    return kind_of(stage) == "Cache" and id(stage) not in changed and not cache_file(stage).numpy()


def _rows_of(stage: tf.data.Dataset) -> Sequence[tf.Tensor]:
    """Returns the rows of a stage that yields those of arrays, whole numbers, or both in step; of others, none."""
    match kind_of(stage):
        case "TensorSlice" if all(type(it) is tf.TensorSpec for it in tf.nest.flatten(stage.element_spec)):
            rows = tensors_of(stage)
            return rows if all(row.dtype in PLAIN for row in rows) else ()
        case "Range":
            with tf.init_scope():
                return (range_of(stage),) if 0 < int(stage.cardinality()) <= LONGEST else ()
        case "Zip":
            each = [_rows_of(read_by(source)) for source in inputs_of(stage)]
            return [row for rows in each for row in rows] if all(each) else ()
    return ()


def _count(rows: Sequence[tf.Tensor]) -> int:
    return min(map(len, rows))


def _bytes_each(rows: Sequence[tf.Tensor]) -> int:
    return sum(row.dtype.size * math.prod(row.shape[1:]) for row in rows)


def _are_many(rows: Sequence[tf.Tensor]) -> bool:
    return bool(rows) and _count(rows) * (EACH + _bytes_each(rows)) >= LEAST


class Numbers:
    """The numbers of rows, which stages move.

    Args:
        slices: The stage that yields the rows.
    """

    def __init__(self, slices: tf.data.Dataset) -> None:
        self._rows, self._spec = tuple(_rows_of(slices)), slices.element_spec
        self._moved = tf.data.Dataset.range(_count(self._rows))
        self._bytes_each = max(1, _bytes_each(self._rows))
        self._count: tf.Tensor | None = None  # how many there are, once they are one vector

    def move(self, move: Callable[[tf.data.Dataset], tf.data.Dataset], *, all_at_once: bool) -> None:
        """Moves them as a stage does.

        Args:
            move: Returns one like it that reads something else.
            all_at_once: Whether the stage shuffles, and all numbers are to be one vector from then on.
        """
        with tf.name_scope(ROWS):
            below = self._moved if self._count is None else _counted(self._moved.unbatch(), self._count)
        if not all_at_once:
            self._moved, self._count = move(below), None
            return
        with tf.name_scope(ROWS):
            self._count = below.cardinality()
            # One more than there are: of none, there is a batch size all the same.
            below = below.batch(self._count + 1)
        with tf.name_scope(ALL_IN_ONE):
            self._moved = move(below)

    def batches(self, batch: tf.data.Dataset, make: Callable[[tf.data.Dataset], tf.data.Dataset]) -> tf.data.Dataset:
        """Returns batches of rows, as a stage makes them of rows.

        Args:
            batch: The stage.
            make: Returns one like it that reads something else.
        """
        if self._count is None:
            return self._read(make(self._moved))
        size, drops = batch_of(batch)
        with tf.name_scope(ROWS):
            count = (self._count if drops else self._count + size - 1) // size
            # Several at once: whatever reads them is another thread, which may have to be waited for.
            many = size * max(1, min(BATCHES_AT_ONCE, self._many() // int(size)))
            return _counted(self._read(self._moved.rebatch(many)).rebatch(size, drops), count)

    def rows(self, *, knows_count: bool) -> tf.data.Dataset:
        """Returns the rows.

        Args:
            knows_count: Whether it is known how many they are.
        """
        many = max(1, min(MANY, self._many()))
        with tf.name_scope(ROWS):
            count = self._moved.cardinality() if self._count is None else self._count
            made = self._read(self._moved.batch(many) if self._count is None else self._moved.rebatch(many)).unbatch()
            return _counted(made, count) if knows_count else made

    def _many(self) -> int:
        """Returns how many rows may be in a checkpoint."""
        return min(BYTES // self._bytes_each, _count(self._rows) // PARTS)

    def _read(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the rows of many numbers at once: int64 `[many]`."""

        def gathered(at: tf.Tensor, rows: Sequence[tf.Tensor]) -> Nest:
            return tf.nest.pack_sequence_as(self._spec, [tf.gather(row, at) for row in rows])

        with tf.name_scope(ROWS):
            # As an element: what a function has from outside is copied whenever a pass begins.
            beside = tf.data.Dataset.zip((numbers, tf.data.Dataset.from_tensors(self._rows).repeat()))
            return beside.map(unconverted(gathered))


def _counted(dataset: tf.data.Dataset, count: tf.Tensor) -> tf.data.Dataset:
    return dataset.apply(tf.data.experimental.assert_cardinality(count))
