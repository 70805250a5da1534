"""What a compiled step does while its batch is fetched, and what it leaves for later."""

import queue
import threading

import numpy as np
import tensorflow as tf

from loop import Event, Loop, StreamData


def test_what_needs_no_batch_is_done_while_it_is_fetched_and_nothing_is_changed_before_it_is_there() -> None:
    """Each batch waits for a part of the step that will take it, and then looks at what the step has changed."""
    weight, done, changed = tf.Variable(1.0), threading.Semaphore(0), queue.SimpleQueue[float]()
    training = threading.Event()

    def read(value: np.ndarray) -> np.ndarray:
        done.release()
        return value

    def fetch(i: np.ndarray) -> np.ndarray:
        if training.is_set() and changed.qsize() < 4:  # and not when it is looked at beforehand, and when it is over
            assert done.acquire(timeout=60), "The step waits for the batch, and the batch for the step."
            changed.put(float(weight))
        return np.float32(i)

    def step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        before = tf.numpy_function(read, [weight], tf.float32, stateful=False)
        weight.assign_add(1.0)
        return {"x": tf.reshape(batch * before, [])}

    batches = tf.data.Dataset.range(4).map(lambda i: tf.ensure_shape(tf.numpy_function(fetch, [i], tf.float32), []))
    loop = Loop(step, StreamData(batches, resume="replay"), state={"weight": weight}, exact=False)
    loop.on(Event.EPOCH_BEGIN)(lambda moment: training.set())
    result = loop.run(epochs=1)
    assert [changed.get() for _ in range(4)] == [1.0, 2.0, 3.0, 4.0]
    assert (result.step, result.logs) == (4, {"x": (0 * 1 + 1 * 2 + 2 * 3 + 3 * 4) / 4})
