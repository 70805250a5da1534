"""The compiled loop as one program of XLA."""

import logging
from collections.abc import Callable, Sequence

import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.blocks import why_not
from loop.data.source import Batches
from loop.engine.traced.several import Several
from loop.engine.traced.trace import Trace
from loop.engine.ways.lengths import miscounted
from loop.engine.ways.unfit import grows, refused, unchecked
from loop.findings import Finding, listed
from loop.steps import Step
from loop.tensors import FuncGraph, Nest
from loop.tf_internals import call_flat

log = logging.getLogger("exactloop")
# A step, of a batch, its index in the call, and that of the first one in the pass: what has to be done before the next
# one; whether to return, if anybody looks.
RunStep = Callable[[Nest, tf.Tensor, tf.Tensor], tuple[list[tf.Operation], tf.Tensor | None]]
At = Callable[[Nest, tf.Tensor], Nest]


def of_size(element_spec: Nest, size: int) -> Nest:
    """Returns the type spec of the batches of one size."""

    def of(spec: tf.TensorSpec) -> tf.TensorSpec:
        # None: it varies.
        return tf.TensorSpec([spec.shape[0] or size, *spec.shape[1:]] if spec.shape.rank else [], spec.dtype)

    return tf.nest.map_structure(of, element_spec)


def traced(step: Step, data: Batches, *, jit_compile: bool, several: Several | None = None) -> Trace:
    """Returns the trace of a step; for XLA, if it can have the batches in a program."""
    if jit_compile and isinstance(data, ArrayData):
        # The other size is traced when it is called with: XLA has to know each.
        return Trace(step, of_size(data.element_spec, data.sizes[0]), jit_compile=True)
    several = several and several.reading(data)
    return Trace(step, data.element_spec, jit_compile=jit_compile and not why_not(data), several=several)


class Program:
    """Runs steps in a program that XLA compiles once, whatever their number.

    It sees nothing that changes outside while it runs, and nobody sees anything of it before it ends. So how many steps
    it runs is handed over, and what they are trained on has to be in memory.

    Args:
        source: The type spec of what batches are found in.
        batch: Returns a batch of that, by its index, int32 `[]`. All have one shape: XLA has to know it.
        run_step: A step.
        owner: What to call the step.
        quiet: Whether to say nothing of what is left out, as it was said before.

    Raises:
        ValueError: If XLA would compile something else than was written.
    """

    def __init__(self, source: Nest, batch: At, run_step: RunStep, owner: str, *, quiet: bool = False) -> None:
        def program(begin: tf.Tensor, done: tf.Tensor, end: tf.Tensor, source: Nest) -> tuple[tf.Tensor, tf.Tensor]:
            def goes_on(index: tf.Tensor, halted: tf.Tensor) -> tf.Tensor:
                return tf.logical_and(index < end, tf.logical_not(halted))

            def one_step(index: tf.Tensor, halted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                counted, halts = run_step(batch(source, begin + index), index, begin)
                with tf.control_dependencies(counted):
                    return index + 1, halted if halts is None else halts

            return tf.while_loop(goes_on, one_step, (done, tf.constant(False)))

        number = tf.TensorSpec([], tf.int32)
        # Without AutoGraph, which would convert all that it calls.
        function = tf.function(program, jit_compile=True, autograph=False)
        self._program, self._owner = function.get_concrete_function(number, number, number, source), owner
        if not quiet and (lines := unchecked(self._graph)):
            log.warning("%s: XLA leaves out checks, and goes on:\n%s", owner, "\n".join(lines))
        # Looked for here, because XLA would not refuse it: it drops what is written, ends the process, or miscounts.
        if found := [*grows(owner, self._graph), *miscounted(owner, self._graph)]:
            raise ValueError(_refusal(found))

    def __call__(self, begin: tf.Tensor, done: tf.Tensor, end: tf.Tensor, source: Nest) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs steps. Traced into the compiled loop.

        Args:
            begin: The index of the first batch of the call: int32 `[]`.
            done: How many steps of the call have been run: int32 `[]`.
            end: How many shall have been: int32 `[]`.
            source: What the batches are found in.

        Returns:
            How many steps have been run, int32 `[]`, and whether the last of them wants the loop to return: bool `[]`.
        """
        return self._program(begin, done, end, source)

    def compile(self) -> None:
        """Has it compiled, before there is anything to run.

        Raises:
            ValueError: If XLA cannot; each operation that it does not know is named with its line.
        """
        try:
            # Within a graph, as it is run: by itself it would be compiled under another name, and then once more.
            function = tf.function(self._program, autograph=False)
            args, _ = self._program.structured_input_signature
            none = tf.nest.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), args)  # steps
            call_flat(function.get_concrete_function(*args), tf.nest.flatten(none))
        except tf.errors.OpError as error:
            # Not from it: what XLA says is a page, and all that is of use in there is said here.
            raise ValueError(_refusal(refused(self._owner, self._graph, error.message))) from None

    @property
    def _graph(self) -> FuncGraph:
        return self._program.graph


def _refusal(found: Sequence[Finding]) -> str:
    return f"Loop(jit_compile=True): XLA cannot compile this.\n{listed(found)}"
