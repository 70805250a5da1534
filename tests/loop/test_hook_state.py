"""What hooks keep in Python and hand out to be saved."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from cuts import counting, same

from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment
from loop.run import Run


class Counts(Hook):
    """Counts in Python, and lets what it counts take part in the training."""

    every = Every(steps=1)

    def __init__(self, w: tf.Variable | None = None) -> None:
        super().__init__()
        self.count, self.history = 0, np.zeros([0])
        self._w = w

    def on_step_end(self, moment: Moment) -> None:
        self.count += 1
        self.history = np.append(self.history, moment.logs["x"])
        if self._w is not None:
            self._w.assign_add(self.count + self.history.sum())

    def on_eval_begin(self, moment: Moment) -> None:
        self.count += 100

    def get_state(self) -> object:
        return {"count": self.count, "history": self.history}

    def set_state(self, state: Mapping) -> None:
        self.count, self.history = state["count"], state["history"]


def numbers() -> ArrayData:
    return ArrayData(np.arange(6, dtype="float32"), batch_size=2, seed=1)


def test_the_state_of_a_hook_goes_on_exactly(tmp_path: Path) -> None:
    same(lambda w: numbers(), tmp_path, [1, 4, 8], Counts)


def test_an_evaluation_that_is_cut_short_leaves_it_as_it_was() -> None:
    w, hook = tf.Variable(0.0, dtype=tf.float64), Counts()
    evaluation = Evaluation(lambda x: {"y": tf.reduce_sum(x)}, ArrayData(np.arange(3.0), batch_size=1))
    loop = Loop(counting(w), numbers(), state={"w": w}, evaluate=evaluation, hooks=[hook])
    loop.on(Event.EVAL_BEGIN)(lambda moment: loop.stop("enough") if hook.count < 200 else None)
    loop.run(epochs=1)
    assert hook.count == 3
    loop.run(epochs=1)
    assert hook.count == 3


def test_one_of_the_two_methods_is_not_enough() -> None:
    with pytest.raises(TypeError, match="defines one of get_state and set_state"):

        class Half(Hook):
            def get_state(self) -> object:
                return 1


def test_a_state_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    class Odd(Counts):
        def get_state(self) -> object:
            return {"count": object()}

    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), numbers(), state={"w": w}, hooks=[Odd()])
    with pytest.raises(TypeError, match=r"hook 'odd' is saved as JSON.*state\['count'\]: object"):
        loop.run(steps=1)
    assert loop.step == 0


def test_a_hook_with_a_state_ends_the_run_when_it_fails() -> None:
    hook = Counts()
    hook.on_error = "warn"
    with pytest.raises(ValueError, match="has a state, which an error may leave half-changed"):
        Loop(counting(tf.Variable(0.0)), numbers(), state={}, hooks=[hook])


@pytest.mark.parametrize("method", ["on_setup", "on_step_end"])
@pytest.mark.parametrize("kind", ["variables", "state", "reports", "inside"])
def test_what_has_a_state_cannot_join_a_run_that_is_under_way(method: str, kind: str) -> None:
    class Late(Hook):
        reports = ("late",) if kind == "reports" else ()

        def __init__(self) -> None:
            super().__init__()
            if kind == "variables":
                self.count = tf.Variable(0, name="count")

    if kind == "state":
        Late.get_state, Late.set_state = Counts.get_state, Counts.set_state
    if kind == "inside":
        Late.after_step = lambda self, values: tf.constant(False)

    def add(self: Hook, *given: object) -> None:
        loop.hooks.add(Late())

    adding = type("Adding", (Hook,), {"every": At(2), method: add})()
    value = tf.Variable(1.0, name="value")
    data = ArrayData(tf.range(4.0), batch_size=1, seed=1)
    loop = Loop(lambda x: {"loss": value.assign_add(x[0])}, data, state={"value": value}, hooks=[adding])
    with pytest.raises(RuntimeError, match=r"Hook 'late' has a state, .*Add it before run"):
        loop.run(steps=3)
    assert [hook.name for hook in loop.hooks] == ["adding"]
    loop.hooks.add(Late())


def test_a_run_that_could_not_even_end_is_not_under_way_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(run: Run, error: BaseException | None) -> None:
        raise ValueError("no more memory")

    monkeypatch.setattr(Run, "_end", end)
    w = tf.Variable(0.0, dtype=tf.float64, name="w")
    loop = Loop(counting(w), numbers(), state={"w": w}, hooks=[Counts(w)])
    with pytest.raises(ValueError, match="no more memory"):
        loop.run(steps=1)
    loop.hooks.remove("counts")
    loop.hooks.add(Counts(w))
