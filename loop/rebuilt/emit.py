"""A traced function made again in the graph that is traced now, with other operations in the place of some."""

import collections
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from loop.errors.remedies import UNMADE
from loop.exact.constants import ConstantPlace
from loop.exact.stage_audit import cycle_of, is_loose
from loop.handles import key_of
from loop.rebuilt.changing import Changing
from loop.rebuilt.copies import AttrValue, Copies, shaped
from loop.rebuilt.places import Counts
from loop.rebuilt.seeds import BY_WORKER, Pass
from loop.tensors import FuncGraph

Given: TypeAlias = Mapping[str, tf.Tensor]  # by the names of what they stand for
RESOURCES = ("DummySeed", "AnonymousSeed", "DummyMemory", "AnonymousMemory")  # of stages, made only if these want them


class CannotRebuild(Exception):
    """There is an operation of which nobody knows how to make it a function of the pass.

    Args:
        op: The operation.
        instead: What to write instead.
    """

    def __init__(self, op: tf.Operation, instead: str = UNMADE) -> None:
        super().__init__(op.type)
        self.op, self.instead = op, instead


class Scope(NamedTuple):
    """Where an operation is made again.

    Attributes:
        emitter: Makes more.
        given: What the function was called with.
        made: That, and what was made of it.
        at: Which pass, element and place it is.
    """

    emitter: "Emitter"
    given: Given
    made: Given
    at: Pass

    def inputs(self, op: tf.Operation) -> list[tf.Tensor]:
        """Returns what an operation is given now."""
        return [self.made[tensor.name] for tensor in op.inputs]

    def stream(self, op: tf.Operation) -> tuple[int, int] | None:
        """Returns the key of the random stream that an operation is given, and what those like it have in common."""
        stream = key_of(self.made.get(op.inputs[0].name)) if op.inputs else None
        return (stream, self.emitter.streams[stream]) if stream in self.emitter.streams else None

    def again(self, op: tf.Operation, number: tf.Tensor) -> tf.Tensor:
        """Returns the first input of an operation, such as the dataset of a stage, made for another pass."""
        # From the beginning of the function: nothing of what was made for this pass is in it.
        return self.emitter.emit(op.graph, [op.inputs[0]], self.given, self.at.again(number))[0]


Handler: TypeAlias = Callable[[tf.Operation, Scope], Sequence[tf.Tensor]]
NONE: Mapping[str, Handler] = MappingProxyType({})


class Handlers(NamedTuple):
    """What makes something else in the place of operations, by their kinds.

    Attributes:
        always: Of those that are made otherwise in any case.
        callers: Of those that call functions, if there is any such operation in these.
        streams: Of those that are given the variable of a random stream.
        around: Of those that stay what they are unless what they read, their first input, changes.
        alone: Of those that would read that ahead, used once Python was seen to draw.
        pinned: Of those that yield of as many inputs at once as the cores allow.
        own: The kinds of those that get a resource of their own, such as a seed generator, for what they are given.
    """

    always: Mapping[str, Handler] = NONE
    callers: Mapping[str, Handler] = NONE
    streams: Mapping[str, Handler] = NONE
    around: Mapping[str, Handler] = NONE
    alone: Mapping[str, Handler] = NONE
    pinned: Mapping[str, Handler] = NONE
    own: Collection[str] = ()


NO_HANDLERS = Handlers()


