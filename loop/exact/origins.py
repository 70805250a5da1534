"""What a tensor is computed of in the end: also by way of the functions that are called, from output to output."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from loop.exact.graph import called
from loop.exact.labels import BRANCHES, LOOPS
from loop.tensors import FuncGraph

SAME = ("Identity", "Cast", "Reshape", "EnsureShape", "StopGradient")  # have the value that they are given
CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclasses.dataclass(eq=False)
class Frame:
    """One call of a function; the same function may be called elsewhere, with something else.

    Attributes:
        given: By the name of an argument, what it may be.
        calls: The functions that are called in it, by the name of the operation that does.
    """

    given: dict[str, list["At"]] = dataclasses.field(default_factory=dict)
    calls: dict[str, list["Body"]] = dataclasses.field(default_factory=dict)


At = tuple[Frame, tf.Tensor]
Body = tuple[Frame, FuncGraph]


def origins(value: tf.Tensor | Sequence[tf.Tensor], ends: Callable[[tf.Tensor], bool]) -> Iterator[tf.Tensor]:
    """Yields what a value is computed of: what is computed of nothing else, and that beyond which nobody asks.

    Args:
        value: A tensor of a graph, or several.
        ends: Called with a tensor; returns whether to look no further than it.
    """
    frames = collections.defaultdict[tf.Graph, Frame](Frame)  # names are those of one graph
    return _from([(frames[each.graph], each) for each in tf.nest.flatten(value)], ends)


def deciders(op: tf.Operation, ends: Callable[[tf.Tensor], bool]) -> Iterator[tf.Tensor]:
    """Yields what it is decided by which of an operation's functions are called, or how often, as `origins` does.

    Args:
        op: A branch or a loop.
        ends: As there.
    """
    if op.type in BRANCHES:
        return origins(op.inputs[0], ends)
    frame = Frame()
    entered = frame.calls[op.name] = _entered(frame, op)
    # The condition, with what each round leaves; of a loop of which that is not known, all that it is given.
    queue = [(entered[1][0], entered[1][1].outputs[0])] if entered else [(frame, each) for each in op.inputs]
    return _from(queue, ends)


def _from(queue: list["At"], ends: Callable[[tf.Tensor], bool]) -> Iterator[tf.Tensor]:
    seen = {(frame, tensor.name) for frame, tensor in queue}
    for frame, tensor in queue:  # grows while it is read
        before = [] if ends(tensor) else _before(frame, tensor)
        if not before:
            yield tensor
        new = {(each[0], each[1].name): each for each in before}
        queue += [each for key, each in new.items() if key not in seen]
        seen |= new.keys()


def same_as(value: tf.Tensor) -> tf.Tensor:
    """Returns the tensor that a value is, in whatever function it is computed, apart from its shape and dtype."""
    frame = Frame()
    while before := _before(frame, value):
        op = value.op
        is_called = op.type not in (*LOOPS, *BRANCHES) and bool(frame.calls.get(op.name))
        if not (value.name in frame.given or op.type in SAME or is_called):
            break
        frame, value = before[0]
    return value


def _before(frame: Frame, tensor: tf.Tensor) -> list[At]:
    """Returns what a tensor is computed of, one step back."""
    if tensor.name in frame.given:  # an argument: go on where the function was called
        return frame.given[tensor.name]
    op, i = tensor.op, tensor.value_index
    if op.name not in frame.calls:
        frame.calls[op.name] = _entered(frame, op)  # once for each call, so that a loop is not entered without end
    if not (entered := frame.calls[op.name]):
        return [(frame, each) for each in ([op.inputs[i]] if op.type == "IdentityN" else op.inputs)]
    if op.type in LOOPS:
        (inner, body), (test, condition) = entered  # in this order, see `_entered`
        found = [(frame, op.inputs[i]), (inner, body.outputs[i])]
        # What no round changes does not depend on how many there are.
        return found if _is_argument(body, i) else [*found, (test, condition.outputs[0])]
    found = [(inner, body.outputs[i]) for inner, body in entered]
    # What says which branch is taken goes into the value, too.
    return [(frame, op.inputs[0]), *found] if op.type in BRANCHES else found


def _entered(frame: Frame, op: tf.Operation) -> list[Body]:
    """Returns the functions that an operation calls, if it is known what it hands on to them and returns of them."""
    bodies = called(op.graph, op)
    if op.type in LOOPS:
        order = [bodies.get(op.node_def.attr[name].func.name) for name in ("body", "cond")]
    elif op.type in (*BRANCHES, *CALLS, *bodies):  # the last as of older parts of TensorFlow
        order = [*bodies.values()]
    else:
        order = []
    given = op.inputs[1:] if op.type in BRANCHES else op.inputs
    found = [(Frame(), body) for body in order if body is not None and len(body.inputs) == len(given)]
    if len(found) < len(order):  # of one, it is not known what goes where: then all that goes in counts
        return []
    for inner, body in found:
        inner.given = {argument.name: [(frame, each)] for argument, each in zip(body.inputs, given, strict=True)}
        if op.type in LOOPS:  # or what the round before has left
            left = zip(body.inputs, found[0][1].outputs, strict=True)
            inner.given = {argument.name: [*inner.given[argument.name], (found[0][0], each)] for argument, each in left}
    return found


def _is_argument(body: FuncGraph, i: int) -> bool:
    """Returns whether a round of a loop leaves its i-th variable as it is."""
    tensor = body.outputs[i]
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return bool(tensor.name == body.inputs[i].name)
