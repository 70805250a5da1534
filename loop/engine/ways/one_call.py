"""All steps in one call."""

from loop.data.source import Batches
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.ways.way import Way
from loop.engine.ways.while_loop import WhileLoop, handed_on


class OneCall(Way):
    """Calls the loop in the graph, which reads its batches itself and sees its bound move.

    Args:
        body: The steps.
    """

    def __init__(self, body: Body) -> None:
        self._loop, self._bound = WhileLoop(body), body.bound
        self.graph = self._loop.graph

    def run(self, data: Batches, count: int) -> ChunkResult:
        self._bound.set(count)
        ran = self._loop(handed_on(data))
        data.ahead = ran.ahead
        return ran

    def skip(self, data: Batches) -> ChunkResult:
        ran = self._loop.skip(handed_on(data))
        data.ahead = ran.ahead
        return ran
