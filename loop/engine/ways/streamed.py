"""Blocks of batches of an iterator, for a program of XLA."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from loop.data.blocks import BYTES, LENGTH, Block, Shapes, bytes_of, room, shapes_of
from loop.data.stream import StreamData
from loop.engine.traced.bound import StopBound
from loop.engine.ways.feed import Feed
from loop.tensors import Nest
from loop.tf_internals import call_flat

Fetched: TypeAlias = tuple[Nest, tuple[Block, ...], Exception | None]
FETCHER = ThreadPoolExecutor(1, thread_name_prefix="fetch")  # for all streams: fetches come one after the other


class Streamed(Feed):
    """Of an iterator, some batches in one call, the next ones in another thread while a block is trained.

    They go through a queue: if one cannot be read, those before it are in there, and are trained before that is raised.

    Args:
        data: The stream.
        bound: Of the loop: if it is pulled in, no more is fetched.
    """

    def __init__(self, data: StreamData, bound: StopBound) -> None:
        self._data, self._spec = data, tf.nest.flatten(data.element_spec)
        self._dtypes = [each.dtype for each in self._spec]
        self._shapes = shapes = shapes_of(data.element_spec)
        # A fetch never has more than there is room for, or it would wait for good.
        self._queue = tf.queue.FIFOQueue(LENGTH, self._dtypes, shapes)
        self._torn = False
        data.in_blocks = True
        # How many dimensions the tensors of a batch have in all; 0 if they never change.
        ranks = 0 if shapes else sum(each.shape.rank for each in self._spec)

        def fetch(source: Nest, ahead: Nest, count: tf.Tensor) -> tuple[tf.Tensor, Nest, tf.Tensor]:
            def goes_on(done: tf.Tensor, most: tf.Tensor, alike: tf.Tensor, first: tf.Tensor, ahead: Nest) -> tf.Tensor:
                # One batch at least, or the caller would take it for the end of the data.
                heard = tf.logical_or(done < 1, tf.greater(bound.variable, 1))
                return tf.logical_and(tf.logical_and(done < most, alike), tf.logical_and(heard, data.more(ahead)))

            def one(
                done: tf.Tensor, most: tf.Tensor, alike: tf.Tensor, first: tf.Tensor, ahead: Nest
            ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, Nest]:
                batch = tf.nest.flatten(data.batch(source, ahead))
                if not shapes:
                    shape = tf.concat([tf.shape(tensor, tf.int64) for tensor in batch], axis=0)
                    size = sum(tf.size(tensor, tf.int64) * tensor.dtype.size for tensor in batch)
                    fits = tf.cast(tf.clip_by_value(BYTES // tf.maximum(size, 1), 1, LENGTH), tf.int32)
                    most = tf.where(done < 1, tf.minimum(most, fits), most)
                    first = tf.where(done < 1, shape, first)  # int64 [ranks]; the block has batches of this shape
                    alike = tf.reduce_all(tf.equal(shape, first))
                # In the queue before the next one is read: where that fails, this one is not lost.
                with tf.control_dependencies([self._queue.enqueue(batch)]):
                    return done + 1, most, alike, first, data.advance(source, ahead, done + 1)

            state = (tf.constant(0), count, tf.constant(True), tf.zeros([ranks], tf.int64), ahead)
            done, _, alike, first, ahead = tf.while_loop(goes_on, one, state)
            return tf.stack([done, tf.cast(alike, tf.int32)]), ahead, first  # int32 [2]: one copy to the host, not two

        def stacked(count: tf.Tensor) -> list[tf.Tensor]:
            def one(index: tf.Tensor, found: list[tf.TensorArray]) -> tuple[tf.Tensor, list[tf.TensorArray]]:
                batch = self._next()
                with tf.control_dependencies(batch):
                    return index + 1, [each.write(index, item) for each, item in zip(found, batch, strict=True)]

            found = [tf.TensorArray(dtype, count, infer_shape=False) for dtype in self._dtypes]
            _, found = tf.while_loop(lambda index, _: index < count, one, (tf.constant(0), found))
            return [each.stack() for each in found]

        number = tf.TensorSpec([], tf.int32)
        self._fetch = tf.function(fetch, autograph=False).get_concrete_function(*data.feed_spec(), number)
        self._stack = tf.function(stacked, autograph=False, input_signature=[number])

    def room(self, shapes: Shapes) -> int:
        return room(bytes_of(self._data.element_spec, shapes))

    def take(self, most: int) -> Block | None:
        if not self._data.pending:
            if self._data.failed is None:  # what was fetched before the one that failed is trained first
                self._data.take_in(*self._in_thread(most))
            if not self._data.pending:
                self._data.raise_failed()
        if not self._data.pending:
            return None
        first, *others = self._data.pending
        block, rest = first.cut(most)
        self._data.pending = (*rest, *others)
        return block

    def _in_thread(self, most: int) -> Fetched:
        """Fetches where no signal is heard: an interrupt would leave batches in the queue."""
        try:
            fetching = FETCHER.submit(self._fetched, most)
        except RuntimeError:  # no thread can be made
            return self._fetched(most)
        return fetching.result()

    def _fetched(self, most: int) -> Fetched:
        """Returns what is ahead behind the next batches, these, and why there are no others, if one cannot be read."""
        if self._torn:
            while int(self._queue.size()):  # sync: reads one number
                self._next()
        self._torn = True  # if it does not come to its end, what is left of it is not what comes next
        fetched = self._read(most)
        self._torn = False
        return fetched

    def _read(self, most: int) -> Fetched:
        shapes = self._shapes
        most = min(most, self.room(shapes) if shapes else LENGTH)
        given = tf.nest.flatten((self._data.source, self._data.ahead), expand_composites=True)
        try:
            counts, ahead, first = call_flat(self._fetch, [*given, tf.constant(most)])
            done, alike = counts.numpy().tolist()  # sync: waits for them
        except tf.errors.OpError as error:
            # They are whole, but where the block ends is not known.
            return self._data.ahead, tuple(self._one() for _ in range(int(self._queue.size()))), error
        if not done:
            return ahead, (), None
        if shapes is not None:
            many = tf.raw_ops.QueueDequeueManyV2(
                handle=self._queue.queue_ref, n=tf.constant(done), component_types=self._dtypes
            )
            return ahead, (self._block(many, done, shapes),), None
        sizes, found = iter(first.numpy().tolist()), list[tuple[int, ...]]()
        for each in self._spec:
            found.append(tuple(next(sizes) for _ in range(each.shape.rank)))
        same = done if alike else done - 1  # the last one has another shape: it begins a block of its own
        blocks = [self._block(self._stack(tf.constant(same)), same, tuple(found))]
        return ahead, tuple(blocks if alike else [*blocks, self._one()]), None

    def _next(self) -> list[tf.Tensor]:
        return tf.raw_ops.QueueDequeueV2(handle=self._queue.queue_ref, component_types=self._dtypes)

    def _one(self) -> Block:
        batch = self._next()
        return self._block([tensor[tf.newaxis] for tensor in batch], 1, tuple(tuple(tensor.shape) for tensor in batch))

    def _block(self, stacked: Sequence[tf.Tensor], count: int, shapes: Shapes) -> Block:
        """Returns a block of batches; what there is room for besides is the last batch, again and again."""
        length = self.room(shapes)
        if length > count:
            rows = np.minimum(np.arange(length, dtype=np.int32), count - 1)
            stacked = [tf.gather(tensor, rows) for tensor in stacked]
        return Block(stacked, 0, count)

    @contextlib.contextmanager
    def meanwhile(self, most: int) -> Iterator[None]:
        if most < 1 or self._data.pending or self._data.failed is not None:
            yield
            return
        fetching: Future[Fetched] | None = None
        with contextlib.suppress(RuntimeError):  # no thread can be made: then it is fetched when it is wanted
            fetching = FETCHER.submit(self._fetched, most)
        try:
            yield
        finally:
            if fetching is not None:
                fetching.exception()  # waits: nobody else may read the iterator before
        if fetching is not None and isinstance(error := fetching.exception(), Exception):
            self._data.take_in(self._data.ahead, (), error)
        elif fetching is not None:
            self._data.take_in(*fetching.result())

    def trained(self, block: Block, steps: int) -> bool:
        _, rest = block.cut(steps)
        self._data.pending = (*rest, *self._data.pending)
        # An error that is yet to be raised is something that follows.
        return self.holds or self._data.failed is not None or bool(self._data.more(self._data.ahead))

    @property
    def holds(self) -> bool:
        return bool(self._data.pending)

    @property
    def failed(self) -> bool:
        return self._data.failed is not None
