"""A script with a pipeline as people write it, without anything else in it.

    PYTHONPATH=.:tests python tests/data/proved_pipeline.py DIRECTORY PIPELINE

DIRECTORY is where the files are that the pipeline reads, and PIPELINE one of `pipelines.public`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from pipelines import PIPELINES
from pipelines.public import WRITTEN

from hooks import Checkpoint
from loop import Every, Loop

directory, name = Path(sys.argv[1]), sys.argv[2]
make, seed = WRITTEN[name]
if seed is not None:
    keras.utils.set_random_seed(seed)
total = tf.Variable(0, dtype=tf.int64, trainable=False)


def step(batch: object) -> dict[str, tf.Tensor]:
    tensors = tf.nest.flatten(batch, expand_composites=True)
    read = tf.strings.to_hash_bucket_fast(tf.strings.join([tf.io.serialize_tensor(each) for each in tensors]), 2**30)
    return {"total": total.assign(31 * total + read)}


hooks = [Checkpoint(directory / "checkpoints", Every(steps=3))]
data, steps = make(directory), PIPELINES[f"public: {name}"].steps
Loop(step, data, state={"total": total}, hooks=hooks, steps_per_epoch=steps).run(epochs=2)
