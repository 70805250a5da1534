"""Set up once for all tests, before TensorFlow does anything."""

import collections
import gc
import os
import signal
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf
from samples import ONE_IN
from tensorflow.python.ops import stateful_random_ops

from loop.running.ended import going_on

tf.config.experimental.enable_op_determinism()
# A shell has what it starts in the background ignore it, and so would the processes that are interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Function]) -> None:
    """Marks as `more` what `make test` leaves to `make test-more`."""
    met = collections.Counter[str]()
    for item in items:
        name = item.originalname
        if (one_in := ONE_IN.get(name)) is not None:
            if met[name] % one_in if isinstance(one_in, int) else item.callspec.id not in one_in:
                item.add_marker(pytest.mark.more)
            met[name] += 1


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Has the garbage collector leave out TensorFlow and the tests, or each look at them takes a tenth of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test begins with the same random streams, and with layer names that count from the beginning."""
    keras.utils.clear_session(free_memory=False)  # collecting garbage would cost half a second
    keras.utils.set_random_seed(1)
    going_on.clear()
    stateful_random_ops.global_generator = None  # one that a test asked for would be in the state of all later ones
