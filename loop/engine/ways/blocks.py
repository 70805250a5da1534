"""The programs that XLA compiles for blocks of batches: one for each shape that batches have."""

import collections
import functools
import logging
from collections.abc import Callable

import tensorflow as tf

from loop.data.blocks import Shapes, shapes_of
from loop.data.fed import Fed
from loop.data.source import Batches
from loop.data.stream import StreamData
from loop.engine.traced.bound import StopBound
from loop.engine.ways.cut import Cut
from loop.engine.ways.feed import Feed
from loop.engine.ways.handed import Handed
from loop.engine.ways.program import Program, RunStep
from loop.engine.ways.streamed import Streamed
from loop.tensors import Nest
from loop.tf_internals import ConcreteFunction

log = logging.getLogger("exactloop")
MANY = 8  # shapes, of which each takes about a second to compile
RunBlock = Callable[[Program, tf.Tensor, tf.Tensor, Nest], Nest]


class Blocks:
    """Compiles programs for blocks, when the first batch of a shape is there, or at once if all have one.

    Attributes:
        feed: Where the blocks come from.

    Args:
        data: Where the batches come from.
        bound: That of the loop.
        run_step: A step.
        run_block: Traces what is called for a block, from a program and its arguments.
        owner: What to call the step.
    """

    def __init__(self, data: Batches, bound: StopBound, run_step: RunStep, run_block: RunBlock, owner: str) -> None:
        # Steps on other shapes take another time.
        self._cuts = collections.defaultdict[Shapes, Cut](Cut)
        self.feed, self._spec = _feed_of(data, bound, lambda shapes: self._cuts[shapes].length), data.element_spec
        self._run_step, self._run_block, self._owner = run_step, run_block, owner
        self._made: dict[Shapes, ConcreteFunction] = {}  # as long as the loop is there: each is a second of compiling

    def begin(self) -> None:
        """Compiles what is known already."""
        shapes = shapes_of(self._spec)
        # Else the first batch of each shape is compiled for when it is there, in the midst of training.
        if shapes is not None:
            self.of(shapes)

    def cut(self, shapes: Shapes) -> Cut:
        """Returns how long a call may be on blocks of batches of these shapes."""
        return self._cuts[shapes]

    def of(self, shapes: Shapes) -> ConcreteFunction:
        """Returns what runs blocks of batches of these shapes: called with (begin, count, block)."""
        if shapes not in self._made:
            if len(self._made) == MANY:
                what = "%s is compiled for more than %d shapes of batches, a second each. Pad them to few lengths."
                log.warning(what, self._owner, MANY)
            self._made[shapes] = self._compiled(shapes)
        return self._made[shapes]

    def _compiled(self, shapes: Shapes) -> ConcreteFunction:
        # One length for all blocks of a shape, filled or not, or each number of batches would be a program of its own.
        length, number = self.feed.room(shapes), tf.TensorSpec([], tf.int32)
        leaves = zip(shapes, tf.nest.flatten(self._spec), strict=True)
        # Of a block, [length, *shape of a batch].
        specs = [tf.TensorSpec([length, *shape], leaf.dtype) for shape, leaf in leaves]
        block = tf.nest.pack_sequence_as(self._spec, specs)
        # What is left out of one program is left out of all, and was said of the first.
        program = Program(block, _nth, self._run_step, self._owner, quiet=bool(self._made))
        function = tf.function(functools.partial(self._run_block, program), autograph=False)
        whole = function.get_concrete_function(number, number, block)
        # Now, with no step to run: what XLA cannot compile is refused before anything is trained on it.
        program.compile()
        return whole


def _nth(block: Nest, index: tf.Tensor) -> Nest:
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, index), block)  # for tensor[i], XLA compiles each i


def _feed_of(data: Batches, bound: StopBound, fits: Callable[[Shapes], int]) -> Feed:
    """Returns what takes blocks from data."""
    if isinstance(data, StreamData):
        return Streamed(data, bound, fits)
    if isinstance(data, Fed):
        return Handed(data, bound, fits)
    raise TypeError(f"XLA needs ArrayData, StreamData, or what Python hands over. Received: {type(data).__name__}.")
