"""Steps that are trained to see what comes of them, and undone."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from loop.data.constant import Constant
from loop.data.own_files import OwnFiles
from loop.data.source import Data
from loop.data.stream import StreamData
from loop.engine.chunk import CompiledLoop
from loop.engine.traced.body import Body
from loop.engine.traced.means import Means
from loop.engine.traced.trace import Trace
from loop.engine.ways.program import traced
from loop.running.parts import Parts
from loop.state.position import Position
from loop.steps import Step, Values
from loop.tensors import Nest


class Rehearsal:
    """Trains on without hooks, evaluations and events, beginning with an epoch; see `Loop.rehearse`.

    Attributes:
        steps: How many steps it has trained.

    Args:
        chunk: The compiled loop.
        data: The train data.
        epoch: Which epoch to begin with, from 0.
        again: Makes another compiled loop, for one batch: of a step that does nothing, or else of the step.
    """

    def __init__(
        self, chunk: CompiledLoop, data: Data | Constant, epoch: int, again: Callable[[Constant, bool], CompiledLoop]
    ) -> None:
        self._chunk, self._data, self._epoch, self._index, self._again = chunk, data, epoch, 0, again
        self._one: Constant | None = None
        self._is_open = False
        self.steps = 0
        if isinstance(data, StreamData | OwnFiles):  # with an iterator of its own: that of the run is not to be moved
            data.seek(Position(0, epoch, 0), {**data.cursor(), "open": 0})

    @property
    def one_batch(self) -> Constant:
        """One batch of the data, which this one does not train then."""
        if self._one is None:
            self._open()
            self._one = Constant(self._data.batch(self._data.source, self._data.ahead))
            if isinstance(self._data, StreamData) and self._data.steps_per_epoch is not None:
                self._went_on(1, more=True)  # it is read
        return self._one

    def on_one_batch(self, *, idle: bool = False) -> "Rehearsal":
        """Returns one that trains on one batch, over and over: what steps take where nothing is to be read.

        Args:
            idle: Whether the step is to do nothing: what is left is what the loop itself takes.
        """
        return Rehearsal(self._again(self.one_batch, idle), self.one_batch, 0, self._again)

    def train(self, count: int) -> Mapping[str, np.ndarray]:
        """Runs so many steps, or those that are left of the epoch, at least one; then the next epoch is up.

        Returns:
            The values of each step by name, `[steps]`, as in `Hook.on_steps`.
        """
        self._open()
        # A call never goes over the end of an epoch: the data have to be opened for the next one.
        length = self._data.steps_per_epoch
        ran = self._chunk(self._data, count if length is None else min(count, length - self._index))
        steps = int(ran.steps)  # sync: waits for the chunk
        self.steps += steps
        self._went_on(steps, more=bool(ran.more))
        return ran.columns(self._chunk.ring)

    def _open(self) -> None:
        if not self._is_open:
            self._data.open(self._epoch)
            self._is_open = True

    def _went_on(self, steps: int, *, more: bool) -> None:
        self._index += steps
        if not more or self._index == self._data.steps_per_epoch:
            self._data.close()
            # Or the compiled loop would count on from the epoch that is over.
            self._chunk.begin_again()
            self._epoch, self._index, self._is_open = self._epoch + 1, 0, False


def loop_on_one_batch(parts: Parts, trace: Trace, data: Constant, idle: bool) -> CompiledLoop:
    """Makes another train loop, to be measured: on one batch, of a step that does nothing, or else of the step."""
    trace = traced(Step(_idle), data, jit_compile=parts.jit_compile) if idle else trace
    # Of its own: nothing that is saved counts what is only measured.
    counters = [tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(2)]
    return CompiledLoop(Body(trace, data, counters, Means(trace.narrow, trace.wide), parts.bound))


def _idle(batch: Nest) -> Values:
    return {"idle": tf.constant(0.0)}