def _in_order(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a stage that keeps the order of what it reads."""
    scope.emitter.changes["any order (deterministic=False): the order of what is read"] += 1
    return scope.emitter.copied(op, scope.made, deterministic=AttrValue(s=b"true"))


def cannot(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Says that an operation cannot be made again."""
    del scope
    raise CannotRebuild(op)


class Emitter:
    """Makes functions again.

    Attributes:
        changes: What was changed, for people: what it is, and how often.
        changing: Which operations are made otherwise.
        streams: By key of the variable of a random stream, a number that those with the same state have in common.
        python_draws: Set, when what calls Python is seen to draw from Python's own streams.
        cores: How many there were when the run began.

    Args:
        handlers: What makes operations otherwise; none: functions are made as they were.
        python_draws: Set, once Python was seen to draw; if there are several of one program, they share it.
        worker: The number of the worker, of several that read files of their own.
        constants: By where they stand in a function that is made as it was, others in the place of its constants.
    """

    def __init__(
        self,
        handlers: Handlers = NO_HANDLERS,
        *,
        python_draws: threading.Event | None = None,
        worker: int = 0,
        constants: Mapping[ConstantPlace, bytes] = MappingProxyType({}),
    ) -> None:
        self._worker = worker
        self.changes = collections.Counter[str]()
        self.changing = Changing(handlers.always, handlers.pinned)
        self.streams, self.python_draws, self.cores = dict[int, int](), python_draws or threading.Event(), 1
        self._by, self._copies = handlers, Copies(constants)
        self._places = Counts({*handlers.always, *handlers.around, *handlers.callers, *handlers.streams})

    def emit(
        self, graph: FuncGraph, wanted: Sequence[tf.Tensor], given: Given, at: Pass, also: Sequence[tf.Operation] = ()
    ) -> list[tf.Tensor]:
        """Makes what is wanted of a function.

        Args:
            graph: The function.
            wanted: Tensors in it.
            given: What it is called with, and what it has from outside.
            at: Where it is.
            also: Operations that are wanted for what they do.

        Raises:
            CannotRebuild: If there is an operation that cannot be made again.
        """
        made, plain = dict(given), list[tf.Operation]()  # by names of tensors; what is to be copied, together
        for op in self._needed(graph, wanted, given, also):
            handler = self._handler(op, made)
            if handler is None:
                plain.append(op)
                continue
            # What stays as it is is copied in one go, up to here: the next operation may need it.
            self._copies.put(graph, plain, made)
            plain = []
            here = at.at(self._places.of(op), self._places.ranks(op, made, self.streams))
            # Above the reading of files, each worker draws of its own; below it, all draw alike.
            if self._worker and not at.inner:
                here = here.by(self._worker if BY_WORKER in op.name else 0)
            outputs = handler(op, Scope(self, given, made, here))
            for old, new in zip(op.outputs, outputs, strict=True):
                made[old.name] = shaped(new, old)
        self._copies.put(graph, plain, made)
        return [made[tensor.name] for tensor in wanted]

    def call(
        self, graph: FuncGraph, arguments: Sequence[tf.Tensor], at: Pass, others: Given = MappingProxyType({})
    ) -> list[tf.Tensor]:
        """Makes what a function returns, in its order, from all that it takes, with what it has from outside.

        Args:
            graph: The function.
            arguments: What it is called with.
            at: Where it is.
            others: What stands in the place of some of the tensors in it.
        """
        given = {inner.name: outer for inner, outer in zip(graph.inputs, arguments, strict=True)} | dict(others)
        # What a function does besides, such as to print, but not memory that nobody will use.
        also = [op for op in graph.control_outputs if not op.type.startswith(RESOURCES)]
        return self.emit(graph, graph.outputs, given, at, also)

    def copied(self, op: tf.Operation, made: Given, **changed: AttrValue) -> list[tf.Tensor]:
        """Makes one operation as it was, but for some of its attributes."""
        # A copy, as what was made belongs to the caller.
        found = dict(made)
        self._copies.put(op.graph, [op], found, changed)
        return [found[output.name] for output in op.outputs]

    def _handler(self, op: tf.Operation, made: Given) -> Handler | None:
        """Returns what makes an operation otherwise; None if it stays what it is."""
        # Streams first: the same kinds are also used on variables of the program.
        if op.type in self._by.streams and op.inputs and key_of(made.get(op.inputs[0].name)) in self.streams:
            return self._by.streams[op.type]
        if op.type in self._by.always:
            return self._by.always[op.type]
        if op.type in self._by.around and self.changing.read_by(op):
            return self._by.around[op.type]
        if op.type in self._by.alone and self.python_draws.is_set() and self.changing.read_by(op):
            return self._by.alone[op.type]
        if self.changing.calls(op):
            return self._by.callers.get(op.type, cannot)
        # What length it is given now counts: in the function, that may be an argument.
        length = cycle_of(op) if op.type in self._by.pinned else None
        if length is not None and self.changing.is_pinned(op, made.get(length.name)):
            return self._by.pinned[op.type]
        # Without handlers, functions are made as they were, to the last attribute.
        return _in_order if is_loose(op.node_def) and self._by.always else None

    def _skips(self, op: tf.Operation) -> Sequence[int]:
        """Returns which inputs of an operation need not be made before it."""
        if op.type in self._by.around and self.changing.read_by(op):
            return [i for i, tensor in enumerate(op.inputs) if tensor.dtype in (tf.resource, tf.variant)]
        return (
            [i for i, tensor in enumerate(op.inputs) if tensor.dtype == tf.resource] if op.type in self._by.own else ()
        )

    def _needed(
        self, graph: FuncGraph, wanted: Sequence[tf.Tensor], given: Given, also: Sequence[tf.Operation]
    ) -> list[tf.Operation]:
        """Returns the operations that lead to what is wanted, in the order in which they were made."""
        found, stack = set[str](), [tensor.op for tensor in wanted if tensor.name not in given]
        stack += also  # their own inputs are followed, too
        while stack:
            op = stack.pop()
            if op.name not in found:
                found.add(op.name)
                skipped = self._skips(op)
                followed = [tensor for i, tensor in enumerate(op.inputs) if i not in skipped]
                stack += [tensor.op for tensor in followed if tensor.name not in given]
        return [op for op in graph.get_operations() if op.name in found]


AS_IT_IS = Emitter()  # makes functions again as they were
