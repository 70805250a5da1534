"""Blocks of batches of an iterator, for a program of XLA."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias

import tensorflow as tf

from loop.data.blocks import Block, Shapes, bytes_of, room, shapes_in, shapes_of
from loop.data.fetched import Fetched
from loop.data.stream import StreamData
from loop.engine.traced.bound import StopBound
from loop.engine.ways.feed import Feed
from loop.tensors import Nest
from loop.tf_internals import next_batch, wait_for_operations

Batch = Sequence[tf.Tensor]
Found: TypeAlias = tuple[Nest, Fetched]  # what is ahead, and what was fetched before it


class Streamed(Feed):
    """Of an iterator, some batches at once, the next ones in another thread while a block is trained.

    Python asks for each, by an operation that reads in the thread that calls it. In a loop in the graph each one would
    be read by yet another thread, which takes twice as long for batches of some kilobytes.

    Args:
        data: The stream.
        bound: Of the loop: if it is pulled in, no more is fetched.
        fits: Returns how many batches of these shapes a call may have.
    """

    def __init__(self, data: StreamData, bound: StopBound, fits: Callable[[Shapes], int]) -> None:
        self._data, self._bound, self._shapes, self._fits = data, bound, shapes_of(data.element_spec), fits
        # Of its own: a generator may run another loop, which reads another stream.
        self._thread, self._given_up = _thread(), False
        data.in_blocks = True

    def room(self, shapes: Shapes) -> int:
        return room(bytes_of(self._data.element_spec, shapes))

    def take(self, most: int) -> Block | None:
        with self.meanwhile(most):  # signals are heard in this one, and the compiled loop may be hurried
            pass
        if not self.holds and self._fetched.failed is not None:  # what was fetched before is trained first
            raise self._fetched.failed
        if not self.holds:
            return None
        first, *others = self._fetched.blocks
        block, rest = first.cut(min(most, self._fits(first.shapes)))
        self._keep((*rest, *others))
        return block

    @contextlib.contextmanager
    def meanwhile(self, most: int) -> Iterator[None]:
        fetching = None if most < 1 or self.holds or self.failed else self._begun(most)
        try:
            yield
            if fetching is not None:
                self._take_in(fetching)
        finally:
            # Nobody else may read the iterator before; of an interrupt, no more is read than the batch in progress.
            self._given_up = True
            if fetching is not None:
                fetching.exception()  # waits

    def _begun(self, most: int) -> Future[Found]:
        self._given_up = False
        wait_for_operations()  # some us: where they are only begun when they return, that of the iterator may be one
        try:
            return self._thread.submit(self._fetch, most)
        except RuntimeError:  # no thread can be made; or the main one has ended, and training goes on elsewhere
            self._thread = _thread()  # the one before would fetch once more, if it can be made later
            here = Future[Found]()
            here.set_result(self._fetch(most))
            return here

    @property
    def _fetched(self) -> Fetched:
        return self._data.fetched

    def _keep(self, blocks: tuple[Block, ...]) -> None:
        self._data.fetched = replace(self._fetched, blocks=blocks)

    def _take_in(self, fetching: Future[Found]) -> None:
        if isinstance(error := fetching.exception(), Exception):  # sync: waits for the batches
            self._data.fetched = Fetched(failed=error)
        else:
            self._data.ahead, self._data.fetched = fetching.result()

    def _fetch(self, most: int) -> Found:
        """Returns what is ahead behind the next batches, and these, of which the last one may have another shape."""
        data, batches, shapes, failed = self._data, list[Batch](), None, None
        ahead = tf.nest.flatten(data.ahead.get_value()) if data.reads_next and data.more(data.ahead) else None
        try:
            while len(batches) < most and (batch := ahead if data.reads_next else next_batch(data.source)) is not None:
                batches.append(batch)
                ahead = self._following() if data.reads_next else None
                if len(batches) == 1:
                    shapes = self._shapes or shapes_in(batch)
                    most = min(most, self.room(shapes), self._fits(shapes))
                # One batch at least, or the caller would take it for the end of the data.
                if self._bound.is_pulled_in or self._given_up or not (self._shapes or shapes_in(batch) == shapes):
                    break
        except tf.errors.OpError as error:
            failed = error
        alike = len(batches) if not batches or shapes_in(batches[-1]) == shapes else len(batches) - 1
        blocks = tuple(self._block(of_block) for of_block in (batches[:alike], batches[alike:]) if of_block)
        return self._optional(ahead) if data.reads_next else data.ahead, Fetched(blocks, failed)

    def _following(self) -> Batch | None:
        try:
            return next_batch(self._data.source)
        except tf.errors.OutOfRangeError:  # TensorFlow raises it at the end of the data alone
            return None

    def _optional(self, batch: Batch | None) -> tf.experimental.Optional:
        spec = self._data.element_spec
        if batch is None:
            return tf.experimental.Optional.empty(spec)
        return tf.experimental.Optional.from_value(tf.nest.pack_sequence_as(spec, batch))

    def _block(self, batches: Sequence[Batch]) -> Block:
        """Returns a block of batches; what there is room for besides is the last batch, again and again."""
        filled = [*batches, *[batches[-1]] * (self.room(shapes_in(batches[0])) - len(batches))]
        if len(filled) == 1:  # spares a copy
            return Block([tensor[tf.newaxis] for tensor in filled[0]], 0, 1)
        with tf.device("CPU"):  # where they were read: for an accelerator they are copied together
            return Block([tf.raw_ops.Pack(values=tensors) for tensors in zip(*filled, strict=True)], 0, len(batches))

    def trained(self, block: Block, steps: int) -> bool:
        _, rest = block.cut(steps)
        self._keep((*rest, *self._fetched.blocks))
        # An error that is yet to be raised is something that follows.
        return self.holds or self.failed or bool(self._data.more(self._data.ahead))

    @property
    def holds(self) -> bool:
        return bool(self._fetched.blocks)

    @property
    def failed(self) -> bool:
        return self._fetched.failed is not None


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="fetch", initializer=_done_when_they_return)


def _done_when_they_return() -> None:
    """Has the operations of a thread be done when they return, or the end of the data would be seen too late."""
    tf.config.experimental.set_synchronous_execution(True)  # a program may have it otherwise
