"""What is traced for a loop, once, before its state is restored."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from loop.audit import Audited, Constants, Finding
from loop.bound import Bound
from loop.chunk import Chunk
from loop.clock import Clock
from loop.data import Data
from loop.derived import Derived
from loop.evaluation import Evaluation
from loop.hook import Hook
from loop.means import Means
from loop.parts import raw
from loop.pipeline_audit import Read
from loop.position import Position
from loop.randomness import random_streams
from loop.settings import Setting, settings
from loop.state import TrainingState
from loop.steps import Step, Trace

# A checkpoint does not hold what is in other tables: with other contents, a step is another one.
RESTORED = (tf.lookup.experimental.MutableHashTable, tf.lookup.experimental.DenseHashTable)


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
        bound: Makes the compiled functions return early.
    """

    def __init__(
        self, step: Step, data: Data, evaluations: Sequence[Evaluation], position: Position, bound: Bound
    ) -> None:
        self._step, self._data, self._position = step, data, position
        self._evaluations = {evaluation.name: evaluation for evaluation in evaluations}
        self.trace = Trace(step, data.element_spec)
        self._means = Means(self.trace.names)
        counters = [position.step_in_epoch, position.step]
        self.chunk = Chunk(step, self.trace, data, counters, self._means, bound)
        # Compiled, because an eager result may have other bits.
        results = tf.function(lambda: {name: metric.result() for name, metric in step.metrics.items()})
        self._results = results.get_concrete_function() if step.metrics else dict
        self._traces = {"train": self.trace, **{evaluation.name: evaluation.build(bound) for evaluation in evaluations}}
        evaluated = [name for evaluation in evaluations for name in evaluation.names]
        for name in evaluated:
            if name in self.trace.logged or evaluated.count(name) > 1:
                raise ValueError(
                    f"Two values would be logged as {name!r}. Give one of them, or an evaluation, another name."
                )
        graphs = {f"Evaluation {evaluation.name!r}": evaluation.chunk.graph for evaluation in evaluations}
        audited = [Audited(graph, owner) for owner, graph in ({"The train step": self.chunk.graph} | graphs).items()]
        self._audited = dict(zip(self._traces, audited, strict=True))
        position.seen = data.seen
        self._derived: Derived | None = None

    def state(self, given: Mapping[str, object], clock: Clock, hooks: Iterable[Hook]) -> TrainingState:
        """Gathers everything that a resumed run needs.

        Raises:
            RuntimeError: If a layer has derived other values from its variables since the steps were traced.
        """
        self._derived = self._derived or Derived(given)
        self._derived.check()
        own = {
            "clock": clock,
            "means": self._means,
            "metrics": {name: list(metric.variables) for name, metric in self._step.metrics.items()},
            "evaluations": self._evaluations,
            "random": random_streams(),
            "hooks": {hook.name: hook for hook in hooks},
        }
        evaluated = {name: evaluation.data for name, evaluation in self._evaluations.items()}
        state = TrainingState(
            given, own, position=self._position, data=self._data, evaluated=evaluated, derived=self._derived
        )
        covered, held = self._covered(state), self._held(state, given)
        for name, audited in self._audited.items():
            state.steps[name] = self._traces[name].fingerprint(held, audited.only_read(covered))
        return state

    def settings(self, state: TrainingState, given: Mapping[str, object]) -> dict[str, Setting]:
        """Returns what the program has set, if nothing was trained or restored yet."""
        derived = {id(variable) for variable in state.derived.variables()}
        variables = state.given()
        used = {id(v) for v in variables.values() if any(each.has(id(v.handle)) for each in self._audited.values())}
        return settings(given, variables, is_constant=self._is_constant, used=used - derived)

    def audit(self, state: TrainingState) -> list[Finding]:
        """Looks for what would keep a run from being resumed exactly."""
        covered = self._covered(state)
        found = [each for each in self._in_data if not (isinstance(each, Read) and self._is_constant(each.variable))]
        return found + [finding for audited in self._audited.values() for finding in audited.findings(covered)]

    def only_read(self, state: TrainingState) -> list[tf.Variable]:
        """Returns the variables that nothing changes here and that `state` does not hold."""
        covered = self._covered(state)
        read = [variable for audited in self._audited.values() for variable in audited.only_read(covered)]
        read += [each.variable for each in self._in_data if isinstance(each, Read)]
        return list({id(variable): variable for variable in read}.values())

    def constants(self, state: TrainingState) -> Constants:
        """Returns what has to stay what it is now."""
        covered = self._covered(state)
        tables = [table for audited in self._audited.values() for table in audited.tables(covered)]
        return Constants(self.only_read(state), tables)

    @functools.cached_property
    def _in_data(self) -> list[Finding]:
        """What is found in the data; once, because some have to be read for that."""
        found = self._data.findings("The training data")
        for name, evaluation in self._evaluations.items():
            found += evaluation.data.findings(f"The data of evaluation {name!r}")
        return found

    def found_since(self) -> list[Finding]:
        """Returns what the passes over the data have shown since they were looked at."""
        return [each for each in self._data.findings("The training data") if each not in self._in_data]

    def _is_constant(self, variable: tf.Variable) -> bool:
        """Returns whether no step changes a variable. If a hook does, that is seen at the end of the epoch."""
        return not any(audited.may_change(id(variable.handle)) for audited in self._audited.values())

    def _covered(self, state: TrainingState) -> set[int]:
        """Returns the ids of the handles that a checkpoint holds, or that need not be in one."""
        metrics = [metric for evaluation in self._evaluations.values() for metric in evaluation.step.metrics.values()]
        own = [raw(variable) for metric in metrics for variable in metric.variables]
        for chunk in (self.chunk, *(evaluation.chunk for evaluation in self._evaluations.values())):
            own += chunk.own
        return state.handles | {id(variable.handle) for variable in own}

    def _held(self, state: TrainingState, given: Iterable[str]) -> dict[int, str]:
        """Returns names, which are the same in every process, of what `_covered` has the handles of."""
        found = {id(variable.handle): path for path, variable in state.variables.items()}
        for name, evaluation in self._evaluations.items():
            metrics = [variable for metric in evaluation.step.metrics.values() for variable in metric.variables]
            found |= {id(raw(variable).handle): f"metrics of {name}/{i}" for i, variable in enumerate(metrics)}
        for key in given:
            nodes = tf.train.TrackableView(getattr(state.root, key)).descendants()
            tables = [node.resource_handle for node in nodes if isinstance(node, RESTORED)]
            iterators = [node._iterator_resource for node in nodes if isinstance(node, tf.data.Iterator)]
            found |= {id(handle): f"{key}/resource {i}" for i, handle in enumerate([*tables, *iterators])}
        return found

    def reset(self) -> None:
        """Forgets the epoch's metrics; the means begin afresh with its first step."""
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
