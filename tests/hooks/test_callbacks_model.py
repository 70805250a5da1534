"""What callbacks find at their model, and what they set there without an effect."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest

from hooks import Checkpoint
from loop import ArrayData, Evaluation, Hook, Loop, RunResult, supervised

Logs: TypeAlias = Any
Act: TypeAlias = Callable[["Acts"], object]
X = np.random.default_rng(3).normal(size=[16, 3]).astype("float32")
Y = X[:, :1]


class Acts(keras.callbacks.Callback):
    """Does something at the beginning of the second epoch, and writes down the history."""

    def __init__(self, act: Act = lambda acts: None) -> None:
        super().__init__()
        self.act, self.found = act, list[Any]()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if epoch == 1:
            self.act(self)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        past = self.model.history
        self.found.append(({name: [round(v, 4) for v in past.history[name]] for name in past.history}, [*past.epoch]))


def dense() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])


def run(acts: Acts, epochs: int, *hooks: Hook) -> RunResult:
    model, optimizer = dense(), keras.optimizers.SGD(0.1)
    step, eval_step = supervised(model, optimizer, "mse")
    evaluation = Evaluation(eval_step, ArrayData((X, Y), batch_size=8, shuffle=False))
    data = ArrayData((X, Y), batch_size=8, shuffle=False)
    state = {"model": model, "optimizer": optimizer}
    return Loop(step, data, state=state, evaluate=evaluation, hooks=[acts, *hooks]).run(epochs=epochs)


@pytest.mark.more
def test_the_history_of_the_model_is_that_of_fit_also_after_a_resume(tmp_path: Path) -> None:
    whole, theirs, cut = Acts(), Acts(), Acts()
    run(whole, 3)
    model = dense()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    more = {"validation_data": (X, Y), "validation_batch_size": 8, "verbose": 0, "shuffle": False}
    model.fit(X, Y, batch_size=8, epochs=3, callbacks=[theirs], **more)
    assert whole.found == theirs.found
    run(Acts(), 1, Checkpoint(tmp_path))
    run(cut, 3, Checkpoint(tmp_path))
    assert cut.found == whole.found


def another(acts: Acts) -> None:
    acts.model.optimizer = keras.optimizers.Adam(0.1)


def compiled(acts: Acts) -> None:
    acts.model.compile("adam", "mse")


@pytest.mark.parametrize("act", [another, compiled])
def test_another_optimizer_is_refused(act: Act) -> None:
    with pytest.raises(RuntimeError, match="Acts has given the model another optimizer, or has compiled it"):
        run(Acts(act), 2)


def rate(acts: Acts) -> None:
    acts.model.optimizer.lr = 0.5


@pytest.mark.more
def test_a_number_that_the_optimizer_does_not_read_is_named_and_the_remedy_works() -> None:
    message = "Acts has set optimizer.lr, which the optimizer does not read. Write optimizer.learning_rate."
    with pytest.warns(UserWarning, match=re.escape(message)):
        assert run(Acts(rate), 2).history["learning_rate"] == pytest.approx([0.1, 0.1])

    def right(acts: Acts) -> None:
        acts.model.optimizer.learning_rate = 0.5

    assert run(Acts(right), 2).history["learning_rate"] == pytest.approx([0.1, 0.5])


class Warms(keras.callbacks.Callback):
    """Holds a variable that is in no state, and that the loss reads."""

    def __init__(self, beta: keras.Variable) -> None:
        super().__init__()
        self.beta = beta

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.beta.assign(min(1.0, epoch / 2))


@pytest.mark.more
def test_a_variable_that_a_callback_holds_is_saved_and_may_change_what_the_loss_is(tmp_path: Path) -> None:
    def trained(steps: int, *hooks: Hook) -> list[bytes]:
        model, beta, optimizer = dense(), keras.Variable(0.0, trainable=False), keras.optimizers.SGD(0.1)
        step, _ = supervised(model, optimizer, lambda y, p: keras.ops.mean((y - p) ** 2 + beta * p**2, axis=-1))
        data, state = ArrayData((X, Y), batch_size=4, seed=1), {"model": model, "optimizer": optimizer}
        Loop(step, data, state=state, hooks=[Warms(beta), *hooks]).run(steps=steps)
        return [v.numpy().tobytes() for v in (*model.weights, beta)]

    whole = trained(14)
    for cut in (3, 6, 8):
        trained(cut, Checkpoint(tmp_path / f"{cut}"))
        assert trained(14, Checkpoint(tmp_path / f"{cut}")) == whole, cut


SCALE = 1.0


def scheduled(epoch: int, rate: float) -> float:
    global SCALE
    SCALE *= 0.9
    return 0.1 * SCALE


def test_what_a_function_that_a_callback_holds_counts_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(Acts(), 1, keras.callbacks.LearningRateScheduler(scheduled), Checkpoint(tmp_path))  # type: ignore[arg-type]
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage().startswith("Hook 'keras_callbacks' counts in Python what no checkpoint holds: SCALE. ")
