"""A function of the epoch may go by variables that are saved, as a curriculum does; by what is not, it is refused."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from hooks import Checkpoint
from loop import At, Event, Every, Hook, InexactRun, Loop, Moment, StreamData, supervised

X = np.random.default_rng(1).normal(size=[24, 3]).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")


def noisy(x: np.ndarray) -> np.ndarray:
    return (x + np.random.normal(size=x.shape)).astype("float32")


class Curriculum(Hook):
    """Lets the training see more with each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.plain = tf.Variable(1.0), 1.0

    def on_epoch_end(self, moment: Moment) -> None:
        self.level.assign_add(0.5)
        self.plain += 0.5


class Program:
    """A network, and the data of each epoch by a level that changes from one to the next."""

    def __init__(self, directory: Path, by: str) -> None:
        keras.utils.set_random_seed(1)
        self.model, self.optimizer = (
            keras.Sequential([keras.Input([3]), keras.layers.Dense(1)]),
            keras.optimizers.Adam(),
        )
        self.hook, self.level, self.labels = Curriculum(), tf.Variable(1.0), tf.Variable(Y, trainable=False)
        step, _ = supervised(self.model, self.optimizer, keras.losses.MeanSquaredError())
        state = {"model": self.model, "optimizer": self.optimizer, "level": self.level, "labels": self.labels}
        checkpoint = Checkpoint(directory, Every(steps=2))
        self.loop = Loop(step, StreamData(getattr(self, by)), state=state, hooks=[self.hook, checkpoint])
        self.loop.on(Event.EPOCH_END)(self.set_level)

    def set_level(self, moment: Moment) -> None:
        self.level.assign_add(0.5)
        self.labels.assign(self.model(X))

    def dataset(self, level: float, epoch: int, y: np.ndarray = Y) -> tf.data.Dataset:
        data = tf.data.Dataset.from_tensor_slices((X, y)).map(lambda x, y: (x * level, y))
        return data.shuffle(24, seed=epoch).batch(6)

    def by_state(self, epoch: int) -> tf.data.Dataset:
        return self.dataset(float(self.level), epoch)

    def by_hook(self, epoch: int) -> tf.data.Dataset:
        return self.dataset(float(self.hook.level), epoch)

    def by_numpy(self, epoch: int) -> tf.data.Dataset:
        return self.by_state(epoch).map(
            lambda x, y: (tf.ensure_shape(tf.numpy_function(noisy, [x], x.dtype), x.shape), y)
        )

    def by_labels(self, epoch: int) -> tf.data.Dataset:
        return self.dataset(1.0, epoch, self.labels.numpy())

    def by_python(self, epoch: int) -> tf.data.Dataset:
        return self.dataset(self.hook.plain, epoch)

    def by_network(self, epoch: int) -> tf.data.Dataset:
        return self.dataset(1.0, epoch, 0.5 * self.model(X).numpy() + Y)

    def weights(self) -> list[bytes]:
        return [variable.numpy().tobytes() for variable in self.loop.state.weights().values()]


@pytest.mark.parametrize(
    "by", ["by_state", *(pytest.param(b, marks=pytest.mark.more) for b in ("by_hook", "by_numpy", "by_labels"))]
)
def test_variables_that_are_saved_are_there_before_the_function_is_called(tmp_path: Path, by: str) -> None:
    whole = Program(tmp_path / "whole", by)
    whole.loop.run(epochs=4)
    for steps in (7, 8, 14, 16):  # in mid-epoch, and between two
        Program(tmp_path / "cut", by).loop.run(steps=steps)
    cut = Program(tmp_path / "cut", by)
    assert cut.loop.run(epochs=4).step == 16
    assert cut.weights() == whole.weights()
    assert float(cut.level) == float(cut.hook.level) == 3.0


@pytest.mark.parametrize(("by", "epochs"), [("by_python", 2), ("by_network", 1)])
def test_what_no_checkpoint_puts_back_is_refused(tmp_path: Path, by: str, epochs: int) -> None:
    program = Program(tmp_path / "whole", by)
    with pytest.raises(InexactRun, match="from a function that makes another dataset of the same epoch") as refused:
        program.loop.run(epochs=4)
    assert program.loop.step == 4 * epochs
    assert "tf.Variable, in state or made by __init__ of a hook" in str(refused.value)


@pytest.mark.more
def test_a_run_that_is_killed_before_that_is_told_what_the_function_goes_by(tmp_path: Path) -> None:
    killed = Program(tmp_path, "by_python")

    @killed.loop.on(Event.STEP_END, every=At(7))
    def die(moment: Moment) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        killed.loop.run(epochs=4)
    with pytest.raises(
        ValueError, match=r"for epoch 2, the function makes another dataset .* let that be a tf.Variable"
    ):
        Program(tmp_path, "by_python").loop.run(steps=8)


@pytest.mark.more
def test_a_refused_resume_leaves_the_variables_alone(tmp_path: Path) -> None:
    Program(tmp_path, "by_state").loop.run(steps=6)
    other = Program(tmp_path, "by_state")
    make: Callable[..., tf.data.Dataset] = other.dataset
    other.dataset = lambda level, epoch, y=Y: make(level + (epoch == 1), epoch, y)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="Nothing was restored"):
        other.loop.run(steps=8)
    assert float(other.level) == float(other.hook.level) == 1.0
