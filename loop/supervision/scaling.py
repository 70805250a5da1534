"""Gradients in float16, of which small ones vanish unless the loss is scaled."""

import logging
from collections.abc import Iterable, Iterator, Mapping

import keras
import tensorflow as tf

from loop.exact.graph import behind, functions, line, uses
from loop.handles import key
from loop.tensors import FuncGraph, unconverted
from loop.tf_internals import Trackable, flatten_layers

log = logging.getLogger("exactloop")
WRAP = "optimizer = keras.optimizers.LossScaleOptimizer(optimizer)"
VANISH = "in float16, in which those below 6e-8 are zero"
SCALE = "in the tape, scaled = optimizer.scale_loss(loss), and take the gradient of scaled"
DYNAMIC = "/dynamic_scale:0"  # the name of the variable by which a LossScaleOptimizer scales
KEEPING = ("AssignVariableOp", "Pack", "ResourceScatterUpdate")  # as a new scale, or as a value that is logged
BACKWARD = ("gradient_tape/", "gradients/")  # where TensorFlow puts what it adds for gradients


def scales(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer divides the gradients by what its `scale_loss` has multiplied the loss with."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or bool(optimizer.loss_scale_factor)


@unconverted
def check_optimizer(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Raises `ValueError` if layers are trained in float16 by an optimizer that does not scale the loss."""
    if scales(optimizer):
        return
    # By layer, because policies may differ: a model in float32 may have one layer in float16.
    layers = [layer for layer in flatten_layers(model) if layer.compute_dtype == "float16"]
    found = [each for each in layers if _own(each)]
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise ValueError(
            f"supervised(optimizer=...) has to scale the loss, or small gradients are lost: those of "
            f"{type(found[0]).__name__} {found[0].name!r}{more} are {VANISH}. Received: {type(optimizer).__name__}. "
            f"Write {WRAP} before supervised(...), so that state= gets this one, too."
        )


def _own(layer: keras.Layer) -> bool:
    """Returns whether a layer trains weights; of a model, those that are not of its layers."""
    if not isinstance(layer, keras.Model):
        return bool(layer.trainable_weights)
    inner = flatten_layers(layer, include_self=False)
    return not {*map(id, layer.trainable_weights)} <= {
        id(weight) for each in inner for weight in each.trainable_weights
    }


def check_step(graph: FuncGraph, given: Mapping[str, object]) -> None:
    """Looks whether a train step scales its loss where it has to, and warns if it seems not to.

    A step may scale its loss in ways that nobody can tell from other factors, so that is no error.

    Args:
        graph: The compiled step.
        given: The user's `state=`.

    Raises:
        ValueError: If a `LossScaleOptimizer` divides by what nothing was multiplied with.
    """
    # By the name that Keras gives it; a step may use an optimizer that is nowhere in `state=`.
    dynamic = [variable for variable in graph.variables if variable.name.endswith(DYNAMIC)]
    done, scaled = uses(graph) if dynamic else {}, False
    for variable in dynamic:
        dividing, scaling = _what_is_done(done[key(variable)])
        if dividing and not scaling:
            raise ValueError(
                "The train step applies gradients of a loss that is not scaled: a LossScaleOptimizer divides them by "
                f"{variable.name!r}. Write, {SCALE}.{_at(dividing[0])}"
            )
        scaled |= bool(scaling)
    # The first of them: its line is what the message has.
    backward = None if scaled else next(_in_float16(graph), None)
    if backward is not None and not any(bool(each.loss_scale_factor) for each in _optimizers(given)):
        log.warning(
            "The train step computes gradients %s, and no LossScaleOptimizer scales its loss. Unless the step does it "
            "by itself, write %s, give this one to state=, and write, %s.%s",
            VANISH,
            WRAP,
            SCALE,
            _at(backward),
        )


def _at(op: tf.Operation) -> str:
    return f"\n    at {where}" if (where := line(op)) else ""


def _optimizers(value: object) -> Iterator[keras.optimizers.Optimizer]:
    """Yields the optimizers in a value of `state=`, or below it."""
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _optimizers(item)
    elif isinstance(value, Trackable):
        nodes = tf.train.TrackableView(value).descendants()
        yield from (node for node in nodes if isinstance(node, keras.optimizers.Optimizer))


def _what_is_done(ops: Iterable[tf.Operation]) -> tuple[list[tf.Operation], list[tf.Operation]]:
    """Returns what divides by a variable, and what else is done with its value but to keep it, or a multiple of it."""
    dividing, other = [], []
    for read in ops:
        for use in _consumers(read):
            # Gradients over the scale: what an optimizer does before it applies them.
            if use.type == "RealDiv" and use.inputs[1].op.type in ("ReadVariableOp", "Identity"):
                dividing.append(use)
            elif use.type not in KEEPING and not any(then.type in KEEPING for then in _consumers(use)):
                other.append(use)
    return dividing, other


def _consumers(op: tf.Operation) -> list[tf.Operation]:
    found = [use for output in op.outputs for use in output.consumers()]
    return [each for use in found for each in (_consumers(use) if use.type == "Identity" else [use])]


def _in_float16(graph: FuncGraph) -> Iterator[tf.Operation]:
    """Yields what computes gradients in float16, unless nothing comes of them, as of those of frozen layers."""
    for function in functions(graph):
        found = {op.name for op in function.get_operations() if _is_backward_in_float16(op)}
        if found:
            # What has an effect, or is returned; the rest is cut away when the graph runs.
            ends = [op for op in function.get_operations() if op.op_def.is_stateful and op.type != "ReadVariableOp"]
            ends += [output.op for output in function.outputs]
            yield from (op for op in behind(ends) if op.name in found)


def _is_backward_in_float16(op: tf.Operation) -> bool:
    if op.type == "Placeholder" or not any(scope in op.name for scope in BACKWARD):
        return False
    return any(output.dtype == tf.float16 for output in op.outputs)
