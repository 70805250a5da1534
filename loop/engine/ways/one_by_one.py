"""One step in a call: for each batch that Python hands over."""

import contextlib

import tensorflow as tf

from loop.data.fed import Fed
from loop.data.source import Batches
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.ways.way import Way
from loop.engine.ways.while_loop import WhileLoop, handed_on
from loop.exact.graph import calls_python, operations


class OneByOne(Way):
    """Calls the same for each batch, between steps, and puts together what comes of it.

    Args:
        body: The steps.
        data: Hands over the batches.
        together: Whether there are several workers.
    """

    def __init__(self, body: Body, data: Fed, *, together: bool) -> None:
        self._loop, self._data, self._bound, self._inside = WhileLoop(body), data, body.bound, body.inside
        self._together, self.graph = together, self._loop.graph
        # Then it may draw from Python's random streams, and nobody else must meanwhile.
        self._calls_python = any(map(calls_python, operations(self.graph)))

    def run(self, data: Batches, count: int) -> ChunkResult:
        rows, more = list[tf.Tensor](), True
        # The loop in the graph runs one step a call; who pulls the bound in is asked below, between calls.
        self._bound.set(1)
        # Of several workers nobody leaves alone, or the others would wait in a sum: all halt by what that sum says.
        while more and len(rows) < count and not (rows and self._bound.is_pulled_in and not self._together):
            given = handed_on(data)  # before anybody reads ahead
            self._inside.continue_after(len(rows))
            with contextlib.nullcontext() if self._calls_python else self._data.meanwhile():
                ran = self._loop(given)
            rows.append(ran.rows)
            more = self._data.trained()  # after the step: where that fails, this batch is still the next one
            if ran.halted:
                break
        return ran.joined(rows, len(rows)).followed(more=more)

    def skip(self, data: Batches) -> ChunkResult:
        return self._loop.skip(handed_on(data)).followed(more=self._data.trained())
