"""Averages of the weights over the steps, to evaluate and to keep beside the weights themselves."""

import contextlib
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import keras
import tensorflow as tf

from hooks.averaged import Averaged
from hooks.shared.numbers import put
from loop import NEVER, Every, Halt, Hook, Loop, Moment, TrainingState, Trigger
from loop.tf_internals import Trackable, iterations, moving_averages

WITHIN = "write Evaluation(eval_step, data, name='average', within=average.exchanged), average being this hook"
INSTEAD = {
    **dict.fromkeys(("ema_momentum", "ema", "momentum", "ema_decay", "beta"), "write decay=0.999"),
    **dict.fromkeys(
        ("swa_epoch_start", "swa_start", "start_step", "update_starting_at_step"), "write start=..., a step"
    ),
    **dict.fromkeys(("steps", "update_every_n_steps", "average_period", "swa_freq"), "write every=Every(steps=10)"),
    **dict.fromkeys(("swap_on_epoch", "evaluate", "validate"), WITHIN),
    **dict.fromkeys(("model", "use_buffers"), "leave it out: what state={...} has of trained weights is averaged"),
    "use_ema": "write decay='optimizer'",
}


class From(Trigger):
    """A trigger from a step on.

    Args:
        start: The first step that may be wanted.
        every: Which of them are.
    """

    def __init__(self, start: int, every: Trigger) -> None:
        self._start, self._every = start, every

    def next_after(self, step: int) -> int | None:
        return self._every.next_after(max(step, self._start - 1))

    def next_time(self, seconds: float) -> float | None:
        return self._every.next_time(seconds)

    def due(self, halt: Halt) -> bool:
        return halt.step >= self._start and self._every.due(halt)

    def __repr__(self) -> str:
        return repr(self._every)


