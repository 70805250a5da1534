"""Up to where a compiled loop runs."""

import threading

import tensorflow as tf

from loop.types import write


class Bound:
    """The batch of the pass before which a compiled loop stops; any thread may pull it in while the loop runs.

    The train loop and its evaluations have one in common, because only one of them runs at a time.

    Attributes:
        variable: Its index, int32 `[]`, which the loop reads before each step: one comparison says whether to go on.
    """

    def __init__(self) -> None:
        with tf.device("CPU"):
            self.variable = tf.Variable(0, trainable=False, name="bound")
        self._lock = threading.RLock()  # whoever pulls may be a signal handler in the midst of `set`
        self._least, self._pulled = 0, False

    def set(self, first: int, end: int) -> None:
        """Bounds the call that begins with batch `first` by `end`, or, if it was pulled in before, by one step."""
        with self._lock:
            self._least = first + 1
            write(self.variable, end)
            if self._pulled:
                write(self.variable, self._least)

    def pull_in(self) -> None:
        """Makes the loop stop after the step in progress, or else the next call of it after one step."""
        with self._lock:
            self._pulled = True
            write(self.variable, self._least)

    def let_go(self) -> None:
        """Forgets that it was pulled in. To be called before looking at what it was pulled in for, or one is missed."""
        self._pulled = False
