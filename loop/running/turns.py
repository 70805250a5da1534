"""Loops that train in turns with one step: each finds what the step measures and adds up as it has left it."""

import contextlib
import weakref
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from loop.steps import Step
from loop.tensors import put, raw, read

USED_BY: "weakref.WeakKeyDictionary[object, weakref.ref[Turns]]" = weakref.WeakKeyDictionary()
BUSY = (
    "A loop that is running has {0} in its step, and so has this one: what both measure would be added up together. "
    "Give this loop a step of its own, Step(function, metrics={{...}}) or supervised(..., metrics={{...}}), with "
    "metrics of its own; or run one loop when the other has ended."
)


class Turns:
    """Knows what is a loop's own in its step: sums of metrics in mid-epoch, and gradients that are collected.

    It is by the metrics and not by the step, because two steps may have one metric. Values are held, at no cost of
    memory until they change.

    Attributes:
        runs: Whether the loop is running.
        left: What it has left, while another loop has it in use, by the `id` of the metric.

    Args:
        step: The train step.
    """

    def __init__(self, step: Step) -> None:
        self._step, self.runs = step, False
        self.left: dict[int, Sequence[tf.Tensor]] = {}  # the step holds what the ids are of

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Has for itself, within it, what is in the step.

        Raises:
            RuntimeError: If another loop has it, and is running.
        """
        others = [(thing, USED_BY[thing]()) for thing in self._step.held() if thing in USED_BY]
        for thing, other in others:
            if other is not None and other is not self and other.runs:
                raise RuntimeError(BUSY.format(_called(thing)))
        taken = [(thing, other) for thing, other in others if other is not self]
        # All of them before any is changed: Keras' own hold one another.
        for thing, other in taken:
            if other is not None:
                other.left[id(thing)] = [read(raw(variable)) for variable in thing.variables]
        for thing, _ in taken:
            self._put_back(thing)
        self._note()
        self.runs = True
        try:
            yield
        finally:
            self.runs = False
            self._note()  # once more, of metrics that were made by the trace

    def _note(self) -> None:
        for thing in self._step.held():
            USED_BY[thing] = weakref.ref(self)

    def _put_back(self, thing: keras.Metric | tf.Module) -> None:
        variables = [raw(variable) for variable in thing.variables]
        if left := self.left.pop(id(thing), None):
            for variable, value in zip(variables, left, strict=False):  # more, if some were made since
                put(variable, value)
        # A loop that has never run begins with nothing, as the first one did.
        elif isinstance(thing, keras.Metric):
            thing.reset_state()
        else:
            for variable in variables:
                put(variable, tf.zeros_like(read(variable)))


def _called(thing: keras.Metric | tf.Module) -> str:
    return f"metric {thing.name!r}" if isinstance(thing, keras.Metric) else "gradients of several batches"