class WeightAverage(Hook, instead=INSTEAD):
    """Averages the trained weights: of models, layers and modules in `state=`, and of variables there.

    After each step of `every` the weights count 1, and what they were `n` steps before counts `decay ** n`. So nothing
    is biased towards the first weights, and with `decay=1` all count the same, as in stochastic weight averaging. The
    averages are a part of the state. They have float32 for weights of 32 bits and fewer, float64 for those of 64.
    Weights that training does not change, such as frozen ones, are exactly what they were; other values of layers, such
    as the statistics of batch normalisation, are not averaged.

    To evaluate with the averages, give `exchanged` to an evaluation, beside or instead of one of the weights:

    Example:
        >>> import tensorflow as tf
        >>> from hooks import WeightAverage
        >>> from loop import ArrayData, Evaluation, Loop
        >>> weight, average = tf.Variable(0.0), WeightAverage(decay=0.5)
        >>> def data():
        ...     return ArrayData(tf.range(8.0), batch_size=2)
        >>> def train_step(x):
        ...     return {"loss": weight.assign_add(1.0)}
        >>> def eval_step(x):
        ...     return {"weight": tf.identity(weight)}
        >>> evaluations = [
        ...     Evaluation(eval_step, data()),
        ...     Evaluation(eval_step, data(), name="average", within=average.exchanged),
        ... ]
        >>> loop = Loop(train_step, data(), state={"weight": weight}, evaluate=evaluations, hooks=[average])
        >>> logs = loop.run(steps=4).logs
        >>> print(logs["val_weight"], round(logs["average_weight"], 3), round(float(weight), 3))
        4.0 3.267 3.267

    When a run has ended, the weights have their averages, as with `fit`. Training that goes on does so from the last
    step nevertheless, as with `EarlyStopping(restore_best=...)`; of both, the one that stands first in `hooks=` counts.

    A step that is averaged makes the compiled loop halt, and costs about a millisecond, which steps of twenty do not
    feel. For tiny ones, `every=Every(steps=10)` costs a tenth: an average of each tenth step, over as many steps as
    otherwise. `decay="optimizer"` costs no halts: what is exchanged are the averages that optimizers with
    `use_ema=True` keep by themselves.

    Args:
        decay: By which the count of former weights is multiplied with each train step; above 0, and at most 1.
        every: After which steps the weights are averaged, from `start` on; not by seconds, because averages are state.
        start: The first step whose weights may count.
        corrected: If not, the first weights count as if they had always been there, as in Keras and in
            `tf.train.ExponentialMovingAverage`.
        at_end: What the weights are when a run has ended: "average", or "last" for those of the last step.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is out of range; when a run begins, with decay="optimizer" if no optimizer averages.
    """

    def __init__(
        self,
        decay: float | Literal["optimizer"] = 0.999,
        *,
        every: Trigger = Every(steps=1),
        start: int = 1,
        corrected: bool = True,
        at_end: Literal["average", "last"] = "average",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if decay != "optimizer" and not (isinstance(decay, numbers.Real) and 0 < decay <= 1):
            raise ValueError(
                "WeightAverage(decay=...) needs a number above 0 and at most 1, or 'optimizer'. "
                f"Received: {decay!r:.80}."
            )
        if every.next_time(0.0) is not None:
            raise ValueError(
                "WeightAverage(every=...) cannot be by seconds: averages would differ from run to run. "
                f"Write Every(steps=10) or Every(epochs=1). Received: {every!r}."
            )
        if start < 1:
            raise ValueError(f"WeightAverage(start=...) is a step, from 1. Received: {start!r}.")
        self._decay = 0.0 if decay == "optimizer" else float(decay)
        self._corrected, self._shows = corrected, at_end == "average"
        self.every = NEVER if decay == "optimizer" else From(start, every)
        # Of unknown length, because nobody knows the shapes before the model is built, and state has to be there then.
        self.narrow = tf.Variable(tf.zeros([0], tf.float32), shape=[None], trainable=False, name="narrow")
        self.wide = tf.Variable(tf.zeros([0], tf.float64), shape=[None], trainable=False, name="wide")
        self.total = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="total")  # of what the weights count
        self.latest = tf.Variable(0, dtype=tf.int64, trainable=False, name="latest")  # the step averaged last
        self._state: TrainingState | None = None
        self._averaged: Averaged | None = None
        self._optimizers: Callable[[], list[keras.optimizers.Optimizer]] = list

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        # Only now: a model that is built when it is first called has no weights before.
        self._state, weights = loop.state, self._weights(loop.state)
        if not (self._averaged and self._averaged.is_of(weights)):  # what it has traced is of use again
            self._averaged = Averaged(weights, self.narrow, self.wide)
        averaging = [] if self._decay else self._averaging(loop.state)
        self._optimizers = lambda: averaging  # not themselves, which would be a part of the state
        if not self._decay and not averaging:
            raise ValueError(
                "WeightAverage('optimizer') exchanges what optimizers average, and none does. Make one with "
                "use_ema=True, as in keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.999), or write "
                "WeightAverage(decay=0.999)."
            )

    def on_step_end(self, moment: Moment) -> None:
        (_, averaged), total = self._known(), float(self.total)
        # Of the steps since, not of the averages: so it does not matter how often it is averaged.
        kept = self._decay ** (moment.step - int(self.latest))
        now = total * kept + 1.0 if self._corrected else 1.0
        # The first average is the weights themselves, to the bit.
        averaged.move(1.0 if not total else 1.0 / now if self._corrected else 1.0 - kept)
        put(self.total, now)
        put(self.latest, moment.step)

    def on_run_end(self, moment: Moment) -> None:
        if moment.error is None and self._shows:
            # Shown, and not assigned: who goes on training goes on from the last step.
            self._known()[0].override(self.averages())

    def averages(self) -> Mapping[str, tf.Tensor]:
        """Returns the averages by the paths of the weights in the training state; nothing before there are any.

        Raises:
            RuntimeError: If no loop with this hook has begun to run.
        """
        state, averaged = self._known()
        if not self._decay:
            return {path: value.read_value() for path, value in self._of_optimizers(state).items()}
        return averaged.values() if float(self.total) else {}

    @contextlib.contextmanager
    def exchanged(self) -> Iterator[None]:
        """Within, the weights are their averages; after that they are what they were, bit for bit.

        For `Evaluation(within=...)` and `Export(within=...)`, or around anything else that uses the model between steps
        or when a run has ended. Before anything is averaged, the weights are what they are.

        Raises:
            RuntimeError: If no loop with this hook has begun to run.
        """
        # Copied before anything is assigned, so an error while they are made changes nothing.
        averages, variables = self.averages(), self._known()[0].variables
        held = {path: variables[path].read_value() for path in averages}  # no copies, as long as nothing is assigned
        try:
            for path, value in averages.items():
                variables[path].assign(value)
            yield
        finally:
            for path, value in held.items():
                variables[path].assign(value)

    def _known(self) -> tuple[TrainingState, Averaged]:
        if self._state is None or self._averaged is None:
            raise RuntimeError(
                f"Hook {self.name!r} knows no weights to average. Give it to the loop, as in Loop(..., "
                "hooks=[average]), and let that run."
            )
        return self._state, self._averaged

    @staticmethod
    def _weights(state: TrainingState) -> dict[str, tf.Variable]:
        """Returns the weights that were made to be trained, and can be averaged."""
        return {
            path: variable
            for path, variable in state.weights().items()
            if variable.trainable
            and (variable.dtype.is_floating or variable.dtype.is_complex)
            and variable.shape.is_fully_defined()
        }

    @staticmethod
    def _averaging(state: TrainingState) -> list[keras.optimizers.Optimizer]:
        """Returns the optimizers that average, also those within others."""
        # Also those of compiled models, and the inner one of a `LossScaleOptimizer`, which is the one that averages.
        views = map(tf.train.TrackableView, state.objects(Trackable).values())
        nodes = {id(node): node for view in views for node in view.descendants()}
        found = [each for each in nodes.values() if isinstance(each, keras.optimizers.Optimizer)]
        return [each for each in found if each.use_ema and each.built]  # else it trains nothing

    def _of_optimizers(self, state: TrainingState) -> dict[str, tf.Variable]:
        """Returns the averages that optimizers keep, by the paths of the weights; none before the first step."""
        paths = {id(variable): path for path, variable in state.variables.items()}
        # Before its first step, an optimizer's averages are zeros.
        begun = [each for each in self._optimizers() if int(iterations(each))]
        pairs = [(_raw(weight), _raw(average)) for each in begun for weight, average in moving_averages(each)]
        return {paths[id(weight)]: average for weight, average in pairs if id(weight) in paths}


def _raw(variable: tf.Variable | keras.Variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable
