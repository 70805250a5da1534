"""What hooks, and tools, may ask a loop."""

import keras
import tensorflow as tf

from loop.data.arrays import ArrayData
from loop.data.indexed import IndexedData
from loop.registry import HookRegistry
from loop.running.compiled import Compiled
from loop.running.making import Making
from loop.running.parts import Parts
from loop.running.unsaved.variables import Unsaved, values_in_python
from loop.state.rates import optimizers_by_path
from loop.state.training_state import TrainingState
from loop.triggers import Trigger, of_steps_only
from loop.workers.cluster import Workers


class Facts:
    """What is known of a loop: where it stands, what it logs, what it was made of. Nothing here changes anything.

    `Loop` is what there is of it; it stands apart so that what a loop does can be read alone.

    Args:
        parts: What the loop is made of.
        making: Traces it.
    """

    def __init__(self, parts: Parts, making: Making) -> None:
        self._parts, self._making = parts, making

    @property
    def hooks(self) -> HookRegistry:
        """The hooks; more may be added."""
        return self._parts.hooks

    @property
    def state(self) -> TrainingState:
        """Everything that a resumed run needs; from `SETUP` on."""
        return self._making.state

    @property
    def graph(self) -> tf.Graph:
        """The train step as it was traced; from `SETUP` on, unless nothing is left to run."""
        return self._built.trace.graph

    @property
    def _built(self) -> Compiled:
        return self._making.compiled

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of the epochs so far, by name; see `RunResult.history`. From `RUN_BEGIN` on."""
        return self._parts.history.result()

    @property
    def workers(self) -> Workers:
        """This process among those that train together: its `rank`, and their `count`."""
        return self._parts.workers

    @property
    def step(self) -> int:
        """Train steps completed since the very first start."""
        return self._parts.position.place().step

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self._parts.position.place().epoch

    @property
    def step_in_epoch(self) -> int:
        """Train steps completed in the current epoch."""
        return self._parts.position.place().step_in_epoch

    @property
    def examples(self) -> int:
        """Examples in the train steps completed in the current epoch, or, as an epoch ends, in that; from `SETUP` on,
        unless nothing is left to run."""
        return int(self._built.means.weight)

    @property
    def steps_per_epoch(self) -> int | None:
        """Train steps in an epoch; None if nobody knows before it ends."""
        return self._parts.limit.of(self._parts.data.steps_per_epoch)

    @property
    def total_steps(self) -> int | None:
        """The step at which the run will end if nobody stops it; None before a run, or if nobody knows."""
        return self._parts.stops.total_steps(self.steps_per_epoch, self._parts.position.place())

    @property
    def total_epochs(self) -> int | None:
        """How many epochs are complete, the last one maybe in part, when the run ends if nobody stops it; None if
        nobody knows."""
        return self._parts.stops.total_epochs(self.steps_per_epoch, self._parts.position.place())

    @property
    def metrics(self) -> dict[str, keras.Metric]:
        """The metrics of the train step and of evaluations, by the names under which their results are logged."""
        step, evaluations = self._parts.step, self._parts.evaluations
        evaluated = {f"{each.name}_{name}": m for each in evaluations for name, m in each.step.measured().items()}
        return {**step.measured(), **evaluated}

    @property
    def train_names(self) -> tuple[str, ...]:
        """The names that `EPOCH_END` will log of training: of the step, and learning rates; from `SETUP` on."""
        return (*self._making.train_names, *self._making.rates.names)

    @property
    def evaluation_names(self) -> dict[str, tuple[str, ...]]:
        """The names that each evaluation will log, by its own name; from `SETUP` on."""
        return {evaluation.name: evaluation.names for evaluation in self._parts.evaluations}

    @property
    def unscheduled_names(self) -> tuple[str, ...]:
        """The names of `evaluation_names` that no run logs, because only `evaluate()` makes these evaluations."""
        return tuple(name for evaluation in self._parts.evaluations.never() for name in evaluation.names)

    @property
    def evaluated_batches(self) -> dict[str, tuple[int, int | None]]:
        """How many batches each evaluation has read in its latest pass, which may be under way, and how many there are,
        if that is known; by its name. To be read from any thread; from `SETUP` on."""
        return {evaluation.name: evaluation.read() for evaluation in self._parts.evaluations}

    @property
    def reported_names(self) -> tuple[str, ...]:
        """The names that hooks announce, and may report in any round."""
        return self.hooks.reports.names

    @property
    def rate_names(self) -> tuple[str, ...]:
        """The names under which learning rates are logged, as far as no step logs a value of that name."""
        return self._making.rates.names

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers in `state=`, by the paths that the names of their learning rates have."""
        return optimizers_by_path(self._parts.given)

    @property
    def weights(self) -> dict[str, tf.Variable]:
        """The weights of what was given in `state=`, by path, as far as they are built: no optimizer slots, metrics and
        random states. May be asked while a step is traced."""
        with tf.init_scope():
            return TrainingState(self._parts.given, position=self._parts.position).weights()

    def needs_halt(self, trigger: Trigger) -> bool:
        """Returns whether `on_steps` lacks something of what `STEP_END` would log at the steps of a trigger.

        That is: running results of metrics, and steps that `next_after` alone does not tell.
        """
        # `on_steps` comes late, and with values alone: a result so far is that of the step at which it is read.
        return bool(self._parts.step.metrics) or not of_steps_only(trigger)

    def rows(self, epoch: int, index: int) -> list[int] | None:
        """Returns the numbers of the rows in batch `index` of an epoch, both from 0; None if the data do not know."""
        data = self._parts.data
        # Of these the order is a function of the seed, so that nothing is read for it.
        return data.rows(epoch, index) if isinstance(data, ArrayData | IndexedData) else None

    def unsaved(self) -> tuple[dict[str, str], dict[str, str]]:
        """Returns digests of what hooks of the program hold or name now and no checkpoint has, by what to call it.

        That is variables, and plain values of Python, among them the states that hooks return to be saved, which may be
        others when they were restored. For tools that compare runs.
        """
        hooks, state = self._parts.hooks, self._making.state
        return (
            Unsaved(hooks, state.handles | hooks.kept).values(),
            values_in_python(hooks) | {f"{name} of the state": said for name, said in state.in_python().items()},
        )

    def describe_data(self) -> str:
        """Returns what the data do in another way than they were written, so that they can be resumed exactly.

        Nothing is read for that. A line for each stage that shuffles, repeats, draws or calls Python, with what that
        depends on now; see `StreamData`.
        """
        # No dict: an evaluation may be called "training".
        said = [("training", self._parts.data), *((each.name, each.data) for each in self._parts.evaluations)]
        lines = [f"{name}: {change}" for name, data in said for change in data.changes()]
        return "\n".join(lines) or "The data are read as they were written."
