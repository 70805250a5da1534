"""Ends a run, or rolls it back, at the step that returns something that is not finite."""

import functools
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import tensorflow as tf

from hooks.bounds import Bounds, Finite
from hooks.shared.figures import figure
from loop import Halt, Hook, Loop, Moment, TrainingState, Trigger

log = logging.getLogger("exactloop")
INSTEAD = {
    **dict.fromkeys(("monitor", "check_finite"), "write watch=['loss'], or leave it out: all values are watched"),
    **dict.fromkeys(("check_weights", "terminate_on_nan", "parameters", "params"), "write weights=True"),
    **dict.fromkeys(("divergence_threshold", "max_loss"), "write limits={'loss': 1e4}"),
    "patience": "leave it out: the first step counts. To stop when a metric gets no better: EarlyStopping",
    "verbose": "leave it out: what is found is logged by logging.getLogger('exactloop')",
}
REMEDY = "Look at the rows, the learning rate and what the loss divides by or takes the logarithm of."


class FoundWrong(Trigger):
    """What is wrong with the latest step, as a trigger: it makes nothing halt, and is due if something is wrong."""

    def __init__(self) -> None:
        self.what = ""

    def next_after(self, step: int) -> int | None:
        return None

    def next_time(self, seconds: float) -> float | None:
        return None

    def due(self, halt: Halt) -> bool:
        return self.what != ""


