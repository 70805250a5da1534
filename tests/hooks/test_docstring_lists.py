"""The examples in the docstrings of hooks run as they stand there."""

import inspect
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import hooks
from loop import ArrayData, Evaluation, Every, Loop, supervised


def examples(hook: type) -> list[str]:
    """Returns the lines of a docstring that are arguments of a loop."""
    return [line.strip() for line in inspect.getdoc(hook).splitlines() if line.strip().startswith("hooks=[")]


@pytest.fixture(scope="module")
def parts() -> Callable[[], dict[str, object]]:
    x = np.random.default_rng(1).normal(size=[20, 2]).astype(np.float32)
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])

    def made() -> dict[str, object]:
        optimizer = keras.optimizers.SGD(0.1)
        step, eval_step = supervised(model, optimizer, keras.losses.MeanSquaredError())
        data, val = (ArrayData((x, x[:, :1]), batch_size=5, seed=1) for _ in range(2))
        state = {"model": model, "optimizer": optimizer}
        return {"train_step": step, "data": data, "state": state, "evaluate": Evaluation(eval_step, val)}

    return made


@pytest.mark.parametrize("name", ["LearningRate", "NaNGuard", "ReduceLROnPlateau"])
def test_an_example_runs(name: str, parts: Callable[[], dict[str, object]], tmp_path: Path) -> None:
    found = examples(getattr(hooks, name))
    assert found != []
    for i, example in enumerate(found):
        known = {**vars(hooks), "Every": Every, "keras": keras, "directory": tmp_path / str(i)}
        given = eval(example.removeprefix("hooks="), known)  # noqa: S307 (of our own source)
        assert Loop(**parts(), hooks=given).run(epochs=2).step == 8
