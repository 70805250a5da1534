"""Sets the learning rate: a function of the step or of the epoch."""

import inspect
import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from hooks.shared.numbers import number
from hooks.shared.rates import AssignedRates
from loop import Hook, Loop, Moment
from loop.tf_internals import call_flat, scalar

log = logging.getLogger("exactloop")
INSTEAD = {
    "rate": "write LearningRate(lambda step: 1e-3 * 0.99**step)",
    **dict.fromkeys(("schedule", "lr_schedule", "scheduler", "lr_lambda", "fn"), "write LearningRate(function)"),
    **dict.fromkeys(("warmup_steps", "warmup_epochs", "num_warmup_steps"), "write warmup=..., in steps"),
    **dict.fromkeys(("interval", "unit"), "write by='step' or by='epoch'"),
    "logging_interval": "leave it out: learning rates are logged by themselves",
    "verbose": "leave it out: learning rates are logged by themselves",
}


class KnownRates:
    """The rates of the steps or epochs from the first one on.

    Of its own, because to set something on a `tf.Module` takes 10 us, and an interrupt could come between the two.
    """

    def __init__(self) -> None:
        self.first, self.rates = 0, np.zeros([0])


class LearningRate(Hook, instead=INSTEAD):
    """Sets the learning rate of an optimizer, at exactly the step for which it is meant.

        hooks=[LearningRate(keras.optimizers.schedules.CosineDecay(1e-3, 10_000), warmup=500)]
        hooks=[LearningRate(lambda epoch: 0.1 * 0.5**epoch, by="epoch")]

    The rate is called with the number of train steps completed, or of epochs: 0 for the first one. By step, the
    compiled loop does not halt for it: the rates of the steps of a call are computed before it, and read in it, which
    costs some 3 us a step, and for each rate what the function takes: of a schedule of Keras, which is computed for
    each step by itself as the optimizer does it, 20 to 50 us. By epoch without `warmup`, it costs nothing between
    epochs. The function has to be one of its argument alone, or a resumed run would go on with other rates; where
    nobody knows how long an epoch is, it may be asked for steps that are never run, up to 8,192 of them. By step,
    `learning_rate` is logged as the rate that the step was made with. What others assign to it, such as a callback
    of Keras, is gone with the next one that this hook sets; a warning says so.

    Instead of this hook, a schedule can be given to the optimizer itself, as in `Adam(CosineDecay(...))`: then it goes
    by the updates of that optimizer, which are fewer than the steps where gradients are accumulated.

    Args:
        rate: A function from the number of steps or epochs to the rate, or a schedule of Keras.
        by: "step" or "epoch".
        warmup: For so many steps, from the first step of the training, the rate is made smaller: the k-th step, from 1,
            is made with k / warmup of it. So it rises linearly from 0, which no step is made with, and step `warmup` is
            the first one with the whole of it.
        optimizer: The path of the optimizer in `state=`, as in the name of its logged rate; required if there are
            several.
        name: The name of the hook.

    Raises:
        TypeError, ValueError: If an argument cannot be used; when a run begins, if there is no such optimizer, or its
            rate is a schedule already, or another hook sets it; before the step, if a rate is negative or not finite.
    """

    _loop: Loop = Hook.later()

    def __init__(
        self,
        rate: Callable[[int], float] | keras.optimizers.schedules.LearningRateSchedule,
        *,
        by: Literal["step", "epoch"] = "step",
        warmup: int = 0,
        optimizer: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            _check_function(rate)
        if warmup < 0:
            raise ValueError(f"LearningRate(warmup=...) must be zero or positive, in steps. Received: {warmup!r}.")
        self._function, self._by, self._warmup = rate, by, warmup
        self._compiled: Callable[[tf.Tensor], tf.Tensor] | None = None
        self._rates = AssignedRates("LearningRate", optimizer)
        self._known = KnownRates()
        self._step, self._set = 0, np.zeros([0])  # after which step which rates were set, one for each step or for all
        self._told = False

    # Before anything is traced, as `before_step` assigns to these variables in the graph.
    def around_run(self, loop: Loop) -> AbstractContextManager[object]:
        self._loop, self._set = loop, np.zeros([0])
        self._rates.attach(loop, alone=True)
        return nullcontext()

    def functions_called(self) -> list[Callable[..., object]]:
        return [self._function]

    def on_run_begin(self, moment: Moment) -> None:
        self._set = np.zeros([0])  # of a state that may have been undone

    def is_inside(self) -> bool:
        return self._by == "step" or self._warmup > 0

    def on_epoch_begin(self, moment: Moment) -> None:
        if not self.is_inside():
            rates = self._rates_from(moment.epoch, 1)
            self._look(moment.step, rates)
            self._assign(scalar(rates[0], tf.float32))

    def ahead(self, step: int, count: int) -> np.ndarray:
        rates = self._rates_from(step, count) if self._by == "step" else self._rates_from(self._loop.epoch, 1)
        # A factor on the rate itself, so a rate of the function at that step is what it rises to.
        if step < self._warmup:
            rates = rates * np.minimum(1.0, np.arange(step + 1, step + count + 1) / self._warmup)
        self._look(step, rates)
        return np.broadcast_to(rates, [count])

    def _look(self, step: int, rates: np.ndarray) -> None:
        """Says it once if the rate is no longer what was set here, before others are set."""
        if len(self._set) and not self._told:
            # The rate of the latest step that was run: a call may have ended before the last that was set ahead.
            own = np.float32(self._set[min(step - self._step, len(self._set)) - 1])
            for path, variable in self._rates.variables.items():
                kind = variable.dtype.as_numpy_dtype
                found = kind(number(variable))  # sync: reads one scalar for each call of the compiled loop
                if found != own.astype(kind):
                    self._told = True
                    log.warning(
                        "Something else has set the learning rate of %s to %.6g after step %d, and hook %r sets it to "
                        "%.6g now. Leave one of the two out, or compute the rate in the function of this hook.",
                        path, found, step, self.name, rates[0],
                    )  # fmt: skip
        self._step, self._set = step, rates

    def before_step(self, number: tf.Tensor) -> None:
        self._assign(number)

    def _assign(self, number: tf.Tensor) -> None:
        for variable in self._rates.variables.values():
            variable.assign(tf.cast(number, variable.dtype))

    def _rates_from(self, first: int, count: int) -> np.ndarray:
        """Returns the rates of so many steps or epochs; none is computed twice in a row."""
        # A call that has ended early is asked for the rest again, so what is known is kept from there on.
        kept = self._known
        begin = first - kept.first
        known = kept.rates[begin:] if 0 <= begin <= len(kept.rates) else kept.rates[:0]
        if missing := range(first + len(known), first + count):
            known = np.concatenate([known, self._computed(missing)])
        kept.first, kept.rates = first, known
        return known[:count]

    def _computed(self, numbers: range) -> np.ndarray:
        if isinstance(self._function, keras.optimizers.schedules.LearningRateSchedule):
            self._compiled = self._compiled or _of_schedule(self._function)
            # sync: float32, as the optimizer itself would compute them.
            found = self._compiled(tf.range(numbers.start, numbers.stop, dtype=tf.int64)).numpy()
        else:
            found = [self._function(number) for number in numbers]
        try:
            rates = np.array(found, np.float64)
            right = bool(rates.shape == (len(numbers),) and ((rates >= 0) & (rates < math.inf)).all())
        except (TypeError, ValueError):
            right = False
        if not right:  # each by itself, which takes as long as to compute it, and says which one is wrong
            return np.array([_checked(r, self._by, n) for n, r in zip(numbers, found, strict=True)])
        return rates


def _of_schedule(schedule: keras.optimizers.schedules.LearningRateSchedule) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what computes the rates of several steps, one by one, as an optimizer computes them."""

    def rates(steps: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(lambda step: tf.cast(schedule(step), tf.float32), steps, fn_output_signature=tf.float32)

    compiled = tf.function(rates, autograph=False).get_concrete_function(tf.TensorSpec([None], tf.int64))
    # As a step is called: else a sum of several numbers might have other bits from time to time.
    return lambda steps: call_flat(compiled, [steps])


def _check_function(rate: object) -> None:
    example = "LearningRate(lambda step: 1e-3 * 0.99**step)"
    if not callable(rate):
        raise TypeError(
            f"LearningRate needs a function from the number of steps to the rate, as in {example}, or a "
            f"keras.optimizers.schedules.LearningRateSchedule. Received: {rate!r:.80}."
        )
    try:
        inspect.signature(rate).bind(0)
    except TypeError as error:
        raise TypeError(
            f"LearningRate calls its function with one number, of steps or epochs, as in {example}. {error}. A rate "
            "that is computed from the one before would not be the same after a resume: compute it from the number."
        ) from None
    except ValueError:
        pass  # of a builtin, nobody knows


def _checked(rate: float, by: str, number: int) -> float:
    """Returns the rate of a step or an epoch as a float. Raises `ValueError` if it cannot be one."""
    try:
        found = float(rate)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < math.inf:
        received = f"Received {rate!r} for {by} {number}"
        raise ValueError(f"LearningRate: the learning rate must be a number, zero or positive. {received}.")
    return found
