"""A program of XLA that reads its batches itself, a few steps at a time."""

import functools
import time

import tensorflow as tf

from loop.data.source import Batches, InMemory
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.ways.cut import Cut
from loop.engine.ways.program import Program, of_size
from loop.engine.ways.way import Way
from loop.engine.ways.while_loop import handed_on, skipping
from loop.tensors import Nest, read
from loop.tf_internals import ConcreteFunction, call_flat, scalar

CUTS = 8  # in a call at most, after which it is known how long they take; the call itself costs little beside so many


class InCuts(Way):
    """Calls a program that cannot see its bound move, as long as fits, and puts together what comes of it.

    There is a program for each size of batches, of which all in a call have one.

    Args:
        body: The steps.
        data: The data, in memory.
        owner: What to call the step.
    """

    def __init__(self, body: Body, data: InMemory, owner: str) -> None:
        self._data, self._bound, self._inside, self._index = data, body.bound, body.inside, body.counters[0]
        # By the size of batches: the last one of a pass may be smaller.
        self._cut, self._programs = Cut(), dict[int, ConcreteFunction]()
        for size in data.sizes:
            self._programs[size] = self._compiled(body, size, owner)
        self._skip = skipping(body)
        # They differ in shapes alone, so any one shows what is read and changed.
        self.graph = next(iter(self._programs.values())).graph

    def _compiled(self, body: Body, size: int, owner: str) -> ConcreteFunction:
        data, order = self._data, tf.type_spec_from_value(self._data.order())
        batch = functools.partial(data.at, size=size)
        program = Program(order, batch, body.run_step, owner, quiet=bool(self._programs))

        def run(source: Nest, ahead: Nest, length: tf.Tensor) -> ChunkResult:
            first, order, bound = body.counters[0].read_value(), data.order(), body.bound.variable
            begin = tf.cast(first, tf.int32)  # passes over arrays in memory are shorter than that

            # Between cuts, the bound is looked at, which the program cannot see move.
            def goes_on(done: tf.Tensor, halted: tf.Tensor) -> tf.Tensor:
                # Not `<`, which takes no variable where TensorFlow goes by NumPy's rules.
                return tf.logical_and(tf.less(done, bound), tf.logical_not(halted))

            def one_cut(done: tf.Tensor, halted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return program(begin, done, tf.minimum(done + length, bound), order)

            done, halted = tf.while_loop(goes_on, one_cut, (tf.constant(0), tf.constant(False)))
            ahead = data.advance(source, ahead, begin + done)
            return body.result(first, done, halted, data.more(ahead), ahead)

        function = tf.function(run, autograph=False)
        spec = of_size(data.element_spec, size)
        whole = function.get_concrete_function((), spec, tf.TensorSpec([], tf.int32))
        program.compile()
        return whole

    def run(self, data: Batches, count: int) -> ChunkResult:
        rows, done = list[tf.Tensor](), 0
        while done < count and not (rows and self._bound.is_pulled_in):
            began = time.perf_counter()
            self._inside.continue_after(done)
            alike = self._data.alike(int(read(self._index))) if len(self._programs) > 1 else count
            ran = self._called(data, min(count - done, CUTS * self._cut.length, alike))
            steps = int(ran.steps)  # sync: waits for the call
            self._cut.took(steps, time.perf_counter() - began)
            rows.append(ran.rows)
            done += steps
            if ran.halted:
                break
        return ran.joined(rows, done)

    def _called(self, data: Batches, count: int) -> ChunkResult:
        self._bound.set(count)
        given = handed_on(data)
        # By the leading dimension of the batch that is ahead.
        program = self._programs[given[0].shape[0]] if len(self._programs) > 1 else self._only
        ran = call_flat(program, [*given, scalar(self._cut.length, tf.int32)])
        data.ahead = ran.ahead
        return ran

    @functools.cached_property
    def _only(self) -> ConcreteFunction:
        (program,) = self._programs.values()
        return program

    def skip(self, data: Batches) -> ChunkResult:
        ran = call_flat(self._skip(), handed_on(data))
        data.ahead = ran.ahead
        return ran
