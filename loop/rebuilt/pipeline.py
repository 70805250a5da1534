"""A `tf.data` pipeline whose passes are functions of a seed and of their numbers."""

import random
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from loop.digest import digest
from loop.exact.graph import is_random, operations, uses
from loop.exact.outside import NOTHING, Instead
from loop.exact.pipeline import is_unknown
from loop.handles import by_key, captured
from loop.rebuilt.alone import ALONE, as_given, nothing_ahead
from loop.rebuilt.calls import CALLS, CHOICES
from loop.rebuilt.draws import DRAWN, STREAMS
from loop.rebuilt.emit import Emitter, Handlers
from loop.rebuilt.files import Share
from loop.rebuilt.maps import MAPS, PINNED
from loop.rebuilt.orders import AROUND, CACHES, ORDERS, flat
from loop.rebuilt.python import CALLS as PYTHON_CALLS
from loop.rebuilt.python import PYTHON
from loop.rebuilt.seeds import STILL, Pass, number_of
from loop.rebuilt.stages import Stages
from loop.state.randomness import host
from loop.tensors import FuncGraph
from loop.tf_internals import ConcreteFunction, called_by, scalar

MADE_ANEW = frozenset({*ORDERS, *DRAWN})
VARYING = {*ORDERS, *DRAWN} - {"OptionsDataset"}
OF_KERAS = "seed_generator_state"  # in the name of the variable of each of Keras' streams
ALWAYS = {**ORDERS, **PYTHON, **DRAWN, **CHOICES}


class Made(NamedTuple):
    """What makes the passes of a pipeline.

    Attributes:
        make: Returns a pass, from the seed, its number, and all caches.
        fill: For each cache, what returns what is to be in it, from the seed, the pass 0, and the caches before it.
        files: The names of the caches' files; empty in memory.
    """

    make: ConcreteFunction
    fill: list[ConcreteFunction]
    files: list[tf.Tensor]


