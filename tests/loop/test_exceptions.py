"""Exceptions out of everything that a run calls: who hears what, what is saved, and how the next run ends."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny
from interrupting import Interrupt

from hooks import Checkpoint, Preemption, Progress
from hooks.checkpoint.commits.store import Store
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, StreamData, Trigger
from loop.running.alone import Alone

LAST = 12  # steps in three epochs
SAVED = At(2, 6, 10)
ERRORS = [ValueError("no more paper"), KeyboardInterrupt("enough"), SystemExit(3)]


class Recorder(Hook):
    """Writes down each event, and the step at which it was."""

    every: Trigger = Every(steps=1)

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rows: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def record(self, moment: Moment) -> None:
        self.rows.append((str(moment.event), moment.step))
        self.error = moment.error

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.record(moment)

    on_run_begin = on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = record
    on_epoch_end = on_settled = on_run_end = record


def raising(method: str, error: BaseException, at: int = 1, **attributes: object) -> Hook:
    """Returns a hook one of whose methods raises when it is called for the n-th time."""
    calls = []

    def call(self: Hook, *args: object) -> None:
        calls.append(args)
        if len(calls) == at:
            raise error

    return type("Raising", (Hook,), {"every": Every(steps=1), method: call, **attributes})()


def training(directory: Path | None, hooks: Sequence[Hook] = (), *, evaluates: bool = True) -> Loop:
    """Returns a loop of four steps an epoch whose state depends on the order of the data and on random numbers."""
    keras.utils.set_random_seed(1)
    value, noise = tf.Variable(1.0, name="value"), tf.random.Generator.from_seed(7)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": value.assign(0.5 * value + x[0] + noise.normal([]))}

    held = ArrayData(tf.range(2.0), batch_size=1, shuffle=False)
    return Loop(
        train_step,
        ArrayData(tf.range(4.0), batch_size=1, seed=1),
        state={"value": value, "noise": noise},
        evaluate=Evaluation(lambda x: {"loss": value + x[0]}, held) if evaluates else None,
        hooks=[*hooks, *([] if directory is None else [Checkpoint(directory, SAVED)])],
    )


def bits(loop: Loop) -> dict[str, bytes]:
    """Returns the state but for the time that it took, and what hooks keep."""
    variables = loop.state.variables.items()
    return {path: v.numpy().tobytes() for path, v in variables if not path.startswith(("clock/", "hooks/"))}


def saved(directory: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in directory.glob("*-*.json"))


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """The state of a training that nothing has happened to."""
    loop = training(None)
    loop.run(epochs=3)
    return bits(loop)


TABLE = [  # which method raises, at which call, what is saved then, and what the hook before it has heard last
    ("on_setup", 1, [], [("setup", 0), ("run_end", 0)]),
    ("on_run_begin", 1, [], [("run_begin", 0), ("run_end", 0)]),
    ("on_epoch_begin", 1, [], [("epoch_begin", 0), ("run_end", 0)]),
    ("on_epoch_begin", 2, [2], [("epoch_begin", 4), ("run_end", 4)]),
    ("on_steps", 1, [], [("epoch_begin", 0), ("run_end", 1)]),
    ("on_steps", 3, [2], [("settled", 2), ("run_end", 3)]),
    ("on_step_end", 1, [], [("step_end", 1), ("run_end", 1)]),
    ("on_step_end", 3, [2], [("step_end", 3), ("run_end", 3)]),
    ("on_eval_begin", 1, [2], [("eval_begin", 4), ("run_end", 4)]),
    ("on_eval_end", 2, [2, 6], [("eval_end", 8), ("run_end", 8)]),
    ("on_epoch_end", 2, [2, 6], [("epoch_end", 8), ("run_end", 8)]),
    ("on_settled", 1, [1], [("settled", 1), ("run_end", 1)]),
    ("on_settled", 2, [2], [("settled", 2), ("run_end", 2)]),
    ("on_settled", 3, [2, 3], [("settled", 3), ("run_end", 3)]),
    ("on_settled", 8, [2, 6, 8], [("settled", 8), ("run_end", 8)]),
    ("on_settled", 12, [6, 10, 12], [("settled", 12), ("run_end", 12)]),
    ("on_run_end", 1, [6, 10, 12], [("settled", 12), ("run_end", 12)]),
]
OUTSIDE = ("on_setup", "on_run_begin", "on_run_end")  # of a round
CHEAP = [("on_setup", 1), ("on_run_begin", 1), ("on_step_end", 3), ("on_settled", 3)]
ROWS = [
    pytest.param(*row, error, marks=[] if row[:2] in CHEAP and error is ERRORS[0] else pytest.mark.long)
    for row in TABLE
    for error in ERRORS
]


@pytest.mark.parametrize(("method", "at", "then", "heard", "error"), ROWS)
def test_an_exception_out_of_a_hook(
    tmp_path: Path,
    whole: dict[str, bytes],
    method: str,
    at: int,
    then: list[int],
    heard: list[tuple[str, int]],
    error: BaseException,
) -> None:
    if method == "on_settled" and isinstance(error, KeyboardInterrupt):  # somebody is impatient
        then = [step for step in SAVED.steps if step < heard[-1][1]]
    before, after = Recorder("before"), Recorder("after")
    loop = training(tmp_path, [before, raising(method, error, at), after])
    with pytest.raises(type(error)) as caught:
        loop.run(epochs=3)
    assert caught.value is error
    assert f"Raised by hook 'raising' in {method}." in error.__notes__
    assert (before.rows[-2:], saved(tmp_path)) == (heard, then)
    ended = method != "on_run_end"
    assert before.error is (error if ended else None)
    assert ("run_end", heard[-1][1]) in after.rows or method == "on_setup"

    loop.hooks.remove("raising")
    if method not in OUTSIDE and not then:  # nothing to restore
        with pytest.raises(RuntimeError, match="half-updated"):
            loop.run(epochs=3)
    else:
        assert loop.run(epochs=3).step == LAST
        assert bits(loop) == whole
        assert ("run_begin", then[-1] if then else 0) in before.rows
    error.__notes__.clear()


@pytest.mark.parametrize(("at", "first"), [(3, ValueError), pytest.param(8, SystemExit, marks=pytest.mark.long)])
def test_another_process_goes_on_from_the_very_step_whose_end_a_hook_has_failed_in(
    tmp_path: Path, whole: dict[str, bytes], at: int, first: type[BaseException]
) -> None:
    with pytest.raises(first):
        training(tmp_path, [Recorder(), raising("on_settled", first("no"), at)]).run(epochs=3)
    recorder = Recorder()
    again = training(tmp_path, [recorder])
    again.run(epochs=3)
    assert bits(again) == whole
    assert [row for row in recorder.rows if row[0] == "run_begin"] == [("run_begin", at)]


def test_without_a_checkpoint_the_state_is_torn_by_what_is_raised_within_a_step_only(whole: dict[str, bytes]) -> None:
    loop = training(None, [Recorder(), raising("on_settled", ValueError("settled"), 3)])
    with pytest.raises(ValueError, match="settled"):
        loop.run(epochs=3)
    loop.hooks.remove("raising")
    loop.hooks.add(raising("on_step_end", ValueError("within"), 4))
    assert loop.run(steps=6).step == 6  # goes on
    with pytest.raises(ValueError, match="within"):
        loop.run(epochs=3)
    with pytest.raises(RuntimeError, match="half-updated"):
        loop.run(epochs=3)


@pytest.mark.parametrize("event", [Event.RUN_BEGIN, Event.SETTLED])
def test_what_a_hook_had_changed_when_it_raised_is_taken_back(
    tmp_path: Path, whole: dict[str, bytes], event: Event
) -> None:
    loop = training(tmp_path)

    @loop.on(event)
    def swap(moment: Moment) -> None:
        if moment.step in (0, 3):
            loop.state.variables["value"].assign(1e9)  # to be put back when something is written, say
            raise OSError("cannot write it")

    loop.on(Event.STEP_END, every=At(3))(lambda moment: None)
    with pytest.raises(OSError, match="cannot write it"):
        loop.run(epochs=3)
    assert saved(tmp_path) == ([2, 3] if event is Event.SETTLED else [])
    loop.hooks.remove("swap")
    loop.run(epochs=3)
    assert bits(loop) == whole


class Saving(Hook):
    """Saves nothing, but is told when it is time."""

    saves = True

    def __init__(self, name: str, error: Exception | None = None, at: int = 3) -> None:
        super().__init__(name=name)
        self._error, self._at = error, at
        self.told: list[tuple[int, bool]] = []

    def on_settled(self, moment: Moment) -> None:
        self.told.append((moment.step, moment.last))
        if self._error is not None and moment.step == self._at:
            raise self._error


def test_each_hook_that_saves_is_told_whatever_the_others_raise(tmp_path: Path, whole: dict[str, bytes]) -> None:
    first, second = Saving("first", OSError("its disk is full")), Saving("second")
    loop = training(tmp_path, [Recorder(), first, second])
    with pytest.raises(OSError, match="its disk is full") as caught:
        loop.run(epochs=3)
    assert first.told == second.told == [(1, False), (2, False), (3, False), (3, True)]
    assert caught.value.__notes__[0] == "Raised by hook 'first' in on_settled."
    assert saved(tmp_path) == [2, 3]
    loop.hooks.remove("first")
    loop.run(epochs=3)
    assert bits(loop) == whole


def test_several_exceptions_at_one_step_come_out_as_the_first_with_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    ending = raising("on_run_end", ZeroDivisionError("at the end"), name="ending")
    loop = training(tmp_path, [ending, Recorder(), raising("on_settled", ValueError("first"), 3)])
    commit, fails = Store.commit, {3}

    def full(store: Store, record: object, *args: object) -> None:
        if record.step in fails:  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")
        commit(store, record, *args)

    monkeypatch.setattr(Store, "commit", full)
    with pytest.raises(ValueError, match="first") as caught:
        loop.run(epochs=3)
    by_hook, save, end = caught.value.__notes__
    assert by_hook == "Raised by hook 'raising' in on_settled."
    assert save.startswith("Then OSError(28, ")
    assert "The checkpoint of step 3 was not saved in " in save
    assert end == "Then ZeroDivisionError('at the end'): Raised by hook 'ending' in on_run_end."
    assert saved(tmp_path) == [2]
    fails.clear()
    loop.hooks.remove("raising")
    loop.hooks.remove("ending")
    loop.run(epochs=3)
    assert bits(loop) == whole


def test_a_save_that_failed_in_the_background_is_made_up_for_when_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    loop = training(tmp_path, [Recorder()])
    commit, later, tries = Store.commit, threading.Event(), list[object]()

    def full_at_first(store: Store, record: object, *args: object) -> None:
        tries.append(record)
        if len(tries) == 1:
            later.wait(60)
            raise OSError(28, "No space left on device")
        commit(store, record, *args)

    @loop.on(Event.STEP_END, every=At(3))
    def wait(moment: Moment) -> None:
        later.set()
        checkpoint = loop.hooks["checkpoint"]
        assert isinstance(checkpoint, Checkpoint)
        with contextlib.suppress(OSError):
            checkpoint._saver._writing.wait()

    monkeypatch.setattr(Store, "commit", full_at_first)
    with pytest.raises(OSError, match="The checkpoint of step 2 was not saved") as caught:
        loop.run(epochs=3)
    assert caught.value.__notes__[0] == "The state after step 3, with which the run ends, is saved."
    assert saved(tmp_path) == [3]
    loop.run(epochs=3)
    assert bits(loop) == whole


@pytest.mark.more
def test_an_interrupt_of_a_save_begins_no_other_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    told = Saving("told")
    loop = training(tmp_path, [Recorder(), Saving("impatient", KeyboardInterrupt()), told])  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        loop.run(epochs=3)
    assert (told.told, saved(tmp_path)) == ([(1, False), (2, False)], [2])
    loop.hooks.remove("impatient")
    loop.run(epochs=3)
    assert bits(loop) == whole


# What only shows or logs.


SHOWING = [
    pytest.param(method, on_error, marks=[] if method in ("on_steps", "on_settled") else pytest.mark.long)
    for method in ("on_steps", *(f"on_{event}" for event in Event if event is not Event.SETUP))
    for on_error in ("warn", "disable")
]


@pytest.mark.more
@pytest.mark.parametrize(("method", "on_error"), SHOWING)
def test_what_only_shows_goes_on_without_itself_and_says_so_once(
    tmp_path: Path, whole: dict[str, bytes], caplog: pytest.LogCaptureFixture, method: str, on_error: str
) -> None:
    calls, ended = [], []

    def call(self: Hook, *args: object) -> None:
        calls.append(args)
        raise ConnectionError("the server is gone")

    methods = {"on_run_end": lambda self, moment: ended.append(moment.error)} | {method: call}
    every = {"every": Every(steps=1)} if method == "on_step_end" else {}  # nothing else looks at it
    showing = type("Showing", (Hook,), {"on_error": on_error, **every, **methods})()
    recorder = Recorder()
    loop = training(tmp_path, [showing, recorder])
    loop.run(epochs=3)
    assert bits(loop) == whole
    (said,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said.startswith(f"Hook 'showing' failed in {method}: ConnectionError: the server is gone. Training goes on")
    counts = {"on_run_begin": 1, "on_run_end": 1, "on_steps": 12, "on_step_end": 12, "on_settled": 12}
    assert len(calls) == (counts.get(method, 3) if on_error == "warn" else 1)
    assert ended == ([] if method == "on_run_end" else [None])


def test_a_hook_that_is_off_never_makes_the_compiled_loop_halt() -> None:
    showing = raising("on_step_end", ConnectionError("gone"), on_error="disable")
    loop = training(None, [showing], evaluates=False)
    settled: list[int] = []
    loop.on(Event.SETTLED)(lambda moment: settled.append(moment.step))
    loop.run(epochs=2)
    assert settled == [1, 4, 8]
    settled.clear()
    loop.run(epochs=3)  # in the next run it is called again
    assert settled == [9, 10, 11, 12]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_whoever_wants_to_end_the_run_can_from_what_only_shows(tmp_path: Path, error: BaseException) -> None:
    loop = training(tmp_path, [Recorder(), raising("on_settled", error, 3, on_error="warn")])
    with pytest.raises(type(error)):
        loop.run(epochs=3)
    assert saved(tmp_path) == [2]  # nothing is held for what only shows, so it may have changed half of something


def test_who_refuses_what_it_was_given_is_heard() -> None:
    with pytest.raises(ValueError, match="not this"):
        training(None, [raising("on_setup", ValueError("not this"), on_error="warn")]).run(epochs=3)


def test_an_on_error_that_a_hook_cannot_have_is_refused() -> None:
    class Counting(Hook):
        def __init__(self) -> None:
            super().__init__(on_error="warn")
            self.count = tf.Variable(0)

    with pytest.raises(ValueError, match=r"needs an on_error of 'raise', 'warn', 'disable'\. Received: 'ignore'"):
        training(None, [Hook(on_error="ignore")])  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"'counting' has variables.*Received: on_error='warn'. Write on_error='raise'"
    ):
        training(None, [Counting()])
    with pytest.raises(ValueError, match="'hook' saves the state"):
        training(None, [type("Hook", (Saving,), {"on_error": "disable"})("hook")])
    assert [Hook("a").on_error, Hook(on_error="raise").on_error, Progress().on_error] == ["raise", "raise", "warn"]
    assert Progress(on_error="raise").on_error == "raise"


# What is not of hooks.

WHERE = ["step", "function of Python", "evaluation", "data", "replayed data"]
CHEAPEST = [("function of Python", 7), ("evaluation", 10)]
PLACES = [
    pytest.param(where, at, marks=[] if (where, at) in CHEAPEST else pytest.mark.long)
    for where in WHERE
    for at in ((5, 10) if where == "evaluation" else (1, 7))
]


class Broken:
    """Raises when it comes to one number, as long as a file is there."""

    def __init__(self, where: str, at: int, file: Path) -> None:
        self.where, self.at, self.file = where, at, file

    def check(self, where: str, x: tf.Tensor) -> tf.Tensor:
        if where != self.where:
            return x
        if where in ("step", "data"):  # nothing in Python
            fine = tf.logical_or(x != self.at, tf.size(tf.io.matching_files(str(self.file))) == 0)
            with tf.control_dependencies([tf.debugging.Assert(fine, ["broken"])]):
                return tf.identity(x)
        return tf.ensure_shape(tf.numpy_function(self.fetch, [x], tf.float32), [])

    def fetch(self, x: np.ndarray) -> np.ndarray:
        if float(x) == self.at and self.file.exists():
            raise ConnectionError("broken")
        return np.float32(x)


def broken_training(directory: Path | None, broken: Broken) -> Loop:
    """Returns a loop of five steps an epoch, the n-th of which gets the number n, and its evaluation the last one."""
    keras.utils.set_random_seed(1)
    value, latest = tf.Variable(1.0, name="value"), tf.Variable(0.0, name="latest")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        x = broken.check("function of Python", broken.check("step", x[0]))
        latest.assign(x)
        return {"loss": value.assign(0.5 * value + x)}

    def numbers(epoch: int) -> tf.data.Dataset:
        of_epoch = tf.data.Dataset.range(5 * epoch + 1, 5 * epoch + 6).map(lambda n: tf.cast(n, tf.float32))
        if "data" in broken.where:
            of_epoch = of_epoch.map(lambda x: broken.check(broken.where, x))
        return of_epoch.batch(1)

    held = ArrayData(tf.range(2.0), batch_size=1, shuffle=False)
    return Loop(
        train_step,
        StreamData(numbers, resume="state" if broken.where == "data" else "replay"),
        state={"value": value, "latest": latest},
        evaluate=Evaluation(lambda x: {"loss": x[0] + broken.check("evaluation", latest + 0.0)}, held),
        hooks=[Recorder(), *([Checkpoint(directory, At(2, 6, 11))] if directory else [])],
        exact=False,
    )


@pytest.mark.more
@pytest.mark.parametrize(("where", "at"), PLACES)
def test_an_exception_out_of_what_is_compiled(tmp_path: Path, where: str, at: int) -> None:
    broken, directory = Broken(where, at, tmp_path / "broken"), tmp_path / "checkpoints"
    whole = broken_training(None, broken)
    whole.run(epochs=3)
    loop = broken_training(directory, broken)
    recorder = loop.hooks["recorder"]
    assert isinstance(recorder, Recorder)
    loop.on(Event.RUN_BEGIN)(lambda moment: broken.file.touch())
    with pytest.raises(Exception, match="broken"):
        loop.run(epochs=3)
    assert recorder.error is not None
    assert recorder.rows[-1][0] == "run_end"
    then = [step for step in (2, 6) if step < at - ("data" in where)]  # those are read one batch ahead
    assert saved(directory) == then
    broken.file.unlink()
    again = broken_training(directory, broken)
    assert again.run(epochs=3).step == 15
    assert bits(again) == bits(whole)


class Counting(Hook):
    """Counts the rounds that it has seen to their end."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.count = tf.Variable(0)

    def on_settled(self, moment: Moment) -> None:
        self.count.assign_add(1)


