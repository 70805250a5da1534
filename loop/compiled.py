"""What is traced for a loop, once, before its state is restored."""

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from loop.audit import check_covered
from loop.chunk import Chunk, Means
from loop.clock import Clock
from loop.data import Data
from loop.evaluation import Evaluation
from loop.hook import Hook
from loop.position import Position
from loop.randomness import random_streams
from loop.state import TrainingState, raw
from loop.steps import Step, Trace


class Compiled:
    """The compiled train loop and evaluations. When it is made, every variable there will be has been built.

    Attributes:
        chunk: Runs train steps.
        trace: What is known of the train step.

    Args:
        step: The train step.
        data: The train data.
        evaluations: The evaluations.
        position: Counts the steps.
        halt: A bool variable that makes the compiled functions return early.
    """

    def __init__(
        self, step: Step, data: Data, evaluations: Sequence[Evaluation], position: Position, halt: tf.Variable
    ) -> None:
        self._step, self._data, self._position = step, data, position
        self._evaluations = {evaluation.name: evaluation for evaluation in evaluations}
        self.trace = Trace(step, data.element_spec)
        self._means = Means(self.trace.names)
        counters = [position.step_in_epoch, position.step]
        self.chunk = Chunk(step, self.trace, data, counters, self._means, halt)
        # Compiled, because an eager result may have other bits.
        results = tf.function(lambda: {name: metric.result() for name, metric in step.metrics.items()})
        self._results = results.get_concrete_function()
        traces = [self.trace, *(evaluation.build(halt) for evaluation in evaluations)]
        evaluated = [name for evaluation in evaluations for name in evaluation.names]
        for name in evaluated:
            if name in self.trace.logged or evaluated.count(name) > 1:
                raise ValueError(
                    f"Two values would be logged as {name!r}. Give one of them, or an evaluation, another name."
                )
        self._used = {id(variable): variable for trace in traces for variable in trace.variables}

    def state(self, given: Mapping[str, object], clock: Clock, hooks: Iterable[Hook]) -> TrainingState:
        """Gathers everything that a resumed run needs.

        Raises:
            ValueError: If a step uses a variable that is not in it.
        """
        own = {
            "clock": clock,
            "means": self._means,
            "metrics": {name: list(metric.variables) for name, metric in self._step.metrics.items()},
            "evaluations": self._evaluations,
            "random": random_streams(),
            "hooks": {hook.name: hook for hook in hooks},
        }
        state = TrainingState(given, own, position=self._position, data=self._data)
        metrics = [metric for evaluation in self._evaluations.values() for metric in evaluation.step.metrics.values()]
        reset_before_use = [raw(variable) for metric in metrics for variable in metric.variables]
        check_covered(self._used.values(), [*state.variables.values(), *reset_before_use])
        return state

    def reset(self) -> None:
        """Forgets the epoch's means and metrics."""
        self._means.reset()
        for metric in self._step.metrics.values():
            metric.reset_state()

    def trained(self) -> dict[str, float]:
        """Returns the means of the epoch so far, a metric in place of the mean of its name; empty before a step."""
        means = self._means.result()
        return means | {name: float(result) for name, result in self._results().items()} if means else {}

    def evaluated(self) -> dict[str, float]:
        """Returns the results of the latest evaluation; empty before the first."""
        return {
            name: value for evaluation in self._evaluations.values() for name, value in evaluation.results().items()
        }
