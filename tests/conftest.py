"""Set up once for all tests, before TensorFlow does anything."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf
from tensorflow.python.ops import stateful_random_ops

tf.config.experimental.enable_op_determinism()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test begins with the same random streams, and with layer names that count from the beginning."""
    keras.utils.clear_session(free_memory=False)  # collecting garbage would cost half a second
    keras.utils.set_random_seed(1)
    stateful_random_ops.global_generator = None  # one that a test asked for would be in the state of all later ones
