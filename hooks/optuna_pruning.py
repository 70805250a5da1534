"""Lets a trial of Optuna be pruned."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import tensorflow as tf

from hooks.shared.monitor import Monitor, MonitorHook
from loop import Loop, Moment

if TYPE_CHECKING:
    import optuna

INSTEAD = {
    **dict.fromkeys(("metric", "observation_key"), "write OptunaPruning(trial, 'val_loss')"),
    **dict.fromkeys(("mode", "direction"), "leave it out: the direction is that of the study"),
    **dict.fromkeys(("interval", "every"), "leave it out: what is reported is each evaluation, or each epoch"),
}


class OptunaPruning(MonitorHook, instead=INSTEAD):
    """Reports a metric to a trial of Optuna, and prunes that when its study says so.

    After each evaluation, or epoch for a metric of the train step, the value is reported with the train step as its
    step. If the trial should be pruned, the run ends with that step, is saved as ever, and then `run()` raises
    `optuna.TrialPruned`, which goes out of the objective as Optuna wants it. A pruned run that is started again raises
    it again at once.

    A trial that was killed can be gone on with: the values that it has reported stay, and those that come again are the
    same. Optuna leaves such a trial as running; fail it, and have its parameters tried again from its checkpoints:

        for killed in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            number = killed.user_attrs.get("number", killed.number)
            study.enqueue_trial(killed.params, user_attrs={"number": number})
            study.tell(killed.number, state=optuna.trial.TrialState.FAIL)

    and, in the objective, `Checkpoint(f"runs/{trial.user_attrs.get('number', trial.number)}")`.

    Example:
        >>> import optuna, tensorflow as tf
        >>> from hooks import OptunaPruning
        >>> from loop import ArrayData, Loop
        >>> def objective(trial):
        ...     weight = tf.Variable(trial.suggest_float("start", 0.0, 9.0))
        ...     def train_step(x):
        ...         return {"loss": weight.assign_sub(0.1)}
        ...     data = ArrayData(tf.range(8.0), batch_size=2)
        ...     loop = Loop(train_step, data, state={"weight": weight}, hooks=[OptunaPruning(trial, "loss")])
        ...     return loop.run(epochs=3).logs["loss"]
        >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
        >>> for start in (1.0, 2.0, 0.5):
        ...     study.enqueue_trial({"start": start})
        >>> study.optimize(objective, n_trials=3)
        >>> [trial.state.name for trial in study.trials]
        ['COMPLETE', 'PRUNED', 'COMPLETE']

    Args:
        trial: The trial, as the objective is given it.
        monitor: The name of a metric, such as "val_loss".
        name: The name of the hook.

    Raises:
        ImportError: If Optuna is not installed.
        ValueError: When a run begins, if nothing reports the metric.
    """

    everywhere = False
    _monitor: Monitor

    def __init__(self, trial: "optuna.trial.BaseTrial", monitor: str, *, name: str | None = None) -> None:
        super().__init__(name=name)
        # When it is made, not when `hooks` is imported: Optuna is no requirement.
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise ImportError("OptunaPruning needs Optuna: pip install 'exactloop[optuna]'.") from error
        self._trial, self._pruned = trial, TrialPruned
        # Which trial is pruned, Optuna says; this is for `Progress`, which marks the best. A fixed trial has no study.
        study = getattr(trial, "study", None)
        mode: Literal["min", "max"] = "max" if study is not None and study.direction.name == "MAXIMIZE" else "min"
        self._monitor = Monitor(f"OptunaPruning(trial, {monitor!r})", monitor, mode)
        self.pruned = tf.Variable(0, dtype=tf.int64, trainable=False, name="pruned")  # after which step

    @contextlib.contextmanager
    def around_run(self, loop: Loop) -> Iterator[None]:
        # Raised when the run has ended and is saved, or the round would be torn; not if it has failed.
        yield
        if reason := self.reason_to_end():
            raise self._pruned(reason)

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._monitor.attach(loop)

    def reason_to_end(self) -> str:
        return f"the trial was pruned at step {int(self.pruned)}" if int(self.pruned) else ""

    def on_run_begin(self, moment: Moment) -> None:
        if reason := self.reason_to_end():
            moment.stop(reason)

    def _look(self, moment: Moment, value: float) -> None:
        with warnings.catch_warnings():
            # After a kill, a value comes again.
            warnings.filterwarnings("ignore", message="The reported value is ignored because this `step`")
            self._trial.report(value, moment.step)
        if self._trial.should_prune():
            self.pruned.assign(moment.step)
            moment.stop(self.reason_to_end())