class NaNGuard(Hook, instead=INSTEAD):
    """Notices at the very step that a value is NaN or infinite, beyond its limit, or a spike.

        hooks=[NaNGuard(), Checkpoint(directory)]
        hooks=[NaNGuard("rollback", limits={"loss": 1e4}, spike={"loss": 5.0}), Checkpoint(directory, Every(steps=100))]

    It looks within the compiled loop, which halts for it only where something is found; that costs some microseconds a
    step, of spikes some tens. The state after such a step is never saved. What is watched is what the step returns: a
    gradient that is not finite shows in the weights after that step, and so in the loss of the next one only, or in
    none: a `relu` makes 0 of NaN on many processors. Return its norm, as `supervised(..., clip_norm=...)` does, or look
    at the weights as well, `weights=True`, and it is found at its step.

    With "rollback" the run goes on from the newest checkpoint before the batches that are skipped, as if it had been
    killed and started again there, and knew what to skip: what other hooks have counted, written and kept since then is
    put back, or cut, as in any resume. A skipped batch is read and not trained on; its step is counted, so all others
    keep theirs, and has no values. A warning says which batches they were and, of `ArrayData` and `IndexedData`, which
    rows. What is skipped is saved. A run that is killed in between finds it again, and ends with the same bits.

    Args:
        policy: "raise" raises `FloatingPointError`, "stop" ends the run with the reason, "rollback" goes back.
        watch: The names of the values that have to be finite; None: all that the step returns. Metrics are not among
            them.
        limits: The largest number that a value may be, by its name; NaN is beyond it.
        spike: By its name, how many times the median of its latest values a value may be; more exactly, it may exceed
            the median m by (spike - 1) * |m|. Nothing is a spike before there are `window` values.
        weights: Whether what was given to the loop has to be finite, too, but for optimizers and metrics. Each step
            reads all of it once more: that is little beside a step on many rows, and much beside one on a few.
        window: How many of the latest values the median is of.
        skip: How many batches to leave out: that of the step in which something was found, and those before it.
        max_rollbacks: After so many, the next one raises `FloatingPointError` instead.
        name: The name of the hook.

    Raises:
        ValueError: If an argument cannot be used; when a run begins, if the step returns no such value, or nothing, or
            there is no `Checkpoint` to roll back to.
        FloatingPointError: When something is found, with policy="raise", or too often.
    """

    _loop: Loop = Hook.later()
    _state: TrainingState = Hook.later()

    def __init__(
        self,
        policy: Literal["raise", "stop", "rollback"] = "raise",
        *,
        watch: Collection[str] | None = None,
        limits: Mapping[str, float] | None = None,
        spike: Mapping[str, float] | None = None,
        weights: bool = False,
        window: int = 100,
        skip: int = 1,
        max_rollbacks: int = 3,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or "nan_guard")
        for argument, count in {"window": window, "skip": skip, "max_rollbacks": max_rollbacks}.items():
            if count < 1:
                raise ValueError(f"NaNGuard({argument}=...) must be at least 1. Received: {count!r}.")
        if isinstance(watch, str):
            raise TypeError(f"NaNGuard(watch=...) needs a list of names. Write watch=[{watch!r}].")
        for argument, numbers in {"limits": limits, "spike": spike}.items():
            if not _is_of_numbers(numbers):
                raise TypeError(
                    f"NaNGuard({argument}=...) needs numbers by the names of values, as in {argument}={{'loss': 5.0}}. "
                    f"Received: {numbers!r:.80}."
                )
        for factor in (spike or {}).values():
            if not factor > 1:
                raise ValueError(f"NaNGuard(spike=...) must be above 1, times the median. Received: {factor!r}.")
        for limit in (limits or {}).values():
            if math.isnan(limit):
                raise ValueError("NaNGuard(limits=...) needs numbers. Received: nan.")
        self._policy, self._window, self._skip, self._max = policy, window, skip, max_rollbacks
        self._watch = None if watch is None else sorted(watch)
        self._limits, self._spike = dict(limits or {}), dict(spike or {})
        self._bounds = Bounds(self._watch, self._limits)
        self._finite = Finite(lambda: self._loop.weights) if weights else None
        # As a trigger, it lets `on_step_end` come exactly where the graph has halted, and nowhere else.
        self._finding = self.every = FoundWrong()
        self._known: list[int] = []  # at which steps something was found, until the state is restored
        self._skipped: list[int] = []
        # Steps, in state: a run that is killed after a rollback skips the same batches from its checkpoint on.
        self.found = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False, name="found")
        self.skipped = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False, name="skipped")
        # Of spikes: the latest values, their medians, and how many values there were. Of no shape of their own, because
        # a resumed run may look for others.
        none = tf.zeros([len(self._spike), window], tf.float64)
        self.latest = tf.Variable(none, shape=[None, None], trainable=False, name="latest")
        self.medians = tf.Variable(none[:, 0], shape=[None], trainable=False, name="medians")
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False, name="count")

    def before_dry_run(self, directory: str) -> None:
        """Has what is found raised: there is nothing to go back to, and nothing to stop."""
        self._policy = "raise"

    def around_run(self, loop: Loop) -> AbstractContextManager[object]:
        self._loop = loop  # whose weights are looked at where it is traced
        return nullcontext()

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._state, self._finding.what = loop.state, ""
        # Of the step alone: results of metrics are there only where the loop halts.
        known = {name for names in loop.state.names.get("train", ((), ())) for name in names}
        if loop.state.names:  # else nothing is left to run
            unknown = sorted({*(self._watch or ()), *self._limits, *self._spike} - known)
            if unknown or not known:
                raise ValueError(
                    f"NaNGuard watches {', '.join(map(repr, unknown)) or 'what the step returns'}, but the step "
                    f"returns: {', '.join(map(repr, sorted(known))) or 'nothing; let it return its loss'}."
                )
        if self._policy == "rollback":
            if not any(hook.saves for hook in loop.hooks):
                raise ValueError(
                    "NaNGuard('rollback') goes back to a checkpoint, and no hook saves one. Add "
                    "Checkpoint(directory, Every(steps=100)), or write NaNGuard('stop')."
                )
            if (loop.steps_per_epoch or math.inf) <= self._skip:
                raise ValueError(
                    f"NaNGuard(skip={self._skip}) would leave nothing of an epoch of {loop.steps_per_epoch} steps. "
                    "Skip fewer, or write NaNGuard('stop')."
                )

    def on_run_begin(self, moment: Moment) -> None:
        self._finding.what = ""
        # After the restore, which has put back what an older checkpoint knew.
        if self._known:
            found = sorted({*self.found.numpy().tolist(), *self._known})
            # With what is known since: a second rollback must not forget the batch of the first.
            self.found.assign(found)
            self.skipped.assign(sorted({step for at in found for step in self._skipping(at)}))
            self._known = []
        self._skipped = self.skipped.numpy().tolist()
        wanted = [len(self._spike), self._window]
        if tf.shape(self.latest).numpy().tolist() != wanted:  # of a run that was looking for others
            self.latest.assign(tf.zeros(wanted, tf.float64))
            self.medians.assign(tf.zeros(wanted[:1], tf.float64))
            self.count.assign(0)

    def skips(self) -> Sequence[int]:
        return self._skipped

    def after_step(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor:
        values = {name: tf.convert_to_tensor(value) for name, value in values.items()}
        wrong = self._bounds.broken(values)
        if self._spike and self._spike.keys() <= values.keys():
            wrong.append(tf.reduce_any(self._is_spike(_wide(values, self._spike))))
        if self._finite:
            wrong.append(self._finite.suspect())
        return functools.reduce(tf.logical_or, wrong or [tf.constant(False)])

    def _is_spike(self, values: tf.Tensor) -> tf.Tensor:
        """Returns which values are spikes, bool `[values]`, and takes them in."""
        count = self.count.read_value()
        # [values, window], float64, ascending; of this shape since `on_setup`, as XLA has to know. The median of an
        # even window is between the two in the middle.
        latest = tf.sort(tf.ensure_shape(self.latest.read_value(), [len(self._spike), self._window]))
        medians = (latest[:, (self._window - 1) // 2] + latest[:, self._window // 2]) / 2
        factors = tf.constant([*self._spike.values()], tf.float64)
        above = values - medians > (factors - 1) * tf.abs(medians)
        self.medians.assign(medians)
        rows = tf.range(len(self._spike), dtype=tf.int64)
        # A ring: the oldest value is overwritten, at `count` modulo `window`.
        self.latest.scatter_nd_update(tf.stack([rows, tf.fill([len(self._spike)], count % self._window)], 1), values)
        self.count.assign_add(1)
        return tf.logical_and(above, count >= self._window)

    def on_steps(self, first_step: int, values: Mapping[str, np.ndarray]) -> None:
        # Of the last step of the call, since the compiled loop halts at the step in which something is found.
        latest = {name: float(column[-1]) for name, column in values.items()}
        self._finding.what = self._wrong(latest)

    def _wrong(self, values: Mapping[str, float]) -> str:
        """Returns what is wrong with a step, as it was seen in the compiled loop; nothing if all is well."""
        if said := self._bounds.said(values):
            return said
        if self._spike and int(self.count) > self._window:
            for (name, factor), median in zip(self._spike.items(), self.medians.numpy().tolist(), strict=True):
                if values[name] - median > (factor - 1) * abs(median):
                    above = f"is more than {figure(factor)} times the median of {figure(median, 6)}"
                    return f"{name} = {figure(values[name], 6)} {above}"
        return self._finite.said() if self._finite else ""

    def on_step_end(self, moment: Moment) -> None:
        if not self._finding.what:
            return  # in a dry run, which calls all of them
        what = f"{self._finding.what} after step {moment.step}"
        self._finding.what = ""
        if self._policy == "stop":
            # Or the last save of the run would have it, and the next start go on from there.
            self._state.condemn(f"A run of this loop was stopped because {what}")
            log.warning("NaNGuard: %s: %s.", what, self._batches(moment, [moment.step]))
            moment.stop(what)
        elif self._policy == "raise":
            raise FloatingPointError(f"{what}: {self._batches(moment, [moment.step])}. {REMEDY}")
        else:
            self._go_back(moment, what)

    def _go_back(self, moment: Moment, what: str) -> None:
        found = self.found.numpy().tolist()
        skipped = self._skipping(moment.step)
        batches = self._batches(moment, skipped)
        if len(found) >= self._max:  # a fault that comes again is no chance, and skipping it forever is no training
            before = ", ".join(map(str, found))
            raise FloatingPointError(
                f"{what}: {batches}. The run was rolled back {len(found)} times, for steps {before}; "
                f"max_rollbacks={self._max}. {REMEDY}"
            )
        log.warning("NaNGuard: %s. The run goes back, to leave out %s.", what, batches)
        self._known = [*found, moment.step]
        # Raises. What is known goes to the next `on_run_begin` by an attribute, since all variables are restored.
        self._loop.roll_back(f"{what}, and there is no checkpoint before step {skipped[0]}", latest=skipped[0] - 1)

    def _skipping(self, step: int) -> range:
        return range(max(1, step - self._skip + 1), step + 1)

    def _batches(self, moment: Moment, steps: Sequence[int]) -> str:
        """Says which batches those of some steps are, up to the present one."""
        length = self._loop.steps_per_epoch
        whole = length is not None and moment.step - moment.step_in_epoch == moment.epoch * length
        said = []
        for step in steps:
            # Where epochs have a known length, and none was ended early, steps before this one are found as well.
            epoch, index = moment.epoch, moment.step_in_epoch - 1 - (moment.step - step)
            epoch, index = divmod(step - 1, length) if length and whole else (epoch, index)
            rows = self._loop.rows(epoch, index) if index >= 0 else None
            of_rows = f" (rows {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''})" if rows else ""
            said.append(f"batch {index + 1} of epoch {epoch + 1}{of_rows}" if index >= 0 else f"that of step {step}")
        return ", ".join(said)


def _is_of_numbers(given: object) -> bool:
    if isinstance(given, Mapping):
        return all(isinstance(number, int | float | np.number) for number in given.values())
    return given is None


def _wide(values: Mapping[str, tf.Tensor], names: Collection[str]) -> tf.Tensor:
    """Returns some of the values: float64 `[names]`, which holds whatever is logged of them."""
    return tf.stack([tf.cast(values[name], tf.float64) for name in names])