class ByPass:
    """A pipeline, made anew for each pass.

    Whatever shuffles, repeats or draws in it depends on the seed, the pass and its place alone, so no pass depends on
    those before it, nor on the process; what yields in any order yields in that of what it reads. A cache holds what
    the first pass has.

    Args:
        dataset: The pipeline as it was written.
        replaced: By stage, another one that stands in its place.
        python_draws: Set, when what calls Python is seen to draw from Python's own streams.
        pins: Whether what yields of as many inputs at once as the cores allow is made anew, too.
        share: Which files a worker reads; None: all.
        instead: What functions have in the place of what they have from outside.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        replaced: Mapping[tf.data.Dataset, tf.data.Dataset] = MappingProxyType({}),
        python_draws: threading.Event | None = None,
        *,
        pins: bool = True,
        share: Share | None = None,
        instead: Instead = NOTHING,
    ) -> None:
        self._spec, self._options = dataset.element_spec, as_given(dataset.options())
        pinned = PINNED if pins else {}
        handlers = Handlers(ALWAYS, {**CALLS, **MAPS}, STREAMS, AROUND, ALONE, pinned, own=ORDERS)
        self._emitter = Emitter(handlers, python_draws=python_draws, worker=share.rank if share else 0)
        changing = self._emitter.changing
        self._stages = Stages(dataset, changing, replaced, pins=pins, share=share, instead=instead)
        graphs = [function.graph for function in self._stages.functions]
        # Before anything is traced: whether a variable is that of a stream decides how it is read.
        self.streams = {key: handle for graph in graphs for key, handle in streams_of(graph).items()}
        self._emitter.streams |= alike(self.streams)
        self._made = dict[tuple[bool, int], Made]()  # by whether Python was seen to draw, and how many cores there were
        self._caches: tuple[int, list[tf.Tensor]] | None = None  # with the seed

    @property
    def changed(self) -> bool:
        """Whether it is made anew: otherwise each pass is the same as it is."""
        return self._stages.changed

    @property
    def as_replaced(self) -> tf.data.Dataset:
        """The pipeline as it was written, with what stands in the place of stages, if it is not made anew."""
        return self._stages.as_replaced

    @property
    def varies(self) -> bool:
        """Whether passes differ: by what shuffles or draws, and by Python as far as it was seen to draw."""
        return bool(self.streams) or self._stages.shuffles(VARYING) or self._emitter.python_draws.is_set()

    @property
    def reads_late(self) -> bool:
        """Whether iterators hold the numbers of rows that are shuffled, and not the rows."""
        return self._stages.reads_late

    @property
    def calls_python(self) -> bool:
        """Whether there is Python in it, or anything else of which nobody knows what it depends on."""
        return any(node.op in PYTHON or (is_unknown(node) and node.op not in DRAWN) for node in self._stages.nodes())

    def python(self) -> list[object]:
        """Returns the functions and generators that it calls in Python, in the order in which they were made."""
        tokens = {node.attr["token"].s.decode() for node in self._stages.nodes() if node.op in PYTHON_CALLS}
        made = sorted(tokens, key=lambda token: (len(token), token))  # there may be a 9th and a 10th
        return [called for token in made for called in called_by(token)]

    @property
    def changes(self) -> list[str]:
        """What is made otherwise, for people; known after `trace`."""
        late = ["rows of arrays: read behind what shuffles their numbers"] if self.reads_late else []
        return late + [f"{what} ({count})" for what, count in sorted(self._emitter.changes.items())]

    def trace(self) -> Made:
        """Makes what makes the passes, once; once more, when Python was seen to draw, or with other cores.

        Raises:
            CannotRebuild: If there is an operation of which nobody knows how to make it a function of the pass.
            UnknownStage: If there is such a stage.
        """
        key = self._emitter.python_draws.is_set(), self._emitter.cores
        if key not in self._made:
            self._emitter.changes.clear()  # counted anew with each trace
            traced = self._stages.traced()
            given = {inner.name: outer for outer, inner in traced.graph.captures}
            caches = [op for op in traced.graph.get_operations() if op.type in CACHES]
            outputs = [op.outputs[0] for op in caches]
            # A cache may be filled from those before it, so each is given these.
            fill = [self._maker(traced.graph, op.inputs[0], given, outputs[:i]) for i, op in enumerate(caches)]
            files = [given.get(op.inputs[1].name, op.inputs[1]) for op in caches]
            self._made[key] = Made(self._maker(traced.graph, traced.outputs[0], given, outputs), fill, files)
            self._cached = [flat(op) for op in caches]
        return self._made[key]

    def of(self, seed: int, number: int, *, cores: int = 1, afresh: bool = False) -> tf.data.Dataset:
        """Returns a pass; see `trace` for what it raises.

        Args:
            seed: Serves what has no seed: 63 bits.
            number: Of the pass, from 0.
            cores: How many there were when the run began.
            afresh: Whether it has caches of its own, which are empty, and nothing is shuffled, so that it begins with
                what is read first; else all passes with a seed have the same caches.
        """
        # A resumed run on another machine: what was cached came of other turns.
        if cores != self._emitter.cores:
            self._emitter.cores, self._caches = cores, None
        made = self.trace()
        if afresh:
            number = STILL
            caches = self._filled(seed, number)
        else:
            # All passes share the memory of one cache; of another seed, it would hold wrong elements.
            if self._caches is None or self._caches[0] != seed:
                self._caches = seed, self._filled(seed)
            _, caches = self._caches
        variant = made.make(scalar(seed, tf.int64), scalar(number, tf.int64), *caches)
        dataset = tf.data.experimental.from_variant(variant, self._spec).with_options(self._options)
        return dataset.with_options(nothing_ahead()) if self._emitter.python_draws.is_set() else dataset

    def _filled(self, seed: int, number: int = 0) -> list[tf.Tensor]:
        """Returns caches, which are filled when they are read."""
        made, caches = self.trace(), list[tf.Tensor]()
        for fill, file, spec in zip(made.fill, made.files, self._cached, strict=True):
            filled = fill(scalar(seed, tf.int64), scalar(number, tf.int64), *caches)
            caches.append(tf.data.experimental.to_variant(tf.data.experimental.from_variant(filled, spec).cache(file)))
        return caches

    def first_seed(self) -> int:
        """Returns a seed for what has none, which is the same for every start if the user has seeded the process."""
        ops = [op for function in self._stages.functions for op in operations(function.graph)]
        # Where Python is called, its streams count, which the user may have seeded.
        python = [host()] if self.calls_python else []
        streams = [
            digest(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)) for handle, dtype in self.streams.values()
        ]
        drawn = [random.getrandbits(63)] if self._stages.unseeded or any(map(_is_unseeded, ops)) else []
        return number_of(python, streams, drawn)

    def _maker(
        self, graph: FuncGraph, wanted: tf.Tensor, given: dict[str, tf.Tensor], caches: list[tf.Tensor]
    ) -> ConcreteFunction:
        # The pipeline itself is no element of anything: its key is zeros.
        zeros, number = tf.zeros([2], tf.int64), tf.TensorSpec([], tf.int64)

        def make(seed: tf.Tensor, number: tf.Tensor, *filled: tf.Tensor) -> tf.Tensor:
            all_given = given | {cache.name: each for cache, each in zip(caches, filled, strict=True)}
            return self._emitter.emit(graph, [wanted], all_given, Pass(seed, number, zeros, zeros))[0]

        signature = [number, number, *(tf.TensorSpec([], tf.variant) for _ in caches)]
        return tf.function(make, signature, autograph=False).get_concrete_function()


def streams_of(graph: FuncGraph) -> dict[int, tuple[tf.Tensor, tf.DType]]:
    """Returns the variables of random streams that a function draws from, of Keras and of TensorFlow.

    Returns:
        By key, the handle and the dtype.
    """
    handles, variables, found = captured(graph), by_key(graph.variables), dict[int, tuple[tf.Tensor, tf.DType]]()
    for key, used in uses(graph).items():
        # TensorFlow's generators are known by what is done to them, Keras' streams by the name.
        if any(op.type.startswith(("Rng", "Stateful")) for op in used):
            found[key] = handles[key], tf.int64
        elif key in variables and OF_KERAS in variables[key].name:
            found[key] = handles[key], variables[key].dtype
    return found


def alike(streams: Mapping[int, tuple[tf.Tensor, tf.DType]]) -> dict[int, int]:
    """Returns by key of each stream a number that those with the same state, so with the same seed, have in common."""
    states = dict[str, int]()
    return {
        key: states.setdefault(digest(tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)), len(states))
        for key, (handle, dtype) in streams.items()
    }


def _is_unseeded(op: tf.Operation) -> bool:
    return is_random(op) and not any(op.node_def.attr[name].i for name in ("seed", "seed2"))
