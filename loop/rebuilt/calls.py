"""Operations that call functions, such as conditions and loops, with these functions made again."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from loop.rebuilt.emit import CannotRebuild, Handler, Scope
from loop.tensors import FuncGraph
from loop.tf_internals import body_of


def function(op: tf.Operation, name: str) -> FuncGraph:
    """Returns the function that an operation calls, by the name of the attribute."""
    body = body_of(op.graph, op.get_attr(name).name)
    if body is None:  # its function cannot be looked into
        raise CannotRebuild(op)
    return body


def _call(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    return scope.emitter.call(function(op, "f"), scope.inputs(op), scope.at)


def _if(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    condition, *arguments = scope.inputs(op)

    def branch(name: str) -> list[tf.Tensor]:
        return scope.emitter.call(function(op, name), arguments, scope.at.at(name))

    # A condition may be any number: what is not zero is true.
    return _listed(tf.cond(tf.cast(condition, tf.bool), lambda: branch("then_branch"), lambda: branch("else_branch")))


def _case(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    """Makes a choice of one of several branches of conditions, by halves: of a `Case` TensorFlow saves no iterator."""
    index, *arguments = scope.inputs(op)
    bodies = [body_of(op.graph, branch.name) for branch in op.get_attr("branches")]
    last = len(bodies) - 1
    index = tf.where((index < 0) | (index > last), last, index)  # as `Case` does

    def one_of(first: int, end: int) -> Sequence[tf.Tensor]:
        if end - first == 1:
            return scope.emitter.call(bodies[first], arguments, scope.at.at(str(first)))
        middle = (first + end) // 2
        return _listed(tf.cond(index < middle, lambda: one_of(first, middle), lambda: one_of(middle, end)))

    return one_of(0, last + 1)


def _while(op: tf.Operation, scope: Scope) -> Sequence[tf.Tensor]:
    condition, body, inputs = function(op, "cond"), function(op, "body"), scope.inputs(op)
    # What the body hands on as it was need not go through it: so streams are known for what they are in there.
    carried = [  # int: places among the inputs
        i for i, (given, handed) in enumerate(zip(body.inputs, body.outputs, strict=True)) if given is not handed
    ]

    def arguments(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        now = list(inputs)
        for i, value in zip(carried, values, strict=True):
            now[i] = value
        return now

    def goes_on(count: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
        return scope.emitter.call(condition, arguments(values), scope.at.at("cond").nth(count))[0]

    def step(count: tf.Tensor, *values: tf.Tensor) -> tuple[tf.Tensor, ...]:
        results = scope.emitter.call(body, arguments(values), scope.at.at("body").nth(count))
        return (count + 1, *(results[i] for i in carried))

    _, *values = tf.while_loop(
        goes_on,
        step,
        # The count is of iterations, int64 []: it makes each of them draw of its own.
        (tf.constant(0, tf.int64), *(inputs[i] for i in carried)),
        # Shapes as the body has them: what grows within would be refused by those of the first values.
        (tf.TensorShape([]), *(body.inputs[i].shape for i in carried)),
        op.get_attr("parallel_iterations"),
    )
    return arguments(values)


def _listed(found: tf.Tensor | Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    return [found] if isinstance(found, tf.Tensor) else list(found or ())


CHOICES: Mapping[str, Handler] = {"Case": _case}  # also if nothing else in it changes
CALLS: Mapping[str, Handler] = {
    "PartitionedCall": _call,
    "StatefulPartitionedCall": _call,
    "If": _if,
    "StatelessIf": _if,
    "StatelessCase": _case,
    "While": _while,
    "StatelessWhile": _while,
}
