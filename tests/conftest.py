"""Set up once for all tests, before TensorFlow does anything."""

import collections
import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf
from samples import ONE_IN
from tensorflow.python.ops import stateful_random_ops

tf.config.experimental.enable_op_determinism()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Function]) -> None:
    """Marks as `more` what `make test` leaves to `make test-more`."""
    met = collections.Counter[str]()
    for item in items:
        name = item.originalname
        if name in ONE_IN:
            if ONE_IN[name] == 0 or met[name] % ONE_IN[name] > 0:
                item.add_marker(pytest.mark.more)
            met[name] += 1


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test begins with the same random streams, and with layer names that count from the beginning."""
    keras.utils.clear_session(free_memory=False)  # collecting garbage would cost half a second
    keras.utils.set_random_seed(1)
    stateful_random_ops.global_generator = None  # one that a test asked for would be in the state of all later ones
