"""Each program of XLA is compiled once, which takes longer than tracing it."""

import os
import re
from collections import Counter
from pathlib import Path

import nursery
import pytest

SCRIPT = """
import os, sys
os.environ["XLA_FLAGS"] = f"--xla_dump_to={sys.argv[1]} --xla_dump_hlo_as_text"
import numpy as np
import tensorflow as tf
from hooks import NaNGuard
from loop import ArrayData, Evaluation, Loop

x, w = np.ones([11, 2], np.float32), tf.Variable([1.0, 1.0])
data, val = ArrayData(x, batch_size=4, seed=1), ArrayData(x, batch_size=6, shuffle=False)
if sys.argv[2] == "streams":
    data = val = tf.data.Dataset.from_tensor_slices(x).batch(4, drop_remainder=True)

def step(x):
    return {"loss": tf.reduce_sum(w.assign_sub(0.01 * tf.reduce_mean(x, axis=0)))}

evaluate = Evaluation(lambda x: {"sum": tf.reduce_sum(x @ w[:, tf.newaxis])}, val)
loop = Loop(step, data, state={"w": w}, evaluate=evaluate, hooks=[NaNGuard()], jit_compile=True)
loop.run(epochs=2)
loop.run(epochs=3)
"""
COMPILED = re.compile(r"module_\d+\.\w*?program_(\d+)_.*after_optimizations\.txt")


# Of arrays there is a program for each size of batches: 4, 3; 6, 5.
@pytest.mark.parametrize(("data", "count"), [("arrays", 4), pytest.param("streams", 2, marks=pytest.mark.more)])
def test_each_program_is_compiled_once(data: str, count: int, tmp_path: Path) -> None:
    done = nursery.run("-c", SCRIPT, str(tmp_path), data)
    assert done.returncode == 0, done.stderr
    times = Counter(found[1] for name in os.listdir(tmp_path) if (found := COMPILED.fullmatch(name)))
    assert [*times.values()] == [1] * count
