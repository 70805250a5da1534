"""What hooks keep in Python and hand out to be saved."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from cuts import counting, same

from hooks import Checkpoint
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


class Measures(Hook):
    """Adds noise, by a metric and streams of its own, one of them in a list."""

    every = Every(steps=1)

    def __init__(self, w: tf.Variable | None = None) -> None:
        super().__init__()
        self.mean, self.noise = keras.metrics.Mean(), {"of": [keras.random.SeedGenerator(3)]}
        self._w = w

    def on_step_end(self, moment: Moment) -> None:
        self.mean.update_state(moment.logs["x"] + keras.random.normal([], seed=self.noise["of"][0]))
        if self._w is not None:
            self._w.assign_add(tf.cast(self.mean.result(), tf.float64))


def test_metrics_and_streams_of_keras_that_a_hook_has_go_on_exactly(tmp_path: Path) -> None:
    same(lambda w: numbers(), tmp_path, [1, 4, 8], Measures)


class Remakes(Hook):
    """Makes a metric for each epoch."""

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.first = keras.metrics.Mean()

    def on_epoch_begin(self, moment: Moment) -> None:
        self.mean = keras.metrics.Mean()


def test_a_metric_that_a_hook_makes_in_a_run_is_none_of_its_state() -> None:
    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), numbers(), state={"w": w}, hooks=[Remakes(), Measures()])
    for epochs in (1, 2):
        loop.run(epochs=epochs)
    assert {path.split("/")[1] for path in loop.state.variables if path.startswith("hooks/")} == {"measures"}


def test_a_hook_has_its_variables_whatever_the_keys_of_its_dicts_are() -> None:
    hook = Counts()
    hook.seen, hook.held = {None: 1, "a": [2], 3: {(4, "b"): 5}}, tf.Module()
    hook.seen["a"].append(hook.seen)
    hook.held.of, hook.own = [tf.Variable(1.0), {"x": tf.Variable(2.0)}], hook.held
    loop = Loop(counting(tf.Variable(0.0, dtype=tf.float64)), numbers(), state={"w": tf.Variable(0.0)}, hooks=[hook])
    assert [float(each) for each in hook.variables] == [1.0, 2.0]
    assert loop.hooks["counts"] is hook


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


class Late(Hook):
    """Makes a variable when an epoch ends for the first time, and takes itself out after the second one."""

    best: tf.Variable | None = None

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._loop = loop

    def on_epoch_end(self, moment: Moment) -> None:
        if self.best is None:
            self.best = tf.Variable(0.0)
        if moment.epoch == 2:
            self._loop.hooks.remove(self.name)


def test_a_variable_that_no_later_start_could_restore_is_refused(tmp_path: Path) -> None:
    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), numbers(), state={"w": w}, hooks=[Late(), Checkpoint(tmp_path)])
    loop.run(epochs=1)
    with pytest.raises(RuntimeError, match=r"since the run before began, too late to be restored: hooks/late/best\."):
        loop.run(epochs=2)


def test_who_is_taken_out_in_a_run_that_is_saved_is_told_that_it_comes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    w = tf.Variable(0.0, dtype=tf.float64)
    loop = Loop(counting(w), numbers(), state={"w": w}, hooks=[Late(), Checkpoint(tmp_path)])
    loop.run(epochs=2)
    (told,) = [record.getMessage() for record in caplog.records if "taken out" in record.getMessage()]
    assert told.startswith("Hook 'late' was taken out in the course of a run")


class Sets(Hook):
    """Sets plain values on itself, one by a property."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.rows, self.text = 0, np.zeros([0]), ""
        self.twice = 1
        self.kept: tf.Variable | None = None

    @property
    def twice(self) -> int:
        return self._twice

    @twice.setter
    def twice(self, value: int) -> None:
        self._twice = 2 * value


def test_tensorflow_looks_for_nothing_in_a_number_that_takes_the_place_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook, looked_at = Sets(), list[str]()
    setting = tf.Module.__setattr__

    def noting(self: tf.Module, name: str, value: object) -> None:
        looked_at.append(name)
        setting(self, name, value)

    monkeypatch.setattr(tf.Module, "__setattr__", noting)
    hook.number, hook.rows, hook.text, hook.twice = 5, np.ones([2]), "five", 4
    assert looked_at == ["twice"]  # which is set for the first time: only what has it knows what that does
    assert (hook.number, hook.rows.tolist(), hook.text, hook.twice) == (5, [1.0, 1.0], "five", 8)
    hook.kept = tf.Variable(1.0)
    assert [variable is hook.kept for variable in hook.variables] == [True]
