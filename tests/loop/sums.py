"""Numbers of TensorFlow that are to be compared with those of a loop, bit for bit."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Leaves TensorFlow's optimizer of arithmetic out of what is called within, as it is left out of a loop.

    It adds several numbers in an order of its own, which need not be the same twice.
    """
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})
