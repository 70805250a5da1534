"""The random streams that belong to the process and not to a model."""

import json
import random

import numpy as np
import tensorflow as tf

# Neither library has a public way to ask for its global generator without making one.
from keras.src.random.seed_generator import global_seed_generator
from tensorflow.python.ops import stateful_random_ops


class HostRandomness(tf.train.experimental.PythonState):
    """The states of Python's `random` and of NumPy's global generator, saved as numbers."""

    def serialize(self) -> str:
        version, words, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        numpy_state = [kind, np.asarray(keys).tolist(), position, has_gauss, cached]
        return json.dumps({"python": [version, words, gauss], "numpy": numpy_state})

    def deserialize(self, string_value: str | bytes) -> None:
        state = json.loads(string_value)
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, cached))


def random_streams() -> dict[str, object]:
    """Returns the trackable states of the process's random streams, by name.

    Keras' global generator serves `keras.random.*` calls without a seed. TensorFlow's is there if somebody asked for
    it. The stream behind `tf.random.*` functions is not: it cannot be saved at all.
    """
    streams: dict[str, object] = {"host": HostRandomness(), "keras": global_seed_generator().state}
    if stateful_random_ops.global_generator is not None:
        streams["tensorflow"] = stateful_random_ops.global_generator
    return streams


def global_seed() -> int | None:
    """Returns the seed set with `tf.random.set_seed`, or None. With an op seed given, asking draws no number."""
    seed, _ = tf.compat.v1.random.get_seed(0)
    return None if seed == 87654321 else seed  # TensorFlow's own default
