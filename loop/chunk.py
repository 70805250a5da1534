"""The compiled loop: many steps in one call, the same graph whatever their number."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from loop.data import Data
from loop.steps import Step, Trace
from loop.types import Nest, read

LONGEST = 10_000  # steps in one call, which bounds the memory of what is recorded; the call costs nothing against them


class Means(tf.Module):
    """Means of values, weighted by the number of examples in each batch, and summed step by step in float64."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(name="means")
        self.names = names
        self.sums = tf.Variable(tf.zeros([len(names)], tf.float64), trainable=False, name="sums")
        self.weight = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="weight")

    def add(self, values: tf.Tensor, weights: tf.Tensor, *, afresh: tf.Tensor) -> None:
        """Adds steps: float32 `[steps, names]` and `[steps, 1]`. Traced into the compiled loop, where it ends.

        With `afresh`, bool `[]`, they are the first ones of a pass, and what was added before is forgotten.

        `tf.cumsum` adds one row after the other, and so the sums do not depend on where the compiled loop halted; a
        `reduce_sum` would add them in another order.
        """
        with tf.device("CPU"):
            weights = tf.cast(weights, tf.float64)
            weighted = tf.concat([tf.cast(values, tf.float64) * weights, weights], axis=1)
            before = tf.concat([self.sums, [self.weight]], axis=0)
            before = tf.where(afresh, tf.zeros_like(before), before)
            sums = tf.cumsum(tf.concat([before[tf.newaxis], weighted], axis=0))[-1]
        self.sums.assign(sums[:-1])
        self.weight.assign(sums[-1])

    def result(self) -> dict[str, float]:
        """Returns the means so far; nothing before the first step."""
        weight = float(read(self.weight))
        return dict(zip(self.names, (read(self.sums).numpy() / weight).tolist(), strict=True)) if weight else {}


class Ran(NamedTuple):
    """What one call of the compiled loop did.

    Attributes:
        steps: How many steps were run: int32 `[]`.
        more: Whether the data, as far as it knows, goes on: bool `[]`.
        halted: Whether `halt` was raised, or the data at its end, after the last step: bool `[]`.
        ahead: What the data hands on to the next call.
        values: float32 `[steps, names]`, a row for each step, a column for each name, sorted.
        results: The results of the metrics after the last step: float32 `[]` by name.
    """

    steps: tf.Tensor
    more: tf.Tensor
    halted: tf.Tensor
    ahead: Nest
    values: tf.Tensor
    results: dict[str, tf.Tensor]

    def columns(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Returns the values by name: float32 `[steps]`."""
        return dict(zip(names, self.values.numpy().T, strict=True))

    def logs(self, names: tuple[str, ...]) -> dict[str, float]:
        """Returns the values of the last step, and the running results of the metrics."""
        last = dict(zip(names, self.values.numpy()[-1].tolist(), strict=True))  # sync: waits for the chunk
        return last | {name: float(result) for name, result in self.results.items()}


class Chunk:
    """Runs up to a given number of steps in one call of one `tf.function`.

    It returns early when the data ends or `halt` is raised, but not before the first step, so that it always gets on.

    Attributes:
        graph: What was traced.

    Args:
        step: The step to run.
        trace: Its trace.
        data: Where the batches come from.
        counters: int64 variables that go up by one with each step, after everything else in it; the first one is the
            index of the batch in the pass.
        means: Collects the means of the values.
        halt: A bool variable that any thread may raise.
    """

    def __init__(
        self, step: Step, trace: Trace, data: Data, counters: list[tf.Variable], means: Means, halt: tf.Variable
    ) -> None:
        names = trace.names
        self._counters = counters

        def run(source: Nest, ahead: Nest, count: tf.Tensor) -> Ran:
            first, done, going = tf.cast(counters[0], tf.int32), tf.constant(0), data.more(ahead)
            index = first
            rows = tf.TensorArray(tf.float32, size=count, element_shape=[len(names) + 1])
            # One condition for all of them, and not `and`, which would be a branch in the graph for each.
            while tf.logical_and(done < count, going):
                batch = data.batch(source, ahead)
                if data.seen is not None:
                    data.seen.update(batch)
                graph = tf.compat.v1.get_default_graph()
                before = len(graph.get_operations())
                values = step(batch)
                effects = [op for op in graph.get_operations()[before:] if _has_effect(op)]
                # Fetch, step, count, fetch: where one of them fails, those before it are done and those after are not.
                # Reads need not wait: with all of the step in a tf.control_dependencies it would take 7 % longer.
                for op in effects:
                    op._add_control_inputs([t.op for t in tf.nest.flatten(batch, expand_composites=True)])
                row = tf.stack([*(tf.cast(values[name], tf.float32) for name in names), examples(batch)])
                with tf.control_dependencies([row, *effects]):
                    counted = [counter.assign_add(1) for counter in counters]
                index += 1
                with tf.control_dependencies(counted):
                    ahead = data.advance(source, ahead, index)
                    going = tf.logical_and(tf.logical_not(halt), data.more(ahead))
                rows = rows.write(done, row)
                done += 1
            values, weights = tf.split(rows.stack()[:done], [len(names), 1], axis=1)
            means.add(values, weights, afresh=tf.equal(first, 0))
            results = {name: tf.cast(metric.result(), tf.float32) for name, metric in step.metrics.items()}
            return Ran(done, data.more(ahead), tf.logical_not(going), ahead, values, results)

        spec = (*data.feed_spec(), tf.TensorSpec([], tf.int32))
        self._run = tf.function(run).get_concrete_function(*spec)
        self.graph = self._run.graph

    def __call__(self, data: Data, count: int) -> Ran:
        """Runs at most `count` steps, at least one if there is data."""
        try:
            given = (data.source, data.ahead, tf.constant(min(count, LONGEST), tf.int32))
            # To fit the arguments to the signature again, as a call does, would take as long as two small steps.
            ran = self._run._call_flat(tf.nest.flatten(given, expand_composites=True), self._run.captured_inputs)
        except tf.errors.OpError as error:
            error.add_note(f"Raised by the step, or its batch, after step {int(self._counters[-1])}.")
            raise
        data.ahead = ran.ahead
        return ran


def _has_effect(operation: tf.Operation) -> bool:
    return operation.op_def.is_stateful and operation.type != "ReadVariableOp"


def examples(batch: Nest) -> tf.Tensor:
    """Returns the leading dimension of a batch's first tensor, float32 `[]`; 1 if that is a scalar."""
    first = tf.nest.flatten(batch)[0]
    if first.shape.rank == 0:
        return tf.constant(1.0)
    if first.shape.rank is not None and first.shape[0] is not None:
        return tf.constant(float(first.shape[0]))
    if isinstance(first, tf.RaggedTensor):
        return tf.cast(first.nrows(), tf.float32)
    return tf.cast(first.dense_shape[0] if isinstance(first, tf.SparseTensor) else tf.shape(first)[0], tf.float32)
