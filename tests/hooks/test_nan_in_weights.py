"""NaNGuard(weights=True): what no returned value shows is found at its step."""

import math
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import bits

from hooks import Checkpoint, NaNGuard
from loop import ArrayData, Every, Hook, Loop

ROWS, BROKEN = 8, 5


def make_loop(
    hooks: Sequence[Hook], poison: float = math.nan, *, dtype: str = "float32", jit_compile: bool = False
) -> Loop:
    """Returns a loop over rows in order, whose loss is finite whatever becomes of the weights, as behind a relu."""
    keras.utils.set_random_seed(1)
    dense, other = keras.layers.Dense(3, name="dense", dtype=dtype), keras.layers.BatchNormalization(name="other")
    dense.build([None, 2])
    other.build([None, 2])
    rows = np.ones([ROWS, 2], np.float32)
    rows[BROKEN, 1] = poison

    def step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        dense.kernel.assign_add(0.1 * tf.cast(tf.transpose(x) @ tf.ones([1, 3]), dtype))
        out = tf.cast(dense.kernel.value, tf.float32)
        return {"loss": tf.reduce_sum(tf.where(tf.abs(out) < 1e3, out, 0.0))}

    data = ArrayData(rows, batch_size=1, shuffle=False)
    return Loop(step, data, state={"dense": dense, "other": other}, hooks=hooks, jit_compile=jit_compile)


@pytest.mark.more
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16", "jit_compile"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_it_is_found_at_its_step_with_what_and_which_rows(poison: float, kind: str) -> None:
    more = {"jit_compile": True} if kind == "jit_compile" else {"dtype": kind}
    assert make_loop([NaNGuard()], poison, **more).run(epochs=1).step == ROWS  # type: ignore[arg-type]
    loop = make_loop([NaNGuard(weights=True)], poison, **more)  # type: ignore[arg-type]
    told = (
        r"^weights are NaN or infinite, dense/_kernel \(3 of 6\), after step 6: batch 6 of epoch 1 \(rows 5\)\. Look at"
    )
    with pytest.raises(FloatingPointError, match=told):
        loop.run(epochs=1)
    assert loop.step == BROKEN + 1


@pytest.mark.more
def test_it_goes_back_leaves_the_batch_out_and_goes_on(tmp_path: Path) -> None:
    def loop(directory: str) -> Loop:
        return make_loop([NaNGuard("rollback", weights=True), Checkpoint(tmp_path / directory, Every(steps=2))])

    whole = loop("whole")
    result = whole.run(epochs=2)
    assert (result.step, whole.hooks["nan_guard"].skipped.numpy().tolist()) == (2 * ROWS, [6, 14])  # type: ignore[attr-defined]
    for steps in (3, 5, 7, 13, 16):
        parts = loop("parts")
        parts.run(steps=steps)
    assert bits(parts) == bits(whole)


def test_what_is_large_and_finite_is_left_alone() -> None:
    result = make_loop([NaNGuard(weights=True)], 1e30).run(epochs=2)
    assert (result.step, math.isfinite(result.logs["loss"])) == (2 * ROWS, True)


def test_the_loop_is_the_same_with_it() -> None:
    with_it, without = make_loop([NaNGuard(weights=True)], 1.0), make_loop([], 1.0)
    with_it.run(epochs=2)
    without.run(epochs=2)
    own = {path: value for path, value in bits(with_it).items() if not path.startswith("hooks/")}
    assert own == bits(without)


def test_those_who_call_it_otherwise_are_told_what_to_write() -> None:
    with pytest.raises(TypeError, match="no argument 'check_weights': write weights=True"):
        NaNGuard(check_weights=True)  # type: ignore[call-arg]
