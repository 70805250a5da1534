"""How the compiled loop is called."""

import abc

from loop.data.source import Batches
from loop.engine.traced.chunk_result import ChunkResult
from loop.tensors import FuncGraph


class Way(abc.ABC):
    """A way to run steps: all of them in one call, or some at a time, as the data and XLA have it.

    Attributes:
        graph: What was traced: what the loop reads and changes is in it.
    """

    graph: FuncGraph

    @abc.abstractmethod
    def run(self, data: Batches, count: int) -> ChunkResult:
        """Runs at most `count` steps, at least one if there is data; fewer if the bound is pulled in."""

    @abc.abstractmethod
    def skip(self, data: Batches) -> ChunkResult:
        """Reads the next batch, and counts its step without running it; what it returns has no rows."""
