"""What has changed between two starts is refused, or a warning, and named."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from hooks.checkpoint_environment import changes, environment
from loop import ArrayData, Every, Loop, StreamData, supervised

TESTS = Path(__file__).parent
X = np.random.default_rng(1).normal(size=[20, 4]).astype(np.float32)
Rows = Callable[[], ArrayData | StreamData]


def make_loop(
    directory: Path,
    *,
    activation: str = "relu",
    decay: int = 100,
    seed: int = 1,
    data: Rows | None = None,
    **kinds: object,
) -> Loop:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(3, activation=activation), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, decay))
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    state = {"model": model, "optimizer": optimizer}
    hooks = [Checkpoint(directory, Every(steps=2), **kinds)]
    return Loop(step, data() if data else arrays(), state=state, hooks=hooks)


def arrays(change: float = 0.0, seed: int = 1) -> ArrayData:
    x = X.copy()
    x[3, 2] += change
    return ArrayData((x, X[:, :1]), batch_size=5, seed=seed)


def stream(factor: float = 1.0, seed: int = 1, change: float = 0.0, threads: int = 1) -> StreamData:
    x = X.copy()
    x[3, 2] += change
    rows = tf.data.Dataset.from_tensor_slices((x, X[:, :1])).map(
        lambda x, y: (x * factor, y), num_parallel_calls=threads
    )
    return StreamData(lambda epoch: rows.shuffle(20, seed=seed + epoch).batch(5), resume="replay")


STEP, DATA = "the 'train' step has", "data: the pipeline has other arguments, functions or source data now in:"


@pytest.mark.parametrize(
    ("before", "now", "line"),
    [
        ({}, {"activation": "tanh"}, f"{STEP} other operations now: -1 Relu, -1 ReluGrad, +1 Tanh, +1 TanhGrad"),
        ({}, {"decay": 200}, f"{STEP} other constants now, such as a coefficient or the length of a schedule"),
        ({}, {"seed": 2}, "seed: tf.random.set_seed was 1 in the checkpoint and is 2 now"),
        ({}, {"data": lambda: arrays(0.5)}, "data: the arrays have other values than when the checkpoint was made"),
        ({}, {"data": lambda: arrays(seed=2)}, "data: seed was 1 in the checkpoint and is 2 now"),
        ({"data": stream}, {"data": lambda: stream(2.0)}, f"{DATA} ParallelMap"),
        ({"data": stream}, {"data": lambda: stream(seed=2)}, f"{DATA} Shuffle"),
        ({"data": stream}, {"data": lambda: stream(change=0.5)}, f"{DATA} TensorSlice"),
    ],
    ids=["activation", "schedule", "global seed", "arrays", "seed", "map function", "shuffle seed", "tensors"],
)
def test_what_changes_the_numbers_is_refused_and_named_or_a_warning(
    before: dict, now: dict, line: str, tmp_path: Path
) -> None:
    make_loop(tmp_path, **before).run(steps=4)
    with pytest.raises(ValueError, match="Nothing was restored") as error:
        make_loop(tmp_path, **now).run(steps=6)
    assert f"  {line}" in str(error.value).splitlines()
    assert "Checkpoint(..., resume_changed='warn')" in str(error.value)
    with pytest.warns(UserWarning, match="The run goes on with other numbers") as warned:
        assert make_loop(tmp_path, **now, resume_changed="warn").run(steps=6).step == 6
    assert f"The run goes on with other numbers: {line}." in [str(warning.message) for warning in warned]


def test_how_many_threads_read_is_nobody_s_affair(tmp_path: Path) -> None:
    make_loop(tmp_path, data=stream).run(steps=3)
    assert make_loop(tmp_path, data=lambda: stream(threads=2)).run(steps=5).step == 5


def test_what_may_change_bits_is_named() -> None:
    now = environment()
    for key in now:
        assert changes({**now, key: "other"}, now) == [f"{key} was other and is {now[key]}"]
    assert changes(now, now) == []


def test_the_same_program_has_the_same_fingerprint_in_every_process() -> None:
    found = []
    for seed in ("0", "1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] == found[2]


def fingerprint() -> dict[str, object]:
    """Returns what tells a step with loops, dropout and a schedule, and a pipeline, from others."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Reshape([2, 2]), keras.layers.LSTM(3, dropout=0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([4]), *layers])
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 9), gradient_accumulation_steps=3)
    step, _ = supervised(model, optimizer, keras.losses.MeanSquaredError())
    loop = Loop(step, stream(), state={"model": model, "optimizer": optimizer})
    loop.audit()
    return loop.state.describe()


if __name__ == "__main__":
    print(json.dumps(fingerprint()))
