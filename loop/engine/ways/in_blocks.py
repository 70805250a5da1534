"""A program of XLA that is handed blocks of batches."""

import time

import tensorflow as tf

from loop.data.source import Batches
from loop.engine.traced.body import Body
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.ways.blocks import Blocks
from loop.engine.ways.program import Program
from loop.engine.ways.way import Way
from loop.engine.ways.while_loop import WhileLoop
from loop.tensors import Nest
from loop.tf_internals import call_flat


class InBlocks(Way):
    """Calls a program for one block of batches after the other, and fetches the next one meanwhile.

    Args:
        body: The steps.
        owner: What to call the step.
    """

    def __init__(self, body: Body, owner: str) -> None:
        self._body, self._bound, self._inside = body, body.bound, body.inside
        self.graph = WhileLoop(body).graph  # is not run: it has in it what the data read, which no program has

        def run(program: Program, begin: tf.Tensor, most: tf.Tensor, block: Nest) -> ChunkResult:
            first = body.counters[0].read_value()
            done, halted = program(begin, tf.constant(0), most, block)
            return body.result(first, done, halted, tf.constant(True))

        def skip(batch: Nest) -> ChunkResult:
            return body.skipped(batch)[1]

        self._blocks = Blocks(body.data, body.bound, body.run_step, run, owner)
        self._skip = tf.function(skip, autograph=False, input_signature=[body.data.element_spec])
        self._blocks.begin()

    def run(self, data: Batches, count: int) -> ChunkResult:
        rows, done, more, feed = list[tf.Tensor](), 0, True, self._blocks.feed  # of each call, float32 [steps, words]
        self._bound.set(count)
        # What was fetched is trained even if somebody has pulled the bound in: it takes no longer than a call may.
        while more and done < count and (feed.holds or not (rows and self._bound.is_pulled_in)):
            try:
                # No more than this call is to train, so that none is left over, which a checkpoint would have to hold.
                block = feed.take(count - done)
            except Exception:  # a stop came while it was read: it is raised when the run goes on
                if rows and self._bound.is_pulled_in and feed.failed:
                    break
                raise
            if block is None:
                break
            cut = self._blocks.cut(block.shapes)
            run = self._blocks.of(block.shapes)  # of a shape that was not there before: a second of compiling
            self._inside.continue_after(done)
            left = count - done - block.count
            # If a call is one step, a stop that comes in it would have to wait for one more.
            with feed.meanwhile(left if cut.length > 1 and not self._bound.is_pulled_in else 0):
                began = time.perf_counter()
                ran = call_flat(run, [tf.constant(block.begin), tf.constant(block.count), *block.batches])
                steps = int(ran.steps)  # sync: waits for the call
                cut.took(steps, time.perf_counter() - began)
            rows.append(ran.rows)
            done += steps
            more = feed.trained(block, steps)
            # A hook halts here; what is left of the block is trained in the next call.
            if steps < block.count or ran.halted:
                break
        if not rows:  # the data have ended before a step, which the caller tells
            no = tf.constant(False)
            none = tf.constant(0)
            return ChunkResult(none, no, no, (), self._body.ring.read(none), tf.zeros([0], tf.float64), {})
        return ran.joined(rows, done).followed(more=more)

    def skip(self, data: Batches) -> ChunkResult:
        feed = self._blocks.feed
        block = feed.take(1)
        if block is None:
            raise RuntimeError("The data ended before the batch that is to be skipped.")
        batch = tf.nest.pack_sequence_as(data.element_spec, [tensor[block.begin] for tensor in block.batches])
        return self._skip(batch).followed(more=feed.trained(block, 1))
