"""Up to where a compiled loop runs."""

import threading

import tensorflow as tf

from loop.tensors import write


class Bound:
    """How many steps a call of a compiled loop runs; any thread may pull it in to one while the loop runs.

    The train loop and its evaluations have one in common, because only one of them runs at a time.

    Attributes:
        variable: The number, int32 `[]`, which the loop reads before each step: one comparison says whether to go on.
    """

    def __init__(self) -> None:
        with tf.device("CPU"):
            self.variable = tf.Variable(0, trainable=False, name="bound")
        self._lock = threading.RLock()  # whoever pulls may be a signal handler in the midst of `set`
        self._pulled = False

    def set(self, count: int) -> None:
        """Bounds the next call by `count` steps, or, if it was pulled in before, by one."""
        with self._lock:
            write(self.variable, count)
            if self._pulled:
                write(self.variable, 1)

    def pull_in(self) -> None:
        """Makes the loop stop after the step in progress, or else the next call of it after one step."""
        with self._lock:
            self._pulled = True
            write(self.variable, 1)

    @property
    def is_pulled_in(self) -> bool:
        """Whether somebody has pulled it in, and nobody has let it go since."""
        return self._pulled

    def let_go(self) -> None:
        """Forgets that it was pulled in. To be called before looking at what it was pulled in for, or one is missed."""
        self._pulled = False
