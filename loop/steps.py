"""What one step is: the user's function, and the metrics that it updates."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from loop.errors.calls import explained
from loop.errors.instead import instead_of_step
from loop.errors.kinds import shown
from loop.errors.readonly import ReadOnly
from loop.exact.sketch import sketch
from loop.supervision.model_metrics import ModelMetrics
from loop.supervision.resetting import Resetting
from loop.tensors import Nest

Values: TypeAlias = Mapping[str, tf.Tensor]


@explained({"loss": "write it in the function, which returns its value"})
class Step:
    """A step function together with the Keras metrics that it updates.

    Args:
        function: From a batch to `{name: value}`, scalars of shape `[]`, real, integer or bool. Those that float32 does
            not hold are logged as float64, which holds integers up to 2^53. It is traced into the compiled loop, so its
            Python code runs when it is traced, not at each step. The gradient tape is its own affair. With metrics it
            may return nothing.
        metrics: The metrics that the function updates, by the name under which their results are logged. A metric
            takes the place of the mean of a value of the same name. They are reset at the beginning of each epoch
            or evaluation, and saved in mid-epoch. The results of one with a result for each class are logged as
            `f1/0`, `f1/1` and so on.
        class_names: What to write in place of these numbers: a name for each class.
    """

    def __init__(
        self,
        function: Callable[[Nest], Values],
        *,
        metrics: Mapping[str, keras.Metric] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        if instead := instead_of_step(function):
            raise TypeError(f"A step must be a function from a batch to {{name: scalar}}. {instead}")
        self.function, self.metrics = function, ReadOnly(_metrics("Step", metrics))
        self.class_names = _class_names(class_names)
        self.metrics.why = (
            "a loop knows a step's metrics from the start. Give all of them to Step(function, metrics={...})."
        )
        self.of_model: ModelMetrics | None = None
        self.kept: tf.Module | None = None  # what else it has to find again
        self._resetting = Resetting()
        # The names of those that layers update, and so an evaluation as well, which puts back what it writes.
        self.shared: frozenset[str] = frozenset()

    def __call__(self, batch: Nest) -> Values:
        return self.function(batch)

    @property
    def running(self) -> bool:
        """Whether it returns results so far, of which the latest counts and not the mean, as a model's own steps do."""
        return self.of_model is not None

    def measured(self) -> Mapping[str, keras.Metric]:
        """Returns its metrics by name, those of a model as soon as they are made."""
        return self.of_model.named() if self.of_model else self.metrics

    def held(self) -> list[keras.Metric | tf.Module]:
        """Returns what has variables that are its own, each once: its metrics, and what else it has to find again."""
        metrics = self.of_model.all() if self.of_model else self.metrics.values()
        return list({id(each): each for each in (*metrics, *([self.kept] if self.kept else ()))}.values())

    def variables(self) -> dict[str, list[tf.Variable | keras.Variable]]:
        """Returns those of its metrics, by the names of these; all are there once it is traced."""
        # Of a metric that is built late, none before the trace.
        own = {name: list(metric.variables) for name, metric in self.metrics.items()}
        return self.of_model.variables() if self.of_model else own

    def common(self) -> list[tf.Variable | keras.Variable]:
        """Returns those of metrics that training and an evaluation have in common, and that are put back behind it."""
        named = self.variables().items()
        return [each for name, several in named for each in several if self.running or name in self.shared]

    def reset(self) -> None:
        """Resets its metrics, for a new epoch or evaluation."""
        for metric in self.metrics.values():
            self._resetting.reset(metric)
        if self.of_model:
            self.of_model.reset()

    def check(self) -> None:
        """Raises `RuntimeError` if a model whose step it is was compiled again."""
        if self.of_model:
            self.of_model.check()

    @functools.cached_property
    def sketch(self) -> str:
        """What tells its Python from that of another one; as it is when a loop is first run."""
        return sketch((self.function, self.metrics, self.class_names))

    @property
    def __name__(self) -> str:
        # Of a partial function or an object, the name of its class.
        return getattr(self.function, "__name__", type(self.function).__name__)


def _class_names(names: Sequence[str] | None) -> tuple[str, ...]:
    wrong = isinstance(names, str) or not all(isinstance(name, str) and name for name in names or ())
    if wrong or len({*(names or ())}) < len(names or ()):
        raise ValueError(
            f"Step(class_names=...) needs a name for each class, as in ['cat', 'dog']. Received: {shown(names)}."
        )
    return tuple(names or ())


def _metrics(owner: str, metrics: Mapping[str, keras.Metric] | None) -> dict[str, keras.Metric]:
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(f"{owner}(metrics=...) needs a dict, as in {{'accuracy': metric}}. Received: {shown(metrics)}.")
    wrong = {name: metric for name, metric in (metrics or {}).items() if not isinstance(metric, keras.Metric)}
    if wrong:
        raise TypeError(f"{owner}(metrics=...) takes keras.metrics.Metric objects by name. Received: {shown(wrong)}.")
    return dict(metrics or {})


def as_step(step: Step | Callable[[Nest], Values]) -> Step:
    """Returns a bare function as a `Step` without metrics, and a `Step` as it is."""
    return step if isinstance(step, Step) else Step(step)
