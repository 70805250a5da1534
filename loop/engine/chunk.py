"""The compiled loop: many steps in one call, the same graph whatever their number."""

import contextlib
import functools

import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.constant import Constant
from loop.data.fed import Fed
from loop.data.pipelines.errors import tell
from loop.data.source import Batches
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.ring import LONGEST
from loop.engine.ways.in_blocks import InBlocks
from loop.engine.ways.in_cuts import InCuts
from loop.engine.ways.one_by_one import OneByOne
from loop.engine.ways.one_call import OneCall
from loop.engine.ways.way import Way
from loop.errors.instead import of_part
from loop.errors.tracebacks import add_note
from loop.tensors import read


class CompiledLoop:
    """Runs up to a given number of steps in one call, by the body that is traced once and the way that suits the data.

    It returns early when the data ends or its bound is pulled in, but not before the first step, so that it always gets
    on.

    Attributes:
        graph: What was traced.
        ring: What is noted of the steps.
        own: The variables that it works with besides those of the step; not for checkpoints.
        inside: What hooks have in it.

    Args:
        body: The steps.
        where: What an error was raised by, for a note that ends with the number of the last counter.
        owner: What to call the step.
    """

    def __init__(
        self, body: Body, *, where: str = "by the step, or its batch, after step", owner: str = "The train step"
    ) -> None:
        self._counters, self._where = body.counters, where
        self.ring, self.inside, self.own = body.ring, body.inside, body.own
        # For the message, if it waits for other workers in vain.
        where_to_wait, several = f"{owner[0].lower()}{owner[1:]}", body.several
        self._is_of_part = several is not None  # of the rows of a batch
        waiting = functools.partial(several.workers.waiting, where_to_wait) if several else None
        self._waiting = waiting or contextlib.nullcontext
        self._way = _way(body, body.data, owner, together=several is not None)
        self.graph = self._way.graph

    def __call__(self, data: Batches, count: int) -> ChunkResult:
        """Runs at most `count` steps, at least one if there is data."""
        count = min(count, LONGEST)  # the ring has no more rows, nor has what hooks say ahead
        try:
            if self.inside.hooks:  # asked once for all steps, also if the way runs them in several calls
                self.inside.prepare(int(read(self._counters[-1])), count)
            with self._waiting():
                return self._way.run(data, count)
        except tf.errors.OpError as error:
            self._tell(error, data)
            raise

    def skip(self, data: Batches) -> ChunkResult:
        """Reads the next batch, and counts its step without running it; what it returns has no rows."""
        try:
            with self._waiting():  # with files of its own for each, the next batch is asked for in all
                return self._way.skip(data)
        except tf.errors.OpError as error:
            self._tell(error, data)
            raise

    def _tell(self, error: tf.errors.OpError, data: Batches) -> None:
        """Adds to an error where it was, and of a pipeline, which line of the program it comes of."""
        add_note(error, f"Raised {self._where} {int(self._counters[-1])}.")
        tell(error, data.dataset())
        for note in of_part(error) if self._is_of_part else ():
            add_note(error, note)

    def begin_again(self) -> None:
        """Begins another pass with the next batch."""
        self._counters[0].assign(0)  # the index in the pass alone: what the others count goes on over passes


def _way(body: Body, data: Batches, owner: str, *, together: bool) -> Way:
    """Returns the way to call the body that suits the data."""
    if body.trace.jit_compile:
        return InCuts(body, data, owner) if isinstance(data, ArrayData | Constant) else InBlocks(body, owner)
    return OneByOne(body, data, together=together) if isinstance(data, Fed) else OneCall(body)
