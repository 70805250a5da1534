"""Measures a loop, in the process in which it was made: nothing that it trains is kept."""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from exactloop.speed.config import Measured, SpeedConfig
from hooks import KerasCallbacks
from loop import ArrayData, At, Hook, IndexedData, Loop, Moment

ROUNDS = 5  # in turns, because other work on a machine changes times from one second to the next
CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")  # beginnings of types of operations, gradients included
OURS = "hooks"  # the package whose hooks write where they are told to
NAME = "exactloop_speed"  # which no hook of a user has


class Trains(Protocol):
    """What is asked of a `Rehearsal`."""

    steps: int

    def train(self, count: int) -> Mapping[str, np.ndarray]: ...


def measured(loop: Loop, data: object, config: SpeedConfig, directory: str, *, jit_compile: bool) -> Measured:
    """Returns how long steps of a loop take.

    Args:
        loop: The loop, which was not run yet.
        data: What it was given to train on.
        config: What to measure.
        directory: Where hooks may write.
        jit_compile: What it was made with.
    """
    with loop.rehearse() as rehearsal:
        # Within one rehearsal: all of them start from the state that the script made, and it is put back.
        rows, rehearsals = rehearsal.one_batch.rows, list[Trains]([rehearsal])
        if config.whole:
            rehearsals += [rehearsal.on_one_batch(), rehearsal.on_one_batch(idle=True)]
        times = _times(rehearsals, config)
    # Last, since a run changes the loop; it is not put back, as the process ends.
    with_hooks, hooks, left_out = _run(loop, times[0], config, directory) if config.whole else (None, {}, [])
    return Measured(
        compiled=times[0],
        one_batch=times[1] if config.whole else None,
        idle=times[2] if config.whole else None,
        run=with_hooks,
        hooks=dict(hooks),
        left_out=left_out,
        data=type(data).__name__ if not isinstance(data, tf.data.Dataset) else "tf.data",
        rows=rows,
        sized=isinstance(data, ArrayData)
        or (isinstance(data, IndexedData) and data.describe()["batch_size"] is not None),
        batches=loop.steps_per_epoch,
        jit_compile=jit_compile,
        convolves=any(op.type.startswith(CONVOLUTIONS) for op in loop.graph.get_operations()),
        on_cpu=not [each for each in tf.config.list_logical_devices() if each.device_type not in ("CPU", "XLA_CPU")],
    )


def _times(rehearsals: Sequence[Trains], config: SpeedConfig) -> list[float]:
    """Returns the seconds of a step of each."""
    share = config.seconds / len(rehearsals) / ROUNDS
    counts = [_count(each, share, config.steps) for each in rehearsals]
    rounds = [[_timed(each, n) for each, n in zip(rehearsals, counts, strict=True)] for _ in range(ROUNDS)]
    # A round in which the machine did something else does not count.
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _count(rehearsal: Trains, seconds: float, steps: int | None) -> int:
    """Returns how many steps a round has. Trains some: the first ones allocate, and find out how long calls may be."""
    count = 1
    while (took := _timed(rehearsal, count)) * count < seconds / 4 and steps is None:
        count *= 2  # until a round is long against the clock and the first call
    return max(1, int(seconds / took)) if steps is None else max(1, steps // ROUNDS)


def _timed(rehearsal: Trains, count: int) -> float:
    began, end = time.perf_counter(), rehearsal.steps + count
    while rehearsal.steps < end:  # a call may return early, as at the end of an epoch
        rehearsal.train(end - rehearsal.steps)
    return (time.perf_counter() - began) / count


class Marks(Hook):
    """Notes what the time has gone into, when a run has warmed up, and as far as it got.

    Args:
        loop: The loop.
        first: The step after which it has warmed up.
        seconds: How long it is to train from there.
    """

    def __init__(self, loop: Loop, first: int, seconds: float | None) -> None:
        super().__init__(name=NAME)
        self.every = At(first)  # one halt of its own; else halts are those that hooks of the program ask for
        self._loop, self._first, self._seconds, self._end = loop, first, seconds, float("inf")
        self._begin: Mapping[str, float] = {}
        self.spent: Mapping[str, float] = {}
        self.steps = 0

    def on_step_end(self, moment: Moment) -> None:
        """Has the loop halt there."""

    def on_settled(self, moment: Moment) -> None:
        if moment.step < self._first:
            return
        if not self._begin:
            self._begin = self._loop.spent  # seconds by what they went into, up to here
            self._end = time.perf_counter() + (self._seconds or float("inf"))
            return
        self.spent = {name: seconds - self._begin.get(name, 0.0) for name, seconds in self._loop.spent.items()}
        self.steps = moment.step - self._first
        if time.perf_counter() > self._end:
            moment.stop("it is measured")


def writes_elsewhere(hook: Hook) -> bool:
    """Returns whether nobody knows where a hook writes: one of a user that does not say so itself."""
    if type(hook).__module__.partition(".")[0] == OURS:
        return isinstance(hook, KerasCallbacks)
    # The nearest class that has the method: a subclass may write more than the one that says so.
    saying = next(kind for kind in type(hook).__mro__ if "before_dry_run" in vars(kind))
    return saying is Hook or saying.__module__.partition(".")[0] == OURS  # which knows nothing of what a user adds


def _leave_out(loop: Loop) -> list[str]:
    """Leaves out hooks of which nobody knows where they write, and returns their names.

    In the place of each is one that does nothing, but announces the same values: others may wait for them.
    """
    left_out = [hook for hook in loop.hooks if writes_elsewhere(hook)]
    for hook in left_out:
        loop.hooks.remove(hook.name)
        nothing = Hook(name=hook.name)
        nothing.reports = [*hook.reports]
        loop.hooks.add(nothing)
    return [hook.name for hook in left_out]


def _run(
    loop: Loop, compiled: float, config: SpeedConfig, directory: str
) -> tuple[float, Mapping[str, float], list[str]]:
    """Returns the seconds of a step in a run, those of each hook, and the names of hooks that were left out."""
    left_out = _leave_out(loop)
    for hook in loop.hooks:  # so nothing goes where the script's own files are
        hook.before_dry_run(directory)
    names = [hook.name for hook in loop.hooks if hook.name not in left_out]
    count = config.steps or max(1, int(config.seconds / compiled))
    first = loop.step + max(1, min(100, count // 4))  # the first steps allocate, and trace what hooks need
    marks = Marks(loop, first, config.seconds if config.steps is None else None)
    loop.hooks.add(marks)
    Loop.run(loop, steps=first + count)  # not what a subclass makes of it
    if not marks.steps:
        raise RuntimeError(f"A hook has ended the run before step {first + count}, so there is nothing to measure.")
    hooks = {name: marks.spent.get(name, 0.0) / marks.steps for name in names}
    own = sum(marks.spent.get(name, 0.0) for name in ("steps", "loop")) / marks.steps
    return own + sum(hooks.values()), hooks, left_out
