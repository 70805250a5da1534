"""What the steps of a compiled Keras model measure with: its metrics, which it updates and resets by itself."""

from collections.abc import Callable, Iterator, Mapping

import keras
import tensorflow as tf

from loop.exact.graph import behind
from loop.handles import key, key_of
from loop.tensors import FuncGraph, raw
from loop.tf_internals import compiled_as, flatten_layers, metrics_in


class ModelMetrics:
    """The metrics of a model and of all that is in it, also those that it makes when it is first called.

    A model has one set of them, for training and for evaluations. So they are in the training state, an evaluation
    begins with them reset, and what it leaves there is put back.

    Attributes:
        results: Returns the results so far by the names under which the steps return them; in a graph.

    Args:
        model: A compiled model.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model, self._was, self._told = model, (compiled_as(model), model.optimizer), set[str]()
        self.results: Callable[[], Mapping[str, tf.Tensor]] = dict

    def reset(self) -> None:
        """Resets them as `fit` and `evaluate` do when they begin."""
        self._model.reset_metrics()

    def check(self) -> None:
        """Raises `RuntimeError` if the model has another optimizer, or was compiled again."""
        compiled, optimizer = self._was
        if compiled_as(self._model) is not compiled or self._model.optimizer is not optimizer:
            raise RuntimeError(
                f"Model {self._model.name!r} was compiled again, or got another optimizer, after keras_steps(model). "
                "What is compiled into the loop does not follow. Write train_step, eval_step = keras_steps(model) "
                "after it, and a new Loop with these, with another directory for its Checkpoint."
            )

    def variables(self) -> dict[str, list[tf.Variable | keras.Variable]]:
        """Returns their variables by their names, once they are made; each is there once."""
        found: dict[str, list[tf.Variable | keras.Variable]] = {}
        seen = set[int]()
        for metric in self.all():
            own = [variable for variable in metric.variables if id(variable) not in seen]
            seen.update(map(id, own))
            # A metric that only holds others has no variables of its own left here.
            if own:
                again = sum(name.split("/")[0] == metric.name for name in found)
                found[f"{metric.name}/{again}" if again else metric.name] = own
        return found

    def named(self) -> dict[str, keras.Metric]:
        """Returns those that were given to `compile`, or are attributes, by their names."""
        return {metric.name: metric for held in self.all() for metric in metrics_in(held)}

    def others(self, values: Mapping[str, tf.Tensor]) -> list[str]:
        """Returns the names of values, in the graph in which they are, that are no results of metrics; each once."""
        # Whatever is computed of a metric's variable is taken for a result.
        own = {key(raw(variable)) for variables in self.variables().values() for variable in variables}
        found = [name for name, value in values.items() if not own & set(read_by(value))]
        new = [name for name in found if name not in self._told]
        self._told.update(new)
        return new

    def all(self) -> Iterator[keras.Metric]:
        """Yields metrics: also those that a `metrics` property of the model's own leaves out."""
        for layer in flatten_layers(self._model):
            of_keras = keras.Model if isinstance(layer, keras.Model) else keras.Layer
            yield from of_keras.metrics.fget(layer)
            yield from layer.metrics


def read_by(value: tf.Tensor) -> Iterator[int]:
    """Yields the keys of the variables, and all else from outside, of which a value is computed."""
    outer: dict[FuncGraph, dict[str, tf.Tensor]] = {}
    for op in behind([value.op]):
        tensor = op.outputs[0] if op.type == "Placeholder" else None
        while tensor is not None and tf.is_symbolic_tensor(tensor):  # a function within another one has it from there
            graph = tensor.graph
            if graph not in outer:
                outer[graph] = {inner.name: given for given, inner in graph.captures}
            tensor = outer[graph].get(tensor.name)
        if tensor is not None:
            yield key_of(tensor)
