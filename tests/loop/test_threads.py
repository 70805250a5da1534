"""Where no thread can be started, and where several train."""

import concurrent.futures
import contextlib
import io
import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import pytest
import rich.console
import tensorflow as tf

from hooks import Checkpoint, Preemption, Progress, TensorBoard
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.saving import saver as checkpoint_saver
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment
from loop.data.orders import prefetch as early
from loop.data.python.ahead import Making, ReadAhead

NO_THREAD = "can't start new thread"


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started, as where a container may have no more of them."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError(NO_THREAD)

    maker = concurrent.futures.ThreadPoolExecutor(1)  # another one: that of the process may have its thread already
    monkeypatch.setattr(early, "MAKER", maker)
    early._say_once.cache_clear()
    checkpoint_saver._say_once.cache_clear()
    monkeypatch.setattr(threading.Thread, "start", start)


def training(directory: Path | None, *hooks: Hook, seed: int = 1, steps: int = 4) -> Loop:
    """Returns a loop whose state depends on the order of the data and on random numbers of its own."""
    value, noise = tf.Variable(1.0, name="value"), tf.random.Generator.from_seed(seed)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": value.assign(0.5 * value + x[0] + noise.normal([]))}

    return Loop(
        train_step,
        ArrayData(tf.range(float(steps)), batch_size=1, seed=seed),
        state={"value": value, "noise": noise},
        hooks=[*hooks, *([] if directory is None else [Checkpoint(directory, At(2, 6))])],
    )


