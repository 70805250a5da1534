"""Up to where a compiled loop runs."""

import threading

import tensorflow as tf

from loop.tensors import write
from loop.tf_internals import eagerly


class StopBound:
    """How many steps a call of a compiled loop runs; any thread may pull it in to one while the loop runs.

    The train loop and its evaluations have one in common, because only one of them runs at a time.

    Of several workers, all have to return after the same step. So whoever pulls it in only says so; the step adds that
    up, as it does with everything else, and then all halt.

    Attributes:
        variable: The number, int32 `[]`, which the loop reads before each step: one comparison says whether to go on.
        wish: Of several workers: whether this one wants it to be pulled in, float64 `[]`, which each step reads.

    Args:
        together: Whether there are several workers.
    """

    def __init__(self, *, together: bool = False) -> None:
        with tf.device("CPU"):  # where the condition of the loop is looked at
            self.variable = tf.Variable(0, trainable=False, name="bound")
            wish = tf.Variable(0.0, dtype=tf.float64, trainable=False, name="wish") if together else None
        self.wish = wish
        self._lock = threading.RLock()  # whoever pulls may be a signal handler in the midst of `set`
        self._pulled = False
        self._set: int | None = None  # what is in the variable, if that is known: epochs are of one length mostly

    @property
    def variables(self) -> list[tf.Variable]:
        """What the loop reads of it; not for checkpoints."""
        return [self.variable, *([] if self.wish is None else [self.wish])]

    def set(self, count: int) -> None:
        """Bounds the next call by `count` steps, or, if it was pulled in before, by one."""
        with self._lock:
            if self._set != count:
                self._set = None  # an interrupt may come before it is written
                write(self.variable, count)
                self._set = count
            if self._pulled:  # since the last call, or by the handler of a signal between these two lines
                self._pull()

    def pull_in(self) -> None:
        """Makes the loop stop after the step in progress, or else the next call of it after one step."""
        with self._lock:
            self._pulled = True
            self._pull()

    def _pull(self) -> None:
        # One step, not none: a run that is pulled in again and again is slow, and gets on.
        if self.wish is None:
            self._set = None
        with eagerly():  # the handler of a signal may call this in the midst of a trace, whose graph would have it
            write(self.variable if self.wish is None else self.wish, 1)

    @property
    def is_pulled_in(self) -> bool:
        """Whether somebody has pulled it in, and nobody has let it go since."""
        return self._pulled

    def let_go(self) -> None:
        """Forgets that it was pulled in. To be called before looking at what it was pulled in for, or one is missed."""
        with self._lock:
            self._pulled = False
            if self.wish is not None:
                # A handler that pulls it in just before this is heard by `set`, which looks at the flag.
                write(self.wish, 0.0)
