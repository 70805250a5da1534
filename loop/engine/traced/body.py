"""What is traced of a compiled loop: a step, with all that is done before and after it."""

from collections.abc import Sequence

import tensorflow as tf

from loop.data.fed import Fed
from loop.data.source import Batches
from loop.engine.traced.bound import StopBound
from loop.engine.traced.chunk_result import ChunkResult
from loop.engine.traced.inside import Inside
from loop.engine.traced.means import Means, examples_in
from loop.engine.traced.ring import ValueRing
from loop.engine.traced.several import Several
from loop.engine.traced.trace import Trace, has_effect
from loop.hook import Hook
from loop.steps import Values
from loop.tensors import Nest, examples


class Body:
    """The steps of a compiled loop: the same operations, whatever calls them, and however many at a time.

    Attributes:
        trace: The step, traced.
        data: Where the batches come from.
        counters: int64 variables that go up by one with each step, after everything else in it; the first one is the
            index of the batch in the pass.
        bound: Up to where it runs.
        ring: What is noted of the steps.
        inside: What hooks have in it.
        several: The workers, if there are several.
        own: The variables that it works with besides those of the step; not for checkpoints.

    Args:
        trace: As above.
        data: As above.
        counters: As above.
        means: Collects the means of the values.
        bound: As above.
        hooks: Those that have a part in it.
        several: As above.
    """

    def __init__(
        self,
        trace: Trace,
        data: Batches,
        counters: Sequence[tf.Variable],
        means: Means,
        bound: StopBound,
        hooks: Sequence[Hook] = (),
        several: Several | None = None,
    ) -> None:
        self.trace, self.data, self.counters, self.bound = trace, data, counters, bound
        # The number of examples in a batch; None if it varies: then the ring notes it of each step.
        self._means, self.several, self._size = means, several, examples_in(data.element_spec)
        self.ring = ValueRing(trace.narrow, trace.wide, sized=self._size is None)
        # Under XLA, and from Python, what is prepared for some steps is run in several calls, which count from 0 each.
        self.inside = Inside(hooks, in_parts=trace.jit_compile or isinstance(data, Fed))
        begun = [several.workers.begun] if several else []
        self.own = [*bound.variables, *self.ring.variables, *data.variables, *self.inside.variables, *begun]

    def run_step(
        self, batch: Nest, index: tf.Tensor, begin: tf.Tensor, ahead: Nest = ()
    ) -> tuple[list[tf.Operation], tf.Tensor | None]:
        """Runs a step.

        Args:
            batch: What it is called with.
            index: Its number in the call, from 0: int32 `[]`.
            begin: The index of the first batch of the call in the pass: int32 `[]`.
            ahead: What the data had handed on, of which the batch was taken.

        Returns:
            What has to be done before the next one; whether to return, if anybody looks: bool `[]`.
        """
        if self.data.seen is not None:
            self.data.seen.update(batch)
        self.inside.before(index)
        graph = tf.compat.v1.get_default_graph()
        before = len(graph.get_operations())
        # Fetch, step, count, fetch: where one of them fails, those before it are done and those after are not.
        values, rows, asked = self._step(batch, ahead, begin + index)
        effects = [op for op in graph.get_operations()[before:] if has_effect(op)]
        row = self.ring.row(values, rows)
        with tf.control_dependencies([*row, *effects]):  # or a step that fails half-way would count as done
            counted = [counter.assign_add(1) for counter in self.counters]
        self.ring.write(index, row)
        halts = self.inside.after(values)
        if asked is not None:  # of several workers: one wants to return, so all have to, after this step
            halts = asked if halts is None else tf.logical_or(halts, asked)
        return counted, halts

    def _step(self, batch: Nest, ahead: Nest, index: tf.Tensor) -> tuple[Values, tf.Tensor | None, tf.Tensor | None]:
        several, wish = self.several, self.bound.wish
        if several is None or wish is None:
            return self.trace(batch), examples(batch) if self._size is None else None, None
        # Before any sum, in which it may wait in vain for others that have no batch for this step.
        several.workers.begun.assign_add(1)
        part = several.part(self.data, batch, ahead, index)
        joined = self.trace.joined(part, wish.read_value())
        return joined.values, tf.cast(part.whole, tf.int32) if self._size is None else None, joined.asked

    def result(
        self, first: tf.Tensor, done: tf.Tensor, halted: tf.Tensor, more: tf.Tensor, ahead: Nest = ()
    ) -> ChunkResult:
        """Adds the steps of a call to the means, and returns what came of it.

        Args:
            first: What the first counter was before them: int64 `[]`.
            done: How many there are: int32 `[]`.
            halted: See `ChunkResult`.
            more: The same.
            ahead: The same.
        """
        rows = self.ring.read(done)
        sizes = self.ring.sizes(rows) if self._size is None else tf.fill([done, 1], tf.constant(self._size, tf.float64))
        afresh = tf.equal(first, 0)  # the first counter begins with each pass, and so do its means
        if self.trace.jit_compile:
            afresh = tf.logical_and(afresh, done > 0)  # not when it is only to be compiled
        sums = self._means.add(*self.ring.values(rows), sizes, afresh=afresh, latest=self.trace.running)
        return ChunkResult(done, halted, more, ahead, rows, sums, self.trace.results.now())

    def skipped(self, batch: Nest) -> tuple[list[tf.Operation], ChunkResult]:
        """Counts a step without running it; returns what has to be done before the next one, and what came of it."""
        first = self.counters[0].read_value()
        if self.data.seen is not None:
            self.data.seen.update(batch)
        # One that cannot be read is an error here, too, and is not counted.
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            counted = [counter.assign_add(1) for counter in self.counters]
        rows = self.ring.read(tf.constant(0))
        # This adds nothing; but if it is the first of a pass, the sums of the pass before are forgotten.
        none = tf.zeros([0, 1], tf.float64)
        sums = self._means.add(*self.ring.values(rows), none, afresh=tf.equal(first, 0), latest=self.trace.running)
        no, yes = tf.constant(False), tf.constant(True)
        return counted, ChunkResult(tf.constant(1), no, yes, (), rows, sums, self.trace.results.now())
