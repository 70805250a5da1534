"""The loop in the graph: steps up to the bound, or to the end of the data."""

import functools
from collections.abc import Callable

import tensorflow as tf

from loop.data.source import Batches
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.ring import HALTED
from loop.tensors import FuncGraph, Nest
from loop.tf_internals import ConcreteFunction, call_flat


class WhileLoop:
    """Traces the body into a `tf.while_loop`, and calls that, or a step that is only counted, with what data hand on.

    The loop is written in operations: for AutoGraph to convert all that it calls would take half a second.

    Attributes:
        graph: What was traced.

    Args:
        body: The steps.
    """

    def __init__(self, body: Body) -> None:
        data = body.data

        def run(source: Nest, ahead: Nest) -> ChunkResult:
            # Counted from here, an index is an int32 in an epoch of any length; of a GPU's integers, only those are
            # kept where the condition is looked at.
            first = body.counters[0].read_value()
            begin = tf.cast(first, tf.int32)  # of use to arrays alone, whose passes are not longer
            begin_next = begin + 1

            # What is carried from step to step costs four operations in each, so only these two are; TensorFlow lets no
            # step begin before all effects of the one before it are there. One condition for both, and no branch.
            def goes_on(index: tf.Tensor, ahead: Nest) -> tf.Tensor:
                # Not `<`, which takes no variable where TensorFlow goes by NumPy's rules.
                return tf.logical_and(tf.less(index, body.bound.variable), data.more(ahead))

            def one_step(index: tf.Tensor, ahead: Nest) -> tuple[tf.Tensor, Nest]:
                counted, halts = body.run_step(data.batch(source, ahead), index, begin, ahead)
                following = begin_next + index  # known before the step is done, and so is, of arrays, the batch
                # One number says both, because each that is carried costs four operations in each step.
                index += 1 if halts is None else tf.where(halts, 1 + HALTED, 1)
                with tf.control_dependencies(counted):
                    return index, data.advance(source, ahead, following)

            index, ahead = tf.while_loop(goes_on, one_step, (tf.constant(0), ahead))
            done, halted = index % HALTED, index > HALTED
            return body.result(first, done, halted, data.more(ahead), ahead)

        self._run = tf.function(run, autograph=False).get_concrete_function(*data.feed_spec())
        self._skip = skipping(body)
        self.graph: FuncGraph = self._run.graph

    def __call__(self, given: list[tf.Tensor]) -> ChunkResult:
        """Runs steps, with what data hand on."""
        return call_flat(self._run, given)

    def skip(self, given: list[tf.Tensor]) -> ChunkResult:
        """Counts the step of the next batch without running it."""
        return call_flat(self._skip(), given)


def handed_on(data: Batches) -> list[tf.Tensor]:
    """Returns what data hand on to the next call."""
    return tf.nest.flatten((data.source, data.ahead), expand_composites=True)


def skipping(body: Body) -> Callable[[], ConcreteFunction]:
    """Returns what traces, when it is first called, the counting of a step that is not run: few runs need it."""
    data = body.data

    def skip(source: Nest, ahead: Nest) -> ChunkResult:
        first = body.counters[0].read_value()
        counted, ran = body.skipped(data.batch(source, ahead))
        with tf.control_dependencies(counted):
            ahead = data.advance(source, ahead, tf.cast(first, tf.int32) + 1)
        return ChunkResult(ran.steps, ran.halted, data.more(ahead), ahead, ran.rows, ran.sums, ran.results)

    return functools.cache(lambda: tf.function(skip, autograph=False).get_concrete_function(*data.feed_spec()))
