"""What hands blocks of batches to a program of XLA: iterators, or Python."""

import abc
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from loop.data.blocks import BYTES, LENGTH, Block, Shapes, bytes_of, room, shapes_of
from loop.data.fed import Fed
from loop.data.source import Batches
from loop.data.stream import StreamData
from loop.engine.bound import Bound
from loop.tensors import Nest
from loop.tf_internals import call_flat

FETCHER = ThreadPoolExecutor(1, thread_name_prefix="fetch")


class Feed(abc.ABC):
    """Takes blocks of batches from data, never more than are to be trained in this call of the loop."""

    @abc.abstractmethod
    def room(self, shapes: Shapes) -> int:
        """Returns how many batches of these shapes a block has room for."""

    @abc.abstractmethod
    def take(self, most: int) -> Block | None:
        """Returns the next block, of at most so many batches; None if the data end here."""

    @abc.abstractmethod
    def meanwhile(self, most: int) -> contextlib.AbstractContextManager[object]:
        """Returns what is entered while a block is trained: fetches at most so many batches of the next one."""

    @abc.abstractmethod
    def trained(self, block: Block, steps: int) -> bool:
        """Takes in that the first `steps` batches of a block are trained, and returns whether others follow."""

    @property
    @abc.abstractmethod
    def holds(self) -> bool:
        """Whether something was fetched that is yet to be trained."""