def bits(loop: Loop) -> dict[str, bytes]:
    variables = loop.state.variables.items()
    return {path: v.numpy().tobytes() for path, v in variables if not path.startswith(("clock/", "random/"))}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_without_threads_training_waits_for_what_they_would_have_done(
    tmp_path: Path, no_threads: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked: list[int] = []

    class Looking(Hook):
        every = Every(seconds=1e-6)  # each step takes longer

        def on_step_end(self, moment: Moment) -> None:
            looked.append(moment.step)

    loop = training(tmp_path, Looking(), Preemption())
    assert loop.run(epochs=3).step == 12
    assert looked == [*range(1, 13)]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["ckpt-12.json", "ckpt-2.json", "ckpt-6.json"]
    assert [line.removesuffix(f": {NO_THREAD}.") for line in said(caplog)] == [
        "Signals are heard only between calls of the compiled loop, as Python hears them",
        "The compiled loop halts after each step, to look at the time",
        "Training waits while checkpoints are written",
        "Orders of the data are made when they are needed, and not before",
    ]
    monkeypatch.undo()
    plain = training(None)
    plain.run(epochs=3)
    assert bits(loop) == bits(plain)


def test_a_save_without_a_thread_fails_as_one_in_a_thread_does(
    tmp_path: Path, no_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failures = Store.commit, [OSError(28, "No space left on device")]

    def full(store: Store, record: object, *args: object) -> None:
        if failures:
            raise failures.pop()
        commit(store, record, *args)

    monkeypatch.setattr(Store, "commit", full)
    loop = training(tmp_path)
    with pytest.raises(OSError, match="The checkpoint of step 2 was not saved") as caught:
        loop.run(epochs=3)
    assert caught.value.__notes__[0] == "The state after step 2, with which the run ends, is saved."
    assert [path.name for path in tmp_path.glob("*.json")] == ["ckpt-2.json"]
    assert loop.run(epochs=3).step == 12
    plain = training(None)
    plain.run(epochs=3)
    assert bits(loop) == bits(plain)


def test_an_interrupt_of_a_save_without_a_thread_leaves_nothing_waiting(
    tmp_path: Path, no_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, interrupts = Store.commit, [KeyboardInterrupt()]

    def interrupted(store: Store, record: object, *args: object) -> None:
        if interrupts:
            raise interrupts.pop()
        commit(store, record, *args)

    monkeypatch.setattr(Store, "commit", interrupted)
    loop = training(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        loop.run(epochs=3)
    assert [*tmp_path.glob("*.json")] == []
    again = training(tmp_path)
    assert again.run(epochs=3).step == 12


def test_signals_are_heard_without_a_thread_too(tmp_path: Path, no_threads: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    loop = training(tmp_path, Preemption(exit=False))
    loop.on(Event.STEP_END, every=At(3))(lambda moment: os.kill(os.getpid(), signal.SIGTERM))
    result = loop.run(epochs=3)
    assert (result.step, result.reason) == (3, "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "ckpt-3.json").exists()


def test_without_a_thread_signals_of_others_reach_them_and_hold_nothing_up(tmp_path: Path, no_threads: None) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    own = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    loop = training(tmp_path, Preemption(exit=False))

    @loop.on(Event.STEP_END, every=At(3))
    def send(moment: Moment) -> None:
        for _ in range(2**16 + 1):  # more than a pipe holds
            os.kill(os.getpid(), signal.SIGUSR2)

    try:
        assert loop.run(epochs=1).step == 4
        assert signal.set_wakeup_fd(before) == write
        assert os.read(read, 2) == bytes([signal.SIGUSR2] * 2)
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR2, own)
        os.close(write)
        os.close(read)


def watched(directory: Path, seed: int) -> Loop:
    """Returns a loop with a network, whose layers draw random numbers, an evaluation and all hooks."""
    network = keras.Sequential([keras.Input([3]), keras.layers.Dense(4), keras.layers.Dropout(0.5, seed=seed)])
    optimizer, generator = keras.optimizers.SGD(0.01), tf.random.Generator.from_seed(seed)
    for variable in network.trainable_variables:
        variable.assign(generator.normal(variable.shape))
    optimizer.build(network.trainable_variables)

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(x, training=True)))
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"loss": loss}

    x = tf.random.stateless_normal([20, 3], [seed, 1])
    return Loop(
        train_step,
        ArrayData(x, batch_size=2, seed=seed),
        state={"network": network, "optimizer": optimizer},
        evaluate=Evaluation(lambda x: {"loss": tf.reduce_mean(network(x))}, ArrayData(x, batch_size=10)),
        hooks=[
            Progress(Every(steps=3), console=rich.console.Console(file=io.StringIO(), force_terminal=seed == 1)),
            TensorBoard(directory / "tensorboard", Every(steps=1)),
            Checkpoint(directory / "checkpoints", Every(steps=7)),
            Preemption(),
        ],
    )


def curves(directory: Path) -> list[tuple[str, int, float]]:
    found = []
    for run, file in sorted((path.parent.name, str(path)) for path in directory.rglob("*tfevents*")):
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(f"{run}/{value.tag}", event.step, value.simple_value) for value in event.summary.value]
    return found


@pytest.mark.more
def test_two_loops_in_two_threads_are_what_each_is_alone(tmp_path: Path) -> None:
    begin = threading.Barrier(2)

    def train(name: str, seed: int, barrier: threading.Barrier | None) -> tuple[dict[str, bytes], list]:
        directory = tmp_path / name
        loop = watched(directory, seed)
        if barrier is not None:
            barrier.wait(60)
        loop.run(epochs=2)
        loop.run(epochs=6)
        return bits(loop), curves(directory)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, ["a", "b"], [1, 2], itertools.repeat(begin)))
    alone = [train("alone a", 1, None), train("alone b", 2, None)]
    assert together == alone


def test_without_threads_a_grace_time_does_not_keep_the_last_step_from_being_saved(
    tmp_path: Path, no_threads: None, caplog: pytest.LogCaptureFixture
) -> None:
    class Signals(Hook):
        every = At(5)

        def on_step_end(self, moment: Moment) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    assert training(tmp_path, Preemption(exit=False, grace=30), Signals()).run(epochs=3).reason == "SIGTERM"
    assert (tmp_path / "ckpt-5.json").exists()
    assert f"If no save has begun in 30 s, nobody will say so: {NO_THREAD}." in said(caplog)


def test_a_run_cannot_begin_while_another_thread_evaluates_and_would_take_it_back() -> None:
    inside, go_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def waiting() -> Iterator[None]:
        inside.set()
        assert go_on.wait(60)
        yield

    value = tf.Variable(1.0, name="value")
    data = ArrayData(tf.range(4.0), batch_size=1)
    evaluation = Evaluation(lambda x: {"value": value + x[0]}, ArrayData(tf.zeros([1]), batch_size=1), within=waiting)
    loop = Loop(lambda x: {"loss": value.assign_add(x[0])}, data, state={"value": value}, evaluate=evaluation)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found = pool.submit(loop.evaluate)
        assert inside.wait(60)
        with pytest.raises(RuntimeError, match="A hook, or another thread, cannot run it at the same time"):
            loop.run(steps=2)
        assert not loop.running
        go_on.set()
        assert found.result() == {"val_value": 1.0}
    assert loop.run(steps=2).step == loop.step == 2


