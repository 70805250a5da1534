"""The compiled loop: many steps in one call, the same graph whatever their number."""

import contextlib
import functools
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.errors import tell
from loop.data.fed import Fed
from loop.data.source import Batches
from loop.engine.blocks import Blocks
from loop.engine.bound import Bound
from loop.engine.cut import Cut
from loop.engine.feed import Feed
from loop.engine.inside import Inside
from loop.engine.means import Means, examples_in
from loop.engine.program import Program, of_size
from loop.engine.ring import HALTED, LONGEST, Record
from loop.engine.several import Several
from loop.engine.trace import Trace, has_effect
from loop.errors.readonly import ReadOnly
from loop.errors.tracebacks import add_note
from loop.exact.graph import calls_python, operations
from loop.hook import Hook
from loop.steps import Values
from loop.tensors import Nest, examples
from loop.tf_internals import ConcreteFunction, call_flat


class Ran(NamedTuple):
    """What one call of the compiled loop did.

    Attributes:
        steps: How many steps were run: int32 `[]`.
        halted: Whether a hook's part in the loop has ended the call: bool `[]`.
        more: Whether the data, as far as it knows, goes on: bool `[]`.
        ahead: What the data hands on to the next call.
        rows: What was recorded of each step; see `Record`.
        results: The results of the metrics after the last step: `[]` or `[classes]` by name.
    """

    steps: tf.Tensor
    halted: tf.Tensor
    more: tf.Tensor
    ahead: Nest
    rows: tf.Tensor
    results: dict[str, tf.Tensor]

    def columns(self, record: Record) -> dict[str, np.ndarray]:
        """Returns the values by name, `[steps]`, for reading only."""
        columns = record.columns(self.rows.numpy())
        for column in columns.values():
            column.flags.writeable = False
        return ReadOnly(columns)

    def values(self, record: Record) -> dict[str, float]:
        """Returns the values of the last step."""
        last = record.columns(self.rows.numpy()[-1:])  # sync: waits for the chunk
        return {name: column.item() for name, column in last.items()}


