"""Makes the learning rate smaller when a metric gets no better."""

import logging
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import tensorflow as tf

from hooks.shared.monitor import Monitor, MonitorHook
from hooks.shared.numbers import put
from hooks.shared.rates import AssignedRates
from hooks.shared.texts import text_variable
from loop import Loop, Moment

log = logging.getLogger("exactloop")
INSTEAD = {
    **dict.fromkeys(("monitor", "metric", "metric_name"), "write ReduceLROnPlateau('val_loss', mode='min')"),
    **dict.fromkeys(("threshold", "epsilon"), "write min_delta=..."),
    "threshold_mode": "write relative=True for 'rel', and leave it out for 'abs'",
    "eps": "leave it out: a rate at min_lr is not made smaller",
    "verbose": "leave it out: reductions are logged by logging.getLogger('exactloop')",
}


class ReduceLROnPlateau(MonitorHook, instead=INSTEAD):
    """Multiplies the learning rate by `factor` when a metric has not improved for `patience` checks.

        hooks=[ReduceLROnPlateau("val_loss", mode="min", factor=0.5, patience=3)]

    A check is an evaluation for a metric such as "val_loss", the end of an epoch for one of the train step, each report
    of one that a hook reports. The rules, and the defaults, are those of Keras' callback of this name, except that
    values are compared in double precision, and that NaN is never the best. What it has seen is saved, and the rate is,
    so a resumed run goes on counting.

    Args:
        monitor: The metric.
        mode: "min" or "max"; required, and never guessed.
        factor: What the rate is multiplied by, below 1.
        patience: Checks in a row without improvement after which to do it; 0 and 1 both do it at the first.
        min_delta: By how much a value has to be better than the best one to count.
        relative: Whether `min_delta` is a fraction of the best value's size; with mode="min", below 1.
        cooldown: For how many checks after a reduction nothing is counted.
        min_lr: The rate is not made smaller than this.
        optimizer: The path of the optimizer in `state=`, as in the name of its logged rate; None: all of them.
        name: The name of the hook.

    Raises:
        ValueError: If an argument is missing or out of range; when a run begins, if nothing reports the metric, or a
            rate is a schedule, which cannot be assigned, or another hook sets it.
    """

    _monitor: Monitor

    def __init__(
        self,
        monitor: str,
        *,
        mode: Literal["min", "max"] | None = None,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        relative: bool = False,
        cooldown: int = 0,
        min_lr: float = 0.0,
        optimizer: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        owner = f"ReduceLROnPlateau({monitor!r})"
        self._monitor = Monitor(owner, monitor, mode, min_delta=min_delta, relative=relative)
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau(factor=...) must be between 0 and 1. Received: {factor!r}.")
        for argument, number in {"patience": patience, "cooldown": cooldown, "min_lr": min_lr}.items():
            if not number >= 0:
                raise ValueError(f"ReduceLROnPlateau({argument}=...) must be zero or positive. Received: {number!r}.")
        # No patience is as much as one check, as in `EarlyStopping`.
        self._factor, self._patience, self._cooldown, self._min_lr = factor, max(patience, 1), cooldown, min_lr
        self._rates = AssignedRates(owner, optimizer)
        self.best = tf.Variable(math.nan, dtype=tf.float64, trainable=False, name="best")
        self.watched = text_variable("watched", self._monitor.watched)
        self.wait = tf.Variable(0, dtype=tf.int64, trainable=False, name="wait")
        self.cooling = tf.Variable(0, dtype=tf.int64, trainable=False, name="cooling")  # checks that are left of it

    # Before `on_setup` of other hooks, so two that set one rate are refused wherever they stand.
    def around_run(self, loop: Loop) -> AbstractContextManager[object]:
        self._rates.attach(loop, alone=False)
        return nullcontext()

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._monitor.attach(loop)

    def on_run_begin(self, moment: Moment) -> None:
        if self._monitor.is_another(self.watched):
            self._monitor.watch_anew(self.watched)
            put(self.best, math.nan)
            put(self.wait, 0)

    def _look(self, moment: Moment, value: float) -> None:
        best, wait, cooling = float(self.best), int(self.wait), int(self.cooling)
        # A check within a cooldown counts for nothing, but may still be the best.
        if cooling:
            cooling, wait = cooling - 1, 0
        if self._monitor.better(value, None if math.isnan(best) else best):
            best, wait = value, 0
        elif not cooling:
            wait += 1
            # If all rates are as small as they may be, it goes on counting, and no cooldown begins.
            if wait >= self._patience and self._reduce(moment.step):
                cooling, wait = self._cooldown, 0
        put(self.best, best)
        put(self.wait, wait)
        put(self.cooling, cooling)

    def _reduce(self, step: int) -> bool:
        """Reduces the rates that are not as small as they may be; returns whether there was one."""
        # Compared in float32: that of 1e-3 is more than 1e-3, and would be reduced to itself at each check.
        larger = {path: v for path, v in self._rates.variables.items() if float(v) > np.float32(self._min_lr)}
        for path, variable in larger.items():
            rate = max(float(variable) * self._factor, self._min_lr)
            log.info("%s: the learning rate of %s is %.6g after step %d.", self.name, path, rate, step)
            variable.assign(rate)  # in state, as a part of the optimizer
        return bool(larger)
