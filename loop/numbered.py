"""The number of the step in which something is called, while the steps are traced."""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

DONE = contextvars.ContextVar[tf.Variable | None]("DONE", default=None)


@contextlib.contextmanager
def numbered(done: tf.Variable | None) -> Iterator[None]:
    """Makes `step_number` known.

    Args:
        done: Counts the train steps, each when it is complete: int64 `[]`. None: nobody does.
    """
    # Of this thread and context: two loops may be traced at the same time.
    token = DONE.set(done)
    try:
        yield
    finally:
        DONE.reset(token)


def counting() -> tf.Variable | None:
    """Returns what counts them, to be given to `numbered` where a step is traced once more; None if nothing does."""
    return DONE.get()


def step_number() -> tf.Tensor | None:
    """Returns the number of the train step that is being traced, from 1, int64 `[]`; None if none is.

    In an evaluation it is that of the next train step.
    """
    done = DONE.get()
    return None if done is None or not tf.inside_function() else done.read_value() + 1
