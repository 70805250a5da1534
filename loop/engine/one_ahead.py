"""All steps in one call, of a stream whose length nobody knows: each step reads the batch of the next one."""

import tensorflow as tf

from loop.data.source import Batches
from loop.data.stream import StreamData
from loop.engine.body import Body
from loop.engine.one_call import OneCall
from loop.engine.ran import Ran
from loop.engine.way import Way


class OneAhead(Way):
    """Calls the loop in the graph; if a batch cannot be read that this call was not to train, it is as if nobody had.

    Whatever was to be done of the steps before is done by then, but for what follows the last one; that is made up for.

    Args:
        body: The steps.
        data: The stream.
    """

    def __init__(self, body: Body, data: StreamData) -> None:
        self._whole, self._data, self._body, self._index = OneCall(body), data, body, body.counters[0]
        self._rest = tf.function(self._ended, autograph=False)  # traced when it is first called: few runs need it
        self.graph = self._whole.graph

    def run(self, data: Batches, count: int) -> Ran:
        self._data.raise_failed()
        first = int(self._index)
        try:
            return self._whole.run(data, count)
        except tf.errors.OpError as error:
            done = int(self._index) - first
            over = done and (done >= int(self._body.bound.variable) or bool(self._body.halted))
            if not over:  # of a batch that was to be trained, or of a step
                raise
            self._data.hold((), (), error)
            return self._rest(tf.constant(first, tf.int64), tf.constant(done))

    def _ended(self, first: tf.Tensor, done: tf.Tensor) -> Ran:
        rows, results = self._body.noted(first, done), self._body.trace.results.now()
        return Ran(done, self._body.halted.read_value(), tf.constant(True), (), rows, results)

    def skip(self, data: Batches) -> Ran:
        self._data.raise_failed()
        return self._whole.skip(data)