def test_between_the_steps_of_a_rehearsal_it_evaluates() -> None:
    value = tf.Variable(1.0, name="value")
    evaluation = Evaluation(lambda x: {"value": value + x[0]}, ArrayData(tf.zeros([1]), batch_size=1))
    loop = Loop(
        lambda x: {"loss": value.assign_add(1.0)},
        ArrayData(tf.range(4.0), batch_size=1),
        state={"value": value},
        evaluate=evaluation,
    )
    with loop.rehearse() as rehearsal:
        rehearsal.train(2)
        assert loop.evaluate() == {"val_value": 3.0}
        rehearsal.train(1)
        assert loop.evaluate() == {"val_value": 4.0}
    assert loop.evaluate() == {"val_value": 1.0}


@pytest.mark.more
@pytest.mark.parametrize("how", ["on_error", "Exception", "BaseException"])
def test_no_hook_keeps_a_roll_back_from_the_loop(how: str, tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []

    class Back(Hook):
        every = Every(steps=1)
        on_error = "warn" if how == "on_error" else "raise"
        left = 1

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def on_step_end(self, moment: Moment) -> None:
            heard.append(("step_end", moment.step))
            if moment.step == 4 and self.left:
                self.left -= 1
                with contextlib.suppress(*{"Exception": [Exception], "BaseException": [BaseException]}.get(how, [])):
                    self.loop.roll_back("it was bad")

        def on_run_end(self, moment: Moment) -> None:
            heard.append((f"run_end {type(moment.error).__name__}", moment.step))

    loop = training(tmp_path, Back())
    assert loop.run(steps=6).step == 6
    steps = [("step_end", step) for step in range(1, 7)]
    assert heard == [*steps[:4], ("run_end RollBack", 4), *steps[2:], ("run_end NoneType", 6)]
    whole = training(None)
    whole.run(steps=6)
    kept = {path for path in bits(loop) if not path.startswith("hooks/")}
    assert {path: bits(loop)[path] for path in kept} == bits(whole)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["ckpt-2.json", "ckpt-6.json"]


def test_another_thread_cannot_roll_a_run_back_which_is_saved_as_if_nobody_had_asked(tmp_path: Path) -> None:
    refused: list[str] = []

    class Elsewhere(Hook):
        every = Every(steps=1)

        def on_setup(self, loop: Loop, moment: Moment) -> None:
            self.loop = loop

        def ask(self) -> None:
            try:
                self.loop.roll_back("it is late")
            except RuntimeError as error:
                refused.append(str(error))

        def on_step_end(self, moment: Moment) -> None:
            thread = threading.Thread(target=self.ask)
            thread.start()
            thread.join()

    assert training(tmp_path, Elsewhere()).run(steps=3).step == 3
    assert {*refused} == {
        "A run is rolled back by a hook, in on_step_end, on_eval_end or on_epoch_end. Asked for: it is late."
    }
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["ckpt-2.json", "ckpt-3.json"]


def test_what_no_thread_was_there_for_is_not_read_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool keeps what it could not start, and would run it beside what it is asked for next."""
    ran, refused, start = list[bool](), [NO_THREAD], threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if refused:
            raise RuntimeError(refused.pop())
        start(thread)

    def make(number: int) -> Making[int]:
        yield
        return number

    def noted(ahead: ReadAhead[int], count: int) -> list[concurrent.futures.Future[None]]:
        waited_for.extend(jobs := started(ahead, count))
        return jobs

    waited_for, started, run = list[concurrent.futures.Future[None]](), ReadAhead._started, ReadAhead._run
    monkeypatch.setattr(ReadAhead, "_started", noted)
    monkeypatch.setattr(ReadAhead, "_run", lambda ahead: (ran.append(True), run(ahead)))
    monkeypatch.setattr(threading.Thread, "start", refusing)
    ahead = ReadAhead[int](make, workers=2, prefetch=4)
    ahead.begin(0, 100)
    for number in range(3):
        with ahead.meanwhile():
            pass
        assert ahead.take(number) == number
    assert len(ran) == len(waited_for) >= 4
