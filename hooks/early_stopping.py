"""Ends a run whose metric gets no better."""

import logging
import math
from typing import Literal

import tensorflow as tf

from hooks.shared.figures import counted, figure
from hooks.shared.monitor import Monitor, MonitorHook
from hooks.shared.numbers import number, numbers, put
from hooks.shared.texts import as_texts, from_texts, text_variable, texts_in
from loop import Event, Hook, Loop, Moment, TrainingState

log = logging.getLogger("exactloop")

INSTEAD = {
    "": "write mode='min' or mode='max', and patience=5",
    "restore_best_weights": "write restore_best='weights'",
    **dict.fromkeys(("monitor", "metric", "metric_name"), "write EarlyStopping('val_loss', mode='min')"),
    **dict.fromkeys(("stopping_threshold", "stop_value"), "write target=..."),
    "divergence_threshold": "write divergence=...",
    "check_finite": "write divergence=float('inf') with mode='min', or -float('inf') with mode='max'",
    "strict": "leave it out: a metric that nothing logs is refused when a run begins",
    "check_on_train_epoch_end": "leave it out: a metric of training is looked at when an epoch ends",
    "verbose": "leave it out: why a run has ended is in RunResult.reason",
}


class EarlyStopping(MonitorHook, instead=INSTEAD):
    """Stops when a metric has not improved for `patience` checks, or is as good as it has to be.

    A check is an evaluation for a metric such as "val_loss", the end of an epoch for one of the train step, each report
    of one that a hook reports. The rules are those of Keras' callback of this name, except that values are compared in
    double precision, NaN is never the best, and a `baseline` that is not beaten in time ends the run. What it has seen
    is saved: a resumed run goes on counting, and one that was ended so ends again at once.

    Args:
        monitor: The metric.
        mode: "min" or "max"; required, and never guessed.
        patience: Checks in a row without improvement after which to stop; 0 and 1 both stop at the first.
        min_delta: By how much a value has to be better than the best one to count.
        relative: Whether `min_delta` is a fraction of the best value's size; with mode="min", below 1.
        baseline: A value that has to be beaten before an improvement counts.
        start_from_epoch: Checks in epochs before this one, counted from 0, are ignored.
        target: Stop as soon as the metric is as good as this.
        divergence: Stop as soon as the metric is worse than this, or not finite.
        restore_best: What to put back to its values at the best check when the run ends: "weights" for models, layers
            and modules, "state" for all that was given to the loop. Training that goes on does so from the last step
            nevertheless. Costs a copy of these variables at each improvement, and its place in checkpoints.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is missing or out of range; when a run begins, if nothing reports the metric.
    """

    _monitor: Monitor
    _state: TrainingState = Hook.later()
    _kept: dict[str, tf.Variable] = Hook.later()

    def __init__(
        self,
        monitor: str,
        *,
        mode: Literal["min", "max"] | None = None,
        patience: int = 0,
        min_delta: float = 0.0,
        relative: bool = False,
        baseline: float | None = None,
        start_from_epoch: int = 0,
        target: float | None = None,
        divergence: float | None = None,
        restore_best: Literal["weights", "state"] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self._monitor = Monitor(f"EarlyStopping({monitor!r})", monitor, mode, min_delta=min_delta, relative=relative)
        for argument, count in {"patience": patience, "start_from_epoch": start_from_epoch}.items():
            if count < 0:
                raise ValueError(f"EarlyStopping({argument}=...) must be zero or positive. Received: {count!r}.")
        if restore_best not in (None, "weights", "state"):
            raise ValueError(
                f"EarlyStopping(restore_best=...): 'weights', 'state' or None. Received: {restore_best!r:.80}."
            )
        for argument, bound in {"baseline": baseline, "target": target, "divergence": divergence}.items():
            if bound is not None and math.isnan(bound):
                raise ValueError(f"EarlyStopping({argument}=...) needs a number. Received: {bound!r}.")
        # No patience is as much as one check: the first that brings nothing better ends the run.
        self._patience, self._baseline, self._start_from_epoch = max(patience, 1), baseline, start_from_epoch
        self._target, self._divergence, self._restore_best = target, divergence, restore_best
        if target is not None and divergence is not None and self._at_least(divergence, target):
            raise ValueError(
                "EarlyStopping(target=..., divergence=...) would end the run at the first check, whatever it is. With "
                f"mode={mode!r}, the target is the {'smaller' if mode == 'min' else 'larger'} one. Received: "
                f"target={target!r}, divergence={divergence!r}."
            )
        # NaN stands for none yet. In float64, which holds whatever is logged.
        self.best = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="best")
        self.watched = text_variable("watched", self._monitor.watched)
        self.best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self.last = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="last")
        self.checks = tf.Variable(0, dtype=tf.int64, trainable=False, name="checks")
        self.wait = tf.Variable(0, dtype=tf.int64, trainable=False, name="wait")
        # As texts, because nobody knows the shapes before the model is built, and state has to be there by then.
        self.copies = tf.Variable(tf.constant([], tf.string), shape=[None], trainable=False, name="copies")

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._monitor.attach(loop)
        self._state = loop.state
        # Called when a run begins: only then are the weights of a model that is built late there.
        self._kept = {None: dict, "weights": loop.state.weights, "state": loop.state.given}[self._restore_best]()

    def on_run_begin(self, moment: Moment) -> None:
        if self._monitor.is_another(self.watched):
            self._monitor.watch_anew(self.watched)
            for variable in (self.best, self.last, self.best_step, self.checks, self.wait):
                put(variable, math.nan if variable.dtype.is_floating else 0)
            self.copies.assign(tf.constant([], tf.string))
        if reason := self.reason_to_end():
            moment.stop(reason)

    def reason_to_end(self) -> str:
        """Decides by the state alone, so that a resumed run comes to the same verdict, and a new patience counts."""
        if not number(self.checks) or self._monitor.is_another(self.watched):
            return ""
        return self._verdict(number(self.last), int(number(self.wait)))

    def _verdict(self, last: float, wait: int) -> str:
        name = self._monitor.name
        if self._target is not None and self._at_least(last, self._target):
            return f"{name} = {figure(last, 6)} has reached the target of {figure(self._target, 6)}"
        if self._divergence is not None and not (math.isfinite(last) and self._at_least(last, self._divergence)):
            return f"{name} = {figure(last, 6)} has diverged beyond {figure(self._divergence, 6)}"
        if wait >= self._patience:
            best = f"{figure(number(self.best), 6)} at step {number(self.best_step)}"
            checks = counted(wait, "check")
            never = math.isnan(number(self.best))
            return f"{name} was NaN in {checks}" if never else f"{name} has not improved on {best} in {checks}"
        return ""

    def on_run_end(self, moment: Moment) -> None:
        # After an exception, weights stay as they are: they are what one looks for the cause in.
        if moment.error is None and self._kept and self.best_step > 0:
            try:
                # Not assigned: a run that goes on with more patience has to begin where this one was.
                self._state.override(from_texts(texts_in(self.copies), self._kept))
            except ValueError:
                log.warning(
                    "%s keeps nothing that could be put back: restore_best was another one when %s was best, at step "
                    "%d. The weights are those of the last step.", self.name, self._monitor.name, self.best_step
                )  # fmt: skip

    def _look(self, moment: Moment, value: float) -> None:
        if moment.epoch - (moment.event is Event.EPOCH_END) < self._start_from_epoch:  # which counts the one that ends
            return
        best, before, checks = numbers([self.best, self.wait, self.checks])
        wait = int(before) + 1
        if self._monitor.better(value, None if math.isnan(best) else best):
            put(self.best, value)
            put(self.best_step, moment.step)
            if self._restore_best:
                self.copies.assign(as_texts(self._kept.values()))  # sync: copies all of them to the host
            if self._baseline is None or self._monitor.better(value, self._baseline):
                wait = 0
        # Before the end is asked for: what is saved then has this check in it.
        put(self.checks, checks + 1)
        put(self.last, value)
        if wait != before:
            put(self.wait, wait)
        if reason := self._verdict(value, wait):
            moment.stop(reason)

    def _at_least(self, value: float, as_good_as: float) -> bool:
        return value <= as_good_as if self._monitor.mode == "min" else value >= as_good_as
