"""What hooks have in the compiled loop: something done before each step, something looked at after it."""

import contextlib
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from loop.engine.traced.drawn import drawn_from_state
from loop.engine.traced.ring import LONGEST
from loop.errors.kinds import shown
from loop.hook import Hook
from loop.tensors import put, write


class Inside:
    """The parts of hooks that are traced into the compiled loop. Of a loop without such hooks, it adds nothing.

    Attributes:
        hooks: The hooks, in their order.
        variables: What is read in the loop and written before each call of it; not for checkpoints.

    Args:
        hooks: As above.
        in_parts: Whether the steps that are prepared are run in several calls; see `continue_after`.
    """

    def __init__(self, hooks: Sequence[Hook] = (), *, in_parts: bool = False) -> None:
        self.hooks = tuple(hooks)
        # By the class: a hook that overrides neither costs no operation in a step.
        self._fed = [hook for hook in self.hooks if type(hook).before_step is not Hook.before_step]
        self._looking = [hook for hook in self.hooks if type(hook).after_step is not Hook.after_step]
        # Of each, float32 [LONGEST]: a number for each step of the longest call.
        self._ahead = [tf.Variable(tf.zeros([LONGEST]), trainable=False, name="ahead") for _ in self._fed]
        # Of 64 bits: integers of 32 are on the host, where no program of an accelerator can read them.
        self._done: list[tf.Variable] = []
        if self._fed and in_parts:
            self._done = [tf.Variable(0, dtype=tf.int64, trainable=False, name="done")]
        self.variables = [*self._ahead, *self._done]
        self._said: int | None = None  # what is in `done`, if that is known

    def prepare(self, step: int, count: int) -> None:
        """Asks, before a call of the loop, for the numbers of the steps that it may run; some 15 us a hook."""
        for hook, table in zip(self._fed, self._ahead, strict=True):
            # All of the table, however few steps: a variable in the graph has one shape.
            numbers = np.zeros([LONGEST], np.float32)
            numbers[:count] = _numbers(hook, hook.ahead(step, count), count)
            put(table, tf.constant(numbers))
        self.continue_after(0)

    def continue_after(self, done: int) -> None:
        """Says how many of the steps that are prepared have been run, before a call that runs others of them."""
        for variable in self._done if done != self._said else ():
            self._said = None  # an interrupt may come before it is written
            write(variable, done)  # how many steps to add to the index, which begins at 0 in each call
            self._said = done

    # What follows is traced into the compiled loop.

    def before(self, index: tf.Tensor) -> None:
        """Does what is to be done before step `index` of the call."""
        index = index + tf.cast(self._done[0].read_value(), tf.int32) if self._done else index
        for hook, table in zip(self._fed, self._ahead, strict=True):
            with drawn_from_state():
                hook.before_step(tf.raw_ops.ResourceGather(resource=table.handle, indices=index, dtype=tf.float32))

    def after(self, values: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """Returns whether the loop has to return after this step, bool `[]`; None if nobody looks."""
        with drawn_from_state() if self._looking else contextlib.nullcontext():
            found = [halts for hook in self._looking if (halts := _halts(hook, hook.after_step(values))) is not None]
        return functools.reduce(tf.logical_or, found) if found else None


def _numbers(hook: Hook, given: object, count: int) -> np.ndarray:
    """Returns what a hook has said of the steps ahead: float32 `[count]`."""
    try:
        return np.reshape(np.asarray(given, np.float32), [count])
    except (TypeError, ValueError):
        shape = f", shape {given.shape}" if isinstance(given, np.ndarray | tf.Tensor) else ""
        raise ValueError(
            f"Hook {hook.name!r}: ahead(step, count) needs a number for each of the {count} steps. Received: "
            f"{shown(given)}{shape}. Return a list or an array, such as [0.1] * count."
        ) from None


def _halts(hook: Hook, given: object) -> tf.Tensor | None:
    """Returns what a hook has said of a step: bool `[]`; None if it returns nothing, and so never halts."""
    if given is None:
        return None
    halts = tf.convert_to_tensor(given)
    if halts.dtype != tf.bool or halts.shape.rank not in (0, None):
        raise TypeError(
            f"Hook {hook.name!r}: after_step(values) returns whether the loop is to halt there, a bool of shape []. "
            f"Received: {halts.dtype.name}, shape {halts.shape}. Write tf.reduce_any(...) around several, and a "
            "comparison around a number, as in values['loss'] > 10."
        )
    return halts