@pytest.mark.more
@pytest.mark.parametrize("error", [ValueError("no more paper"), SystemExit(3)])
def test_a_hook_that_raises_when_all_is_settled_takes_nothing_from_the_others(
    error: BaseException, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    hooks = [Recorder(), Counting("before"), raising("on_settled", error, 3), Counting("after")]
    with pytest.raises(type(error)):
        training(tmp_path, hooks).run(epochs=3)
    assert saved(tmp_path) == [2, 3]
    again = [Counting("before"), Counting("after")]
    loop = training(tmp_path, [Recorder(), *again])
    loop.run(epochs=3)
    assert bits(loop) == whole
    assert [int(hook.count) for hook in again] == [12, 12]


@pytest.mark.more
def test_what_a_signal_has_cut_short_in_a_hook_that_only_shows_is_not_saved(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    class Shows(Hook):
        on_error = "warn"

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.value = loop.state.variables["value"]

        def on_settled(self, moment: Moment) -> None:
            if moment.step == 3:
                self.value.assign_add(1.0)
                raise SystemExit(3)  # before it takes that back

    with pytest.raises(SystemExit):
        training(tmp_path, [Recorder(), Shows()]).run(epochs=3)
    assert saved(tmp_path) == [2]
    loop = training(tmp_path)
    loop.run(epochs=3)
    assert bits(loop) == whole


def test_a_handler_that_exits_hides_no_save_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(store: Store, *args: object) -> None:
        raise OSError(28, "No space left on device")

    class Signals(Hook):
        every = At(1)

        def on_step_end(self, moment: Moment) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Store, "commit", full)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with pytest.raises(OSError, match=r"of step [12] was not saved") as caught:  # a thread hears the signal
            training(tmp_path, [Preemption(), Signals()]).run(epochs=3)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "Then SystemExit(0), from a handler of SIGTERM" in caught.value.__notes__


def test_a_batch_that_cannot_be_read_to_be_skipped_says_after_which_step_it_comes() -> None:
    class Skipping(Hook):
        def skips(self) -> list[int]:
            return [2]

    def rows(i: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_less(i, tf.constant(1, tf.int64))]):
            return tf.cast(i, tf.float32)

    weight, data = tf.Variable(0.0, name="weight"), tf.data.Dataset.range(4).map(rows).batch(1)
    loop = Loop(
        lambda x: {"loss": weight.assign_add(tf.reduce_sum(x))}, data, state={"weight": weight}, hooks=[Skipping()]
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        loop.run(epochs=1)
    assert caught.value.__notes__[0] == "Raised by the step, or its batch, after step 1."


def test_how_a_run_has_ended_is_said_with_one_full_stop(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Hook):
        every = At(1)

        def on_step_end(self, moment: Moment) -> None:
            raise ValueError("No more paper. Buy some.")

    data = ArrayData(np.ones([4, 1], "float32"), batch_size=2)
    with caplog.at_level(logging.INFO, "exactloop"), pytest.raises(ValueError, match="Buy some"):
        Loop(lambda x: {"y": tf.reduce_mean(x)}, data, state={}, hooks=[Failing()]).run(epochs=1)
    assert caplog.messages[-1].endswith(" s of training: No more paper. Buy some.")


def test_an_interrupt_where_a_run_begins_or_ends_leaves_the_loop_to_the_next_one() -> None:
    loop = tiny.make_counter()
    loop.run(steps=1)
    at, raised, own = 0, True, Alone.taken.__wrapped__.__code__
    while raised:
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, lambda frame: frame.f_code is own) as interrupt:
            loop.evaluate()
        assert loop.evaluate(), at
        at, raised = at + 1, interrupt.raised
    assert at > (3 if sys.version_info < (3, 13) else 1)  # which tells nothing of some frames
