"""A step, traced once: what the compiled loop calls, and what tells it from another step."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import keras
import tensorflow as tf

from loop.engine.traced.decided import Own, check_decided, warn_of_apart
from loop.engine.traced.drawn import drawn_from_state, draws
from loop.engine.traced.kept import warn_of_kept
from loop.engine.traced.made import given_values
from loop.engine.traced.means import examples_in
from loop.engine.traced.results import Results, results_of
from loop.engine.traced.returned import check_returned
from loop.engine.traced.several import Several
from loop.engine.traced.strategies import without_strategies
from loop.errors.instead import of_part, of_tracing
from loop.errors.kinds import shown
from loop.errors.tracebacks import add_note
from loop.exact.fingerprint import fingerprint
from loop.exact.reach import Reach, traced_anew
from loop.numbered import counting, numbered
from loop.state.differences import JIT_COMPILE
from loop.state.randomness import untouched
from loop.steps import Step, Values
from loop.tensors import Nest, unconverted
from loop.tf_internals import ConcreteFunction, add_control_inputs, converted, explicit_algorithm, within_xla
from loop.workers.rows import Part
from loop.workers.together import Joined

WIDE = (tf.float64, tf.int32, tf.int64, tf.uint32, tf.uint64)  # what float32 does not hold
BARE = ("float4_e2m1fn", "int2", "uint2")  # TensorFlow holds them, and has no operation for them


class Trace:
    """A step traced once by itself: what it is called with, what it returns, what tells it from another.

    Tracing also builds what is built late: layers, optimizer slots. So the compiled loop is traced only once, and a
    checkpoint finds every variable in its place.

    Attributes:
        narrow: The names of the values that float32 holds, sorted.
        wide: Those of the others, sorted.
        logged: The names of all values and results of metrics, sorted.
        running: Whether the values are results so far; see `Step.running`.
        graph: What was traced.
        results: The results of the metrics.
        jit_compile: Whether XLA is to compile it.
        element_spec: Of a batch; with `jit_compile`, the step is traced again for another size that it is called with.

    Args:
        step: The step.
        element_spec: Of a batch.
        jit_compile: As above.
        several: The workers, if there are several. Then the step is traced twice: as one process would run it, by which
            it is told from others whatever their number, and as it runs here.

    Raises:
        TypeError: If the step does not return a mapping from names to numeric scalars, or nothing although it has no
            metrics, or a metric's result is neither a scalar nor a vector.
    """

    def __init__(
        self, step: Step, element_spec: Nest, *, jit_compile: bool = False, several: Several | None = None
    ) -> None:
        self._drawing: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext

        def traced(batch: Nest) -> tuple[Values, Values]:
            fetched = [tensor.op for tensor in tf.nest.flatten(batch, expand_composites=True)]
            with within_xla() if jit_compile else contextlib.nullcontext():
                values = converted(step.function)(batch)
                _check_no_metrics(step, values)  # before tf.function takes it for what it cannot return
                results = results_of(step)
            if tf.compat.v1.get_default_graph() not in making:  # or first values of variables could not be computed
                _let_effects_wait(fetched)
            return values, results

        try:
            as_compiled = explicit_algorithm() if jit_compile else contextlib.nullcontext()
            with as_compiled, given_values() as making, without_strategies():
                self._traced = tf.function(traced, autograph=False)
                function = self._traced.get_concrete_function(element_spec)
                if draws(function.graph):
                    # Not at once: the first values of what it has made now are computed outside of it.
                    self._drawing = functools.partial(drawn_from_state, step.function, step.metrics)
                    with self._drawing():
                        self._traced = tf.function(traced, autograph=False)
                        function = self._traced.get_concrete_function(element_spec)
            values, results = function.structured_outputs
            values = {} if values is None and step.metrics else values  # its metrics may be all that a step reports
            _check_mapping(step, values)
        except Exception as error:
            for note in of_tracing(step.function, element_spec, error):
                add_note(error, note)
            raise
        for name, value in values.items():
            _check_scalar(step, name, value)
        self.results = Results(step, results)
        self.narrow: tuple[str, ...] = tuple(sorted(name for name in values if values[name].dtype not in WIDE))
        self.wide: tuple[str, ...] = tuple(sorted({*values} - {*self.narrow}))
        # For the fingerprint: the order in which a program names them does not count.
        self._returned = (*sorted(values), *sorted(results))
        self.logged: tuple[str, ...] = tuple(sorted({*values, *self.results.names}))
        self.running = step.running
        self.element_spec = element_spec
        self._function, self.graph, self.jit_compile = function, function.graph, jit_compile
        self._counting = counting()
        # After the trace above, which has built what this one needs.
        self._joined = self._traced_together(step, values, several) if several else None

    def _traced_together(self, step: Step, alone: Values, several: Several) -> ConcreteFunction:
        together = several.together(step, self.graph)
        size = examples_in(self.element_spec)
        # Numbers of Python, so that parts of equal size need no weights in the graph.
        static = size is not None and (several.own.size(size), size)
        parts = list[Part]()

        def traced(batch: Nest, rows: tf.Tensor, whole: tf.Tensor, wish: tf.Tensor) -> Joined:
            fetched = [tensor.op for tensor in tf.nest.flatten(batch, expand_composites=True)]
            begun = together.begin(Part(batch, *(static or (rows, whole))))
            parts.append(begun.step.part)
            with together.tracing(begun):
                values = converted(step.function)(batch)
                given = tf.nest.flatten(batch, expand_composites=True)
                check_returned(step.__name__, values or {}, alone, given)
                warn_of_kept(step.__name__, together.statistics, tf.compat.v1.get_default_graph(), given)
            joined = together.join(begun, values, wish)
            _let_effects_wait(fetched)
            return joined

        number, spec = tf.TensorSpec([], tf.int32), several.own.spec(self.element_spec)
        wish = tf.TensorSpec([], tf.float64)
        # A tf.function in the step would be used as it was traced for one process.
        with traced_anew(Reach([several.given, step.function, step.metrics]).compiled), self._drawing():
            try:
                found = tf.function(traced, autograph=False).get_concrete_function(spec, number, number, wish)
            except Exception as error:  # which has not come where all rows were given
                for note in of_part(error):
                    add_note(error, note)
                raise
        own = Own(found.graph, parts[-1], together.averaged, equal_sizes=several.equal_sizes)
        check_decided(found.graph, own)
        warn_of_apart(step.__name__, found.graph, self.graph, own, together.joined)
        return found

    def joined(self, part: Part, wish: tf.Tensor) -> Joined:
        """Returns what comes of the step in all workers, each of which calls it with its part; see `Together`."""
        if self._joined is None:
            raise TypeError("This was traced for one process.")
        return self._joined(part.batch, tf.cast(part.rows, tf.int32), tf.cast(part.whole, tf.int32), wish)

    def __call__(self, batch: Nest) -> Values:
        """Returns the values of the step as it was traced; in a graph, one operation, which TensorFlow expands."""
        function = self._function
        if self.jit_compile and _sizes(batch) != _sizes(self.element_spec):  # XLA has to know all shapes
            # In mid-run, of a shape that was not there before: for all else it is the trace that it might have been.
            with explicit_algorithm(), self._drawing(), numbered(self._counting), untouched():
                function = self._traced.get_concrete_function(tf.nest.map_structure(tf.TensorSpec.from_tensor, batch))
        values, _ = function(batch)
        return values or {}

    def fingerprint(self, held: Mapping[int, str], constants: Iterable[tf.Variable]) -> dict[str, object]:
        """Returns what tells the step from another one, in JSON values.

        Args:
            held: The paths in the training state of the variables, tables and iterators in it, by their keys.
            constants: Variables that are only read and not in the training state.
        """
        function = self._function
        found = fingerprint(
            function.graph, function.captured_inputs, returned=self._returned, held=held, constants=constants
        )
        # Other bits come of it, so it is another step.
        if self.jit_compile and isinstance(counts := found["operations"], dict):
            return {**found, "operations": {**counts, JIT_COMPILE: 1}}
        return found


def _sizes(batch: Nest) -> list[tf.TensorShape]:
    return [each.shape for each in tf.nest.flatten(batch)]


def has_effect(op: tf.Operation) -> bool:
    """Returns whether an operation does something besides computing what it returns."""
    return bool(op.op_def.is_stateful) and op.type != "ReadVariableOp"


@unconverted
def _let_effects_wait(fetched: Sequence[tf.Operation]) -> None:
    """Lets all effects in the graph wait for the batch, or a step would leave some whose batch cannot be fetched.

    Here, and not at the call: for that, reads and constants would wait as well, which can be done while a batch is
    fetched. From a pipeline, a tiny step would take a fifth longer, and from arrays 7 %.
    """
    for op in tf.compat.v1.get_default_graph().get_operations():
        if has_effect(op):
            add_control_inputs(op, fetched)


def _check_mapping(step: Step, values: Values) -> None:
    some = isinstance(values, Mapping) and (values or step.metrics)
    if not some or not all(isinstance(name, str) for name in values):
        raise TypeError(
            f"Step {step.__name__!r} must return a dict of named scalars, such as {{'loss': loss}}. "
            f"Received: {'nothing (is a return missing?)' if values is None else shown(values)}."
        )


@unconverted
def _check_no_metrics(step: Step, values: Values) -> None:
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, keras.Metric):
            raise TypeError(
                f"Step {step.__name__!r}: {name!r} is a metric. Write Step({step.__name__}, metrics={{{name!r}: "
                "metric}), and leave it out of what the function returns."
            )


def _check_scalar(step: Step, name: str, value: tf.Tensor) -> None:
    remedy = "Reduce it in the step, for instance with tf.reduce_mean."
    if isinstance(value, tf.Tensor):
        numeric = value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
        # Complex numbers, and what has no operations, cannot be in the ring.
        numeric = numeric and value.dtype.name not in BARE
        if value.shape.rank == 0 and numeric:
            return
        if value.dtype.is_complex:
            remedy = "Return tf.math.real(value) and tf.math.imag(value) under names of their own, each reduced to []."
        elif not numeric:
            remedy = "Compute a number or a bool of it in the step, and return that."
        value = f"shape {value.shape}, dtype {value.dtype.name}"
    raise TypeError(
        f"Step {step.__name__!r}: {name!r} must be a numeric scalar of shape []. Received: {value}. {remedy}"
    )