class Chunk:
    """Runs up to a given number of steps in one call of one `tf.function`.

    It returns early when the data ends or its bound is pulled in, but not before the first step, so that it always gets
    on.

    Attributes:
        graph: What was traced.
        record: What is noted of the steps.
        own: The variables that it works with besides those of the step; not for checkpoints.
        inside: What hooks have in it.

    Args:
        trace: The step to run, traced.
        data: Where the batches come from.
        counters: int64 variables that go up by one with each step, after everything else in it; the first one is the
            index of the batch in the pass.
        means: Collects the means of the values.
        bound: Up to where it runs.
        where: What an error was raised by, for a note that ends with the number of the last counter.
        hooks: Those that have a part in it.
        owner: What to call the step.
        several: The workers, if there are several.
    """

    def __init__(
        self,
        trace: Trace,
        data: Batches,
        counters: list[tf.Variable],
        means: Means,
        bound: Bound,
        where: str = "by the step, or its batch, after step",
        hooks: Sequence[Hook] = (),
        owner: str = "The train step",
        several: Several | None = None,
    ) -> None:
        size = examples_in(data.element_spec)
        self.record = record = Record(trace.narrow, trace.wide, sized=size is None)
        self._counters, self._bound, self._where = counters, bound, where
        in_parts = trace.jit_compile or isinstance(data, Fed)
        self.inside = inside = Inside(hooks, in_parts=in_parts)
        self.own = [*bound.variables, *record.variables, *data.variables, *inside.variables]
        self._together = several is not None
        where_to_wait = f"{owner[0].lower()}{owner[1:]}"
        waiting = functools.partial(several.workers.waiting, where_to_wait) if several else None
        self._waiting = waiting or contextlib.nullcontext

        def step(batch: Nest, index: tf.Tensor, begin: tf.Tensor) -> tuple[Values, tf.Tensor | None, tf.Tensor | None]:
            if several is None or bound.wish is None:
                return trace(batch), examples(batch) if size is None else None, None
            part = several.part(data, batch, begin + index)
            joined = trace.joined(part, bound.wish.read_value())
            return joined.values, tf.cast(part.whole, tf.int32) if size is None else None, joined.asked

        def run_step(batch: Nest, index: tf.Tensor, begin: tf.Tensor) -> tuple[list[tf.Operation], tf.Tensor | None]:
            if data.seen is not None:
                data.seen.update(batch)
            inside.before(index)
            graph = tf.compat.v1.get_default_graph()
            before = len(graph.get_operations())
            # Fetch, step, count, fetch: where one of them fails, those before it are done and those after are not.
            values, rows, asked = step(batch, index, begin)
            effects = [op for op in graph.get_operations()[before:] if has_effect(op)]
            row = record.row(values, rows)
            with tf.control_dependencies([*row, *effects]):
                counted = [counter.assign_add(1) for counter in counters]
            record.write(index, row)
            halts = inside.after(values)
            if asked is not None:
                halts = asked if halts is None else tf.logical_or(halts, asked)
            return counted, halts

        # The loop is written in operations: for AutoGraph to convert all that it calls would take half a second.
        def run(source: Nest, ahead: Nest, most: tf.Tensor | None = None) -> Ran:
            # Counted from here, an index is an int32 in an epoch of any length; of a GPU's integers, only those are
            # kept where the condition is looked at.
            first = counters[0].read_value()
            begin = tf.cast(first, tf.int32)  # of use to arrays alone, whose passes are not longer
            begin_next = begin + 1

            # What is carried from step to step costs four operations in each, so only these two are; TensorFlow lets no
            # step begin before all effects of the one before it are there. One condition for both, and no branch.
            def goes_on(index: tf.Tensor, ahead: Nest) -> tf.Tensor:
                return tf.logical_and(index < bound.variable, data.more(ahead))

            def one_step(index: tf.Tensor, ahead: Nest) -> tuple[tf.Tensor, Nest]:
                counted, halts = run_step(data.batch(source, ahead), index, begin)
                following = begin_next + index  # known before the step is done, and so is, of arrays, the batch
                # One number says both, because each that is carried costs four operations in each step.
                index += 1 if halts is None else tf.where(halts, 1 + HALTED, 1)
                with tf.control_dependencies(counted):
                    return index, data.advance(source, ahead, following)

            program = programs.get(tf.nest.flatten(ahead)[0].shape[0]) if programs else None
            if program is None or memory is None:
                index, ahead = tf.while_loop(goes_on, one_step, (tf.constant(0), ahead))
                done, halted = index % HALTED, index > HALTED
            else:
                done, halted = program(begin, tf.minimum(most, bound.variable), memory.order())
                ahead = data.advance(source, ahead, begin + done)
            return Ran(done, halted, data.more(ahead), ahead, noted(first, done), trace.results.now())

        def noted(first: tf.Tensor, done: tf.Tensor) -> tf.Tensor:
            rows = record.read(done)
            sizes = record.sizes(rows) if size is None else tf.fill([done, 1], tf.constant(size, tf.float64))
            afresh = tf.equal(first, 0)
            if trace.jit_compile:
                afresh = tf.logical_and(afresh, done > 0)  # not when it is only to be compiled
            means.add(*record.values(rows), sizes, afresh=afresh, latest=trace.running)
            return rows

        def run_block(program: Program, begin: tf.Tensor, most: tf.Tensor, block: Nest) -> Ran:
            first = counters[0].read_value()
            done, halted = program(begin, most, block)
            return Ran(done, halted, tf.constant(True), (), noted(first, done), trace.results.now())

        def skipped(batch: Nest) -> tuple[list[tf.Operation], tf.Tensor]:
            first = counters[0].read_value()
            if data.seen is not None:
                data.seen.update(batch)
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                counted = [counter.assign_add(1) for counter in counters]
            rows = record.read(tf.constant(0))
            none = tf.zeros([0, 1], tf.float64)
            means.add(*record.values(rows), none, afresh=tf.equal(first, 0), latest=trace.running)
            return counted, rows

        def skip(source: Nest, ahead: Nest) -> Ran:
            first = counters[0].read_value()
            counted, rows = skipped(data.batch(source, ahead))
            with tf.control_dependencies(counted):
                ahead = data.advance(source, ahead, tf.cast(first, tf.int32) + 1)
            return Ran(tf.constant(1), tf.constant(False), data.more(ahead), ahead, rows, trace.results.now())

        def skip_batch(batch: Nest) -> Ran:
            no, yes = tf.constant(False), tf.constant(True)
            return Ran(tf.constant(1), no, yes, (), skipped(batch)[1], trace.results.now())

        memory = data if trace.jit_compile and isinstance(data, ArrayData) else None
        order = tf.TensorSpec([None, None], tf.int32)
        programs = dict[int, Program]()
        if memory:
            for length in memory.sizes:
                batch = functools.partial(memory.at, size=length)
                programs[length] = Program(order, batch, run_step, owner, quiet=bool(programs))
        blocks = Blocks(data, bound, run_step, run_block, owner) if trace.jit_compile and memory is None else None
        self._blocks, self._cut = blocks, Cut()
        skipping = tf.function(skip, autograph=False)
        self._skip = functools.cache(lambda: skipping.get_concrete_function(*data.feed_spec()))  # few runs need it
        self._skip_batch = tf.function(skip_batch, autograph=False, input_signature=[data.element_spec])
        running = tf.function(run, autograph=False)
        self._runs: dict[int | None, ConcreteFunction] = {}
        for length, program in programs.items():
            spec = of_size(data.element_spec, length)
            self._runs[length] = running.get_concrete_function((), spec, tf.TensorSpec([], tf.int32))
            program.compile(self._runs[length])
        self._run = next(iter(self._runs.values()), None) or running.get_concrete_function(*data.feed_spec())
        self.graph = self._run.graph
        if blocks is not None:
            blocks.begin()
        # Then it may draw from Python's random streams, and nobody else must meanwhile.
        self._calls_python = isinstance(data, Fed) and any(map(calls_python, operations(self.graph)))

    def __call__(self, data: Batches, count: int) -> Ran:
        """Runs at most `count` steps, at least one if there is data."""
        count = min(count, LONGEST)
        try:
            if self.inside.hooks:
                self.inside.prepare(int(self._counters[-1]), count)
            with self._waiting():
                if self._blocks is not None:
                    return self._in_blocks(self._blocks, count, self._cut)
                if isinstance(data, Fed):
                    return self._one_by_one(data, count)
                if isinstance(data, ArrayData) and self._runs:
                    return self._in_cuts(data, count, self._cut)
                return self._called(data, count)
        except tf.errors.OpError as error:
            add_note(error, f"Raised {self._where} {int(self._counters[-1])}.")
            tell(error, data.dataset())
            raise

    def skip(self, data: Batches) -> Ran:
        """Reads the next batch, and counts its step without running it; what it returns has no rows."""
        if self._blocks is not None:
            return self._skip_in_block(data, self._blocks.feed)
        given = tf.nest.flatten((data.source, data.ahead), expand_composites=True)
        ran = call_flat(self._skip(), given)
        if isinstance(data, Fed):
            return ran._replace(more=data.trained())
        data.ahead = ran.ahead
        return ran

    def begin_again(self) -> None:
        """Begins another pass with the next batch."""
        self._counters[0].assign(0)

    def _called(self, data: Batches, count: int) -> Ran:
        self._bound.set(count)
        given = tf.nest.flatten((data.source, data.ahead), expand_composites=True)
        if not self._runs:
            ran = call_flat(self._run, given)
        else:
            ran = call_flat(self._runs[given[0].shape[0]], [*given, tf.constant(count)])
        data.ahead = ran.ahead
        return ran

    def _in_cuts(self, data: ArrayData, count: int, cut: Cut) -> Ran:
        """Calls a program that cannot see its bound move, a few steps at a time, and puts together what comes of it."""
        rows, done = list[tf.Tensor](), 0
        while done < count and not (rows and self._bound.is_pulled_in):
            began = time.perf_counter()
            self.inside.go_on(done)
            ran = self._called(data, min(count - done, cut.length, data.alike(int(self._counters[0]))))
            steps = int(ran.steps)  # sync: waits for the call
            cut.took(steps, time.perf_counter() - began)
            rows.append(ran.rows)
            done += steps
            if ran.halted:
                break
        return ran if len(rows) == 1 else ran._replace(steps=done, rows=tf.concat(rows, axis=0))

    def _in_blocks(self, blocks: Blocks, count: int, cut: Cut) -> Ran:
        """Calls a program for one block of batches after the other, and fetches the next one meanwhile."""
        rows, done, more, feed = list[tf.Tensor](), 0, True, blocks.feed
        self._bound.set(count)
        # What was fetched is trained even if somebody has pulled the bound in: it takes no longer than a call may.
        while more and done < count and (feed.holds or not (rows and self._bound.is_pulled_in)):
            block = feed.take(min(count - done, cut.length))
            if block is None:
                break
            run = blocks.of(block.shapes)
            self.inside.go_on(done)
            left = count - done - block.count
            with feed.meanwhile(min(left, cut.length) if cut.length > 1 and not self._bound.is_pulled_in else 0):
                began = time.perf_counter()
                ran = call_flat(run, [tf.constant(block.begin), tf.constant(block.count), *block.batches])
                steps = int(ran.steps)  # sync: waits for the call
                cut.took(steps, time.perf_counter() - began)
            rows.append(ran.rows)
            more, done = feed.trained(block, steps), done + steps
            if steps < block.count or ran.halted:
                break
        if not rows:
            no = tf.constant(False)
            return Ran(tf.constant(0), no, no, (), self.record.read(tf.constant(0)), {})
        return ran._replace(steps=done, more=more, rows=rows[0] if len(rows) == 1 else tf.concat(rows, axis=0))

    def _skip_in_block(self, data: Batches, feed: Feed) -> Ran:
        block = feed.take(1)
        if block is None:
            raise RuntimeError("The data ended before the batch that is to be skipped.")
        batch = tf.nest.pack_sequence_as(data.element_spec, [tensor[block.begin] for tensor in block.batches])
        return self._skip_batch(batch)._replace(more=feed.trained(block, 1))

    def _one_by_one(self, data: Fed, count: int) -> Ran:
        """Calls the same for each batch that Python hands over, between steps, and puts together what comes of it."""
        rows, more = list[tf.Tensor](), True
        self._bound.set(1)
        while more and len(rows) < count and not (rows and self._bound.is_pulled_in and not self._together):
            given = tf.nest.flatten(data.ahead, expand_composites=True)
            self.inside.go_on(len(rows))
            with contextlib.nullcontext() if self._calls_python else data.meanwhile():
                ran = call_flat(self._run, given)
            rows.append(ran.rows)
            more = data.trained()
            if ran.halted:
                break
        return ran._replace(steps=len(rows), more=more, rows=tf.concat(rows, axis=0))