class Streamed(Feed):
    """Of an iterator, some batches in one call, the next ones in another thread while a block is trained.

    Args:
        data: The stream.
        bound: Of the loop: if it is pulled in, no more is fetched.
    """

    def __init__(self, data: StreamData, bound: Bound) -> None:
        spec = data.element_spec
        self._data, self._spec = data, tf.nest.flatten(spec)
        self._shapes = shapes = shapes_of(spec)
        data.in_blocks = True

        def fetch(source: Nest, ahead: Nest, count: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, Nest, tf.Tensor]:
            lists = [
                tf.raw_ops.TensorListReserve(
                    element_shape=tf.constant([-1 if size is None else size for size in each.shape], tf.int32),
                    num_elements=count,
                    element_dtype=each.dtype,
                )
                for each in self._spec
            ]
            ranks = sum(each.shape.rank for each in self._spec)
            first = tf.zeros([0 if shapes else ranks], tf.int64)

            def goes_on(
                done: tf.Tensor, most: tf.Tensor, alike: tf.Tensor, first: tf.Tensor, lists: Nest, ahead: Nest
            ) -> tf.Tensor:
                heard = tf.logical_or(done < 1, bound.variable > 1)
                return tf.logical_and(tf.logical_and(done < most, alike), tf.logical_and(heard, data.more(ahead)))

            def one(
                done: tf.Tensor, most: tf.Tensor, alike: tf.Tensor, first: tf.Tensor, lists: Nest, ahead: Nest
            ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, Nest, Nest]:
                batch = tf.nest.flatten(data.batch(source, ahead))
                if not shapes:
                    shape = tf.concat([tf.shape(tensor, tf.int64) for tensor in batch], axis=0)
                    size = sum(tf.size(tensor, tf.int64) * tensor.dtype.size for tensor in batch)
                    fits = tf.cast(tf.clip_by_value(BYTES // tf.maximum(size, 1), 1, LENGTH), tf.int32)
                    most = tf.where(done < 1, tf.minimum(most, fits), most)
                    first = tf.where(done < 1, shape, first)
                    alike = tf.reduce_all(tf.equal(shape, first))
                lists = [
                    tf.raw_ops.TensorListSetItem(input_handle=handle, index=done, item=item)
                    for handle, item in zip(lists, batch, strict=True)
                ]
                with tf.control_dependencies(batch):
                    return done + 1, most, alike, first, lists, data.advance(source, ahead, done + 1)

            state = (tf.constant(0), count, tf.constant(True), first, lists, ahead)
            done, _, alike, first, lists, ahead = tf.while_loop(goes_on, one, state)
            return lists, tf.stack([done, tf.cast(alike, tf.int32)]), ahead, first

        number = tf.TensorSpec([], tf.int32)
        self._fetch = tf.function(fetch, autograph=False).get_concrete_function(*data.feed_spec(), number)

    def room(self, shapes: Shapes) -> int:
        return room(bytes_of(self._data.element_spec, shapes))

    def take(self, most: int) -> Block | None:
        if not self._data.pending:
            self._data.hold(*self._fetched(most))
        if not self._data.pending:
            return None
        first, *others = self._data.pending
        block, rest = first.cut(most)
        self._data.pending = (*rest, *others)
        return block

    def _fetched(self, most: int) -> tuple[Nest, tuple[Block, ...]]:
        """Returns what is ahead behind the next batches, and these."""
        shapes = self._shapes
        most = min(most, self.room(shapes) if shapes else LENGTH)
        given = tf.nest.flatten((self._data.source, self._data.ahead), expand_composites=True)
        lists, counts, ahead, first = call_flat(self._fetch, [*given, tf.constant(most)])
        done, alike = counts.numpy().tolist()
        if not done:
            return ahead, ()
        if shapes is not None:
            return ahead, (self._stacked(lists, 0, done, shapes),)
        sizes, found = iter(first.numpy().tolist()), list[tuple[int, ...]]()
        for each in self._spec:
            found.append(tuple(next(sizes) for _ in range(each.shape.rank)))
        blocks = [self._stacked(lists, 0, done if alike else done - 1, tuple(found))]
        if not alike:
            last = [
                tf.raw_ops.TensorListGetItem(
                    input_handle=handle, index=done - 1, element_shape=each.shape.rank * [-1], element_dtype=each.dtype
                )
                for handle, each in zip(lists, self._spec, strict=True)
            ]
            blocks.append(self._stacked(lists, done - 1, 1, tuple(tuple(each.shape) for each in last)))
        return ahead, tuple(blocks)

    def _stacked(self, lists: list[tf.Tensor], begin: int, count: int, shapes: Shapes) -> Block:
        """Returns a block of what is in lists; what there is room for besides is the last batch, again and again."""
        rows = begin + np.minimum(np.arange(self.room(shapes), dtype=np.int32), count - 1)
        stacked = [
            tf.raw_ops.TensorListGather(
                input_handle=handle, indices=rows, element_shape=np.array(shape, np.int32), element_dtype=each.dtype
            )
            for handle, each, shape in zip(lists, self._spec, shapes, strict=True)
        ]
        return Block(stacked, 0, count)

    @contextlib.contextmanager
    def meanwhile(self, most: int) -> Iterator[None]:
        if most < 1 or self._data.pending:
            yield
            return
        fetching: Future[tuple[Nest, tuple[Block, ...]]] | None = None
        with contextlib.suppress(RuntimeError):  # no thread can be made: then it is fetched when it is wanted
            fetching = FETCHER.submit(self._fetched, most)
        try:
            yield
        finally:
            if fetching is not None:
                fetching.exception()  # waits: nobody else may read the iterator before
        if fetching is not None:
            self._data.hold(*fetching.result())

    def trained(self, block: Block, steps: int) -> bool:
        _, rest = block.cut(steps)
        self._data.pending = (*rest, *self._data.pending)
        return self.holds or bool(self._data.more(self._data.ahead))

    @property
    def holds(self) -> bool:
        return bool(self._data.pending)


class Handed(Feed):
    """Of Python, which hands batches over one by one, and goes on from one when it is trained.

    Only data that read ahead anyway have several in a block.

    Args:
        data: The data.
        bound: Of the loop: if it is pulled in, no more is read.
    """

    def __init__(self, data: Fed, bound: Bound) -> None:
        self._data, self._bound = data, bound
        self._moved, self._more = 0, True  # how many batches lie behind the first one of the block; whether one follows

    def room(self, shapes: Shapes) -> int:
        return room(bytes_of(self._data.element_spec, shapes)) if self._data.reads_ahead else 1

    def take(self, most: int) -> Block | None:
        data, first = self._data, tf.nest.flatten(self._data.ahead)
        batches, shapes = [first], _shapes(first)
        length = self.room(shapes)
        self._moved, self._more = 0, True
        while len(batches) < min(most, length) and not self._bound.is_pulled_in:
            self._moved, self._more = self._moved + 1, data.trained()
            try:
                batch = tf.nest.flatten(data.ahead) if self._more else []
            except Exception:  # raised again when it is wanted; those before it are trained first
                break
            if _shapes(batch) != shapes:
                break
            batches.append(batch)
        if length == 1:
            return Block([tensor[tf.newaxis] for tensor in first], 0, 1)
        return Block(_stacked(batches, length), 0, len(batches))

    def meanwhile(self, most: int) -> contextlib.AbstractContextManager[object]:
        return self._data.meanwhile()

    def trained(self, block: Block, steps: int) -> bool:
        if self._moved < steps:
            return self._data.trained()
        if self._moved > steps:
            self._data.take_back(self._moved - steps)
        return self._more or self._moved > steps

    @property
    def holds(self) -> bool:
        return False


def _shapes(batch: list[tf.Tensor]) -> Shapes:
    return tuple(tuple(tensor.shape) for tensor in batch)


def _stacked(batches: list[list[tf.Tensor]], length: int) -> list[tf.Tensor]:
    rows = np.minimum(np.arange(length), len(batches) - 1)
    return [tf.gather(tf.stack(tensors), rows) for tensors in zip(*batches, strict=True)]


def feed_of(data: Batches, bound: Bound) -> Feed:
    """Returns what takes blocks from data."""
    if isinstance(data, StreamData):
        return Streamed(data, bound)
    if isinstance(data, Fed):
        return Handed(data, bound)
    raise TypeError(f"XLA needs ArrayData, StreamData, or what Python hands over. Received: {type(data).__name__}.")
