"""What a step measures with, on several workers: each adds what its own rows come to, and that has to be all."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.exact.graph import changes, uses
from loop.exact.origins import SAME
from loop.handles import key
from loop.steps import Step, Values
from loop.supervision.model_metrics import read_by
from loop.tensors import FuncGraph, raw
from loop.workers.together import Variable, is_added_up

ADDING = ("AssignAddVariableOp", "AssignSubVariableOp", "ResourceScatterAdd", "ResourceScatterNdAdd")
SUMS = ("AddV2", "Add", "Sub", "AddN")
OTHERWISE = (
    "Metric {!r} cannot be added up over several workers: its {!r} is not what it was and something more, but computed "
    "in another way, by {}. Let update_state compute it of what is equal in all workers, by loop.total, and say so: "
    "self.add_variable(..., aggregation='mean')."
)
DERIVED = (
    "Step {!r} returns {!r}, which it computes of what a metric has so far. Of several workers, each has there, within "
    "a step, what its own rows come to. Return results under the names of their metrics, as in {{metric.name: "
    "metric.result()}}, and make what is computed of them the result of a metric of its own."
)


def check_additive(metrics: Mapping[str, Sequence[Variable]], graph: FuncGraph) -> None:
    """Looks at how a step, traced for one process, changes the variables of its metrics, by the names of these.

    Raises:
        ValueError: If one that is added up over several workers changes in another way than by something added to it.
    """
    done = uses(graph)
    for name, variables in metrics.items():
        for variable in filter(is_added_up, variables):
            for how in _other_ways(done.get(key(raw(variable)), [])):
                raise ValueError(OTHERWISE.format(name, variable.name, how))


def results_of_all(step: Step) -> Callable[[Values], Values]:
    """Returns what returns, when metrics are added up, those of a step's values that are their results.

    It raises `ValueError` if others are computed of them.
    """

    def results(values: Values) -> Values:
        # Of the variables as they are after the sum over workers.
        made = step.of_model.results() if step.of_model else {n: m.result() for n, m in step.metrics.items()}
        found = {name: made[name] for name in values if name in made and not isinstance(made[name], Mapping)}
        own = {key(raw(variable)) for variables in step.variables().values() for variable in variables}
        for name, value in values.items():
            # A number of Python is the same in all workers.
            if name in found or not tf.is_symbolic_tensor(value) or not own & {*read_by(value)}:
                continue
            # Under another name than the metric has, as in Keras' own example of a VAE.
            same = [each for each in made.values() if not isinstance(each, Mapping) and _is_same(value, each)]
            if not same:
                raise ValueError(DERIVED.format(step.__name__, name))
            found[name] = same[0]
        return found

    return results


def _is_same(one: tf.Tensor, other: tf.Tensor) -> bool:
    """Returns whether a value of a step is computed as a result of a metric is, of the same variables and constants."""
    first, second = _source(one), _source(other)
    if first.type != second.type or len(first.inputs) != len(second.inputs) or one.value_index != other.value_index:
        return False
    if first.type == "ReadVariableOp":
        return first.inputs[0] is second.inputs[0] and _is_latest(first)
    if first.type == "Const":
        return np.array_equal(*(tf.get_static_value(each.outputs[0]) for each in (first, second)))
    pairs = zip(first.inputs, second.inputs, strict=True)
    return first is second or (bool(first.inputs) and all(_is_same(*pair) for pair in pairs))


def _is_latest(read: tf.Operation) -> bool:
    """Returns whether a step does not change what it has read there: the only change behind it is the sum over all."""
    changing = {op.name for op in read.inputs[0].consumers() if changes(op)}
    names = [op.name for op in read.graph.get_operations()]  # in the order in which they were made
    return len(changing.intersection(names[names.index(read.name) :])) <= 1


def _other_ways(ops: Sequence[tf.Operation]) -> Iterator[str]:
    for op in ops:
        if op.type == "AssignVariableOp":
            value = _source(op.inputs[1])  # the first is the handle
            # Keras' metrics write total.assign(total + x): one summand has to be a read of the variable itself.
            if value.type not in SUMS or not any(_source(each) in ops for each in value.inputs):
                yield value.type
        elif changes(op) and op.type not in ADDING:
            yield op.type


def _source(tensor: tf.Tensor) -> tf.Operation:
    """Returns the operation that has computed a value, wherever it was only handed on."""
    while tensor.op.type in SAME:
        tensor = tensor.op.inputs[0]
    return tensor.op
