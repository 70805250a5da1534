"""Signals that come exactly while something is done, not at random, and others who listen to signals, such as asyncio.

    PYTHONPATH=.:tests python tests/hooks/test_signals.py DIRECTORY PHASE SIGNAL TIMES

is a process of its own that is signalled in a phase of its run.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf
from places import environment

from hooks import Checkpoint, Preemption
from hooks.checkpoint.commits.store import Store
from hooks.checkpoint.disk.local import LocalFiles
from hooks.checkpoint.saving.bundle import Bundle
from hooks.checkpoint.saving.saver import Saver
from hooks.checkpoint.saving.snapshot import Snapshot
from loop import ArrayData, At, Evaluation, Event, Every, Hook, Loop, Moment, TrainingState
from loop.engine.chunk import CompiledLoop
from loop.engine.traced.trace import Trace
from loop.running.compiled import Compiled

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]
STEPS = 12
WITHIN: dict[str, tuple[type, str]] = {  # phases that are one method
    "tracing": (Trace, "__init__"),
    "training": (CompiledLoop, "__call__"),
    "evaluating": (Compiled, "evaluate"),
    "restoring": (TrainingState, "restore"),
    "taking the snapshot": (Snapshot, "take"),
    "beginning a save": (LocalFiles, "ensure"),
    "TensorFlow writes": (Bundle, "write"),
    "flushing": (LocalFiles, "sync"),
    "writing the manifest": (LocalFiles, "write"),
    "committing": (LocalFiles, "rename"),
    "pruning": (Store, "remove"),
    "waiting for a save": (Saver, "wait"),
    "letting go": (Checkpoint, "_close"),
}
EVENTS = [Event.SETUP, Event.RUN_BEGIN, Event.EPOCH_BEGIN, Event.STEP_END, Event.EVAL_BEGIN, Event.EVAL_END]
EVENTS += [Event.EPOCH_END, Event.SETTLED, Event.RUN_END]
PHASES = [*WITHIN, *map(str, EVENTS)]


class Alarm:
    """Sends a signal to this process, some times in a row, when the phase has come for which it is set."""

    def __init__(self) -> None:
        self.phase, self.number, self.times, self.rung = "", 0, 0, False

    def set(self, phase: str, number: int, times: int) -> None:
        self.phase, self.number, self.times, self.rung = phase, number, times, False

    def at(self, phase: str) -> None:
        if phase == self.phase and not self.rung:
            self.rung = True
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)

    def watch(self, phase: str, method: Callable[..., object]) -> Callable[..., object]:
        def watched(*args: object, **kwargs: object) -> object:
            self.at(phase)
            return method(*args, **kwargs)

        return watched


class Listener(Hook):
    """Lets the alarm ring at the events."""

    every = Every(steps=1)

    def __init__(self, alarm: Alarm) -> None:
        super().__init__()
        self._alarm = alarm

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self._alarm.at("setup")

    def _told(self, moment: Moment) -> None:
        if moment.step >= 3 or moment.event in (Event.RUN_BEGIN, Event.EPOCH_BEGIN):
            self._alarm.at(str(moment.event))

    on_run_begin = on_epoch_begin = on_step_end = on_eval_begin = on_eval_end = on_epoch_end = _told
    on_settled = on_run_end = _told


class Training(NamedTuple):
    """A loop that can begin anew, as another process would."""

    loop: Loop
    alarm: Alarm

    def begin_anew(self, directory: Path, **kinds: object) -> None:
        for variable in self.loop.state.variables.values():
            variable.assign(tf.zeros([length or 0 for length in variable.shape], variable.dtype))
        self.loop.state.position.torn = False
        for name in [hook.name for hook in self.loop.hooks]:
            self.loop.hooks.remove(name)
        for hook in (Listener(self.alarm), Checkpoint(directory, Every(steps=2)), Preemption(SIGNALS, **kinds)):
            self.loop.hooks.add(hook)

    def bits(self) -> dict[str, bytes]:
        of_training = [item for item in self.loop.state.variables.items() if item[0].split("/")[0] == "total"]
        return {path: variable.numpy().tobytes() for path, variable in of_training}


def make_loop() -> Loop:
    """Returns a loop of 4 steps an epoch that adds up its batches, and is evaluated after each epoch."""
    total = tf.Variable(0.0, name="total")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": total.assign(total * 1.1 + x[0])}

    def eval_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"loss": tf.sin(total + x[0])}

    data = [ArrayData(tf.range(1.0, 5.0), batch_size=1, seed=3), ArrayData(tf.range(3.0), batch_size=1, shuffle=False)]
    return Loop(train_step, data[0], state={"total": total}, evaluate=Evaluation(eval_step, data[1]))


@contextlib.contextmanager
def alarmed() -> Iterator[Alarm]:
    """An alarm that all phases ring, and SIGINT as it is for a program in the foreground."""
    alarm, own = Alarm(), signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patched:
        for phase, (kind, method) in WITHIN.items():
            patched.setattr(kind, method, alarm.watch(phase, getattr(kind, method)))
        yield alarm
    signal.signal(signal.SIGINT, own)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    with alarmed() as alarm:
        loop = make_loop()
        loop.run(steps=1)
        yield Training(loop, alarm)


@pytest.fixture(scope="module")
def uninterrupted(training: Training, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], object]:
    training.begin_anew(tmp_path_factory.mktemp("uninterrupted"))
    result = training.loop.run(steps=STEPS)
    return training.bits(), result.logs


CASES = [
    ("training", signal.SIGHUP, 1),
    ("evaluating", signal.SIGUSR1, 2),
    ("restoring", signal.SIGTERM, 1),
    ("taking the snapshot", signal.SIGINT, 2),
    ("committing", signal.SIGINT, 1),
    ("pruning", signal.SIGTERM, 2),
    ("run_end", signal.SIGUSR1, 1),
]


def phase_is_harmless(
    phase: str, number: int, times: int, training: Training, directory: Path, uninterrupted: tuple[object, object]
) -> None:
    training.begin_anew(directory)
    training.loop.run(steps=2)
    training.begin_anew(directory)
    training.alarm.set(phase, number, times)
    ends = KeyboardInterrupt if (number, times) == (signal.SIGINT, 2) else SystemExit
    with pytest.raises((ends, SystemExit)) as raised:  # two may come after the run has seen the first
        training.loop.run(steps=STEPS)
    assert training.alarm.rung
    if isinstance(raised.value, SystemExit):
        assert raised.value.code == 128 + number
        saved = {path.stem.split("-")[1] for path in directory.glob("*-*.json")}
        assert str(training.loop.step) in saved  # what was trained is saved
    assert [signal.getsignal(each) for each in SIGNALS] == [
        signal.SIG_DFL if each != signal.SIGINT else signal.default_int_handler for each in SIGNALS
    ]
    training.begin_anew(directory)
    result = training.loop.run(steps=STEPS)
    assert (training.bits(), result.logs) == uninterrupted


@pytest.mark.parametrize(("phase", "number", "times"), CASES)
def test_a_signal_in_any_phase_ends_the_run_with_a_save(
    phase: str,
    number: int,
    times: int,
    training: Training,
    tmp_path: Path,
    uninterrupted: tuple[object, object],
) -> None:
    phase_is_harmless(phase, number, times, training, tmp_path, uninterrupted)


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES[1:])
def test_each_signal_in_each_phase_ends_the_run_with_a_save(
    phase: str, training: Training, tmp_path: Path, uninterrupted: tuple[object, object]
) -> None:
    for number in SIGNALS:
        for times in (1, 2):
            directory = tmp_path / f"{number}-{times}"
            phase_is_harmless(phase, number, times, training, directory, uninterrupted)


@pytest.mark.more
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("exits", [True, False])
def test_while_it_is_traced_a_run_ends_at_once_or_before_its_first_step(
    number: signal.Signals, exits: bool, tmp_path: Path
) -> None:
    with alarmed() as alarm:
        loop, began = make_loop(), list[int]()
        loop.on(Event.EPOCH_BEGIN)(lambda moment: began.append(moment.step))
        for hook in (Checkpoint(tmp_path), Preemption([number], exit=exits)):
            loop.hooks.add(hook)
        alarm.set("tracing", number, 1)
        if exits:
            with pytest.raises((SystemExit, KeyboardInterrupt)) as raised:
                loop.run(steps=2)
            assert isinstance(raised.value, KeyboardInterrupt) == (number == signal.SIGINT)
        else:
            assert loop.run(steps=2).reason == number.name
        assert began == []
        assert loop.run(steps=2).step == 2


# Processes of their own.


def command(directory: Path, phase: str, number: int, times: int) -> list[str]:
    return [sys.executable, __file__, str(directory), phase, str(int(number)), str(times)]


def as_the_first_process() -> list[str]:
    """Returns what to put before a command so that its process is the first of a container: pid 1."""
    prefix = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("no process can be made the first of a container here")
    return prefix


@pytest.mark.long
@pytest.mark.parametrize(
    ("phase", "number"),
    # The kernel keeps from pid 1 what it does not handle.
    [("tracing", signal.SIGTERM), *((phase, SIGNALS[n % 4]) for n, phase in enumerate(PHASES[1:]))],
)
def test_the_first_process_of_a_container_hears_signals_in_each_phase(
    phase: str, number: signal.Signals, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*as_the_first_process(), *command(tmp_path, phase, number, 1)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    killed_itself = phase == "tracing" and number == signal.SIGINT  # as Python does after a KeyboardInterrupt
    assert done.returncode == (130 if killed_itself else 128 + number), done.stderr
    assert done.stdout == "pid 1\n"


def main(directory: Path, phase: str, number: int, times: int) -> None:
    print("pid", os.getpid(), flush=True)
    with alarmed() as alarm:
        if phase == "restoring":
            loop = make_loop()
            loop.hooks.add(Checkpoint(directory))
            loop.run(steps=2)
        loop = make_loop()
        for hook in (Listener(alarm), Checkpoint(directory, Every(steps=2)), Preemption(SIGNALS)):
            loop.hooks.add(hook)
        alarm.set(phase, number, times)
        loop.run(steps=STEPS)


# Others who listen to signals.


def sound(loop: Loop, numbers: dict[int, int]) -> Loop:
    """Lets signals be sent after steps."""
    every = At(*numbers)
    loop.on(Event.STEP_END, every=every)(lambda moment: os.kill(os.getpid(), numbers[moment.step]))
    return loop


def adding_loop(*more: Hook, wait: Callable[[], None] | None = None) -> Loop:
    """Returns a loop of a million steps an epoch, which calls `wait` in step 5, in the midst of a compiled call."""
    total = tf.Variable(0, dtype=tf.int64, name="total")

    def train_step(x: tf.Tensor) -> dict[str, tf.Tensor]:
        if wait is not None and total == 4:
            tf.numpy_function(wait, [], [])
        return {"total": total.assign_add(1)}

    data = ArrayData(tf.range(2**20), batch_size=1, shuffle=False)
    return Loop(train_step, data, state={"total": total}, hooks=more, exact=wait is None)


def test_under_asyncio_signals_reach_the_run_and_then_those_who_wait_for_them(tmp_path: Path) -> None:
    heard, loop = list[str](), adding_loop(Checkpoint(tmp_path), Preemption(exit=False))
    sound(loop, {2: signal.SIGUSR2, 3: signal.SIGTERM})  # the first is not one that the run listens to

    async def main() -> str:
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGUSR2):
            running.add_signal_handler(number, heard.append, number.name)
        result = loop.run(steps=10**6)
        assert heard == []  # while it ran, nobody else could
        os.kill(os.getpid(), signal.SIGUSR2)
        while len(heard) < 3:
            await asyncio.sleep(0)
        return result.reason

    assert asyncio.run(main()) == "SIGTERM"
    assert heard == ["SIGUSR2", "SIGTERM", "SIGUSR2"]
    assert [path.name for path in tmp_path.glob("ckpt-*.json")] == [f"ckpt-{loop.step}.json"]
    assert signal.set_wakeup_fd(-1) == -1


def test_under_asyncio_ctrl_c_saves_and_then_cancels_the_task(tmp_path: Path) -> None:
    loop = sound(adding_loop(Checkpoint(tmp_path), Preemption(exit=False)), {3: signal.SIGINT})

    async def main() -> None:
        assert loop.run(steps=10**6).reason == "SIGINT"
        await asyncio.sleep(3600)

    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    signal.signal(signal.SIGINT, own)
    assert [path.name for path in tmp_path.glob("ckpt-*.json")] == [f"ckpt-{loop.step}.json"]


def test_a_run_in_a_thread_of_asyncio_is_stopped_as_the_warning_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = sound(adding_loop(Checkpoint(tmp_path), Preemption()), {3: signal.SIGTERM})

    async def main() -> str:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop, "SIGTERM")
        return (await asyncio.to_thread(loop.run, steps=10**6)).reason

    assert asyncio.run(main()) == "SIGTERM"
    assert [path.name for path in tmp_path.glob("ckpt-*.json")] == [f"ckpt-{loop.step}.json"]
    (said,) = [record.getMessage() for record in caplog.records if "hears no signals" in record.getMessage()]
    assert "asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop, 'SIGTERM')" in said


@pytest.mark.parametrize("closes", [True, False])
def test_a_hook_that_listens_to_signals_by_itself_does_not_make_the_run_deaf(closes: bool, tmp_path: Path) -> None:
    own = asyncio.new_event_loop()
    loop = adding_loop(Checkpoint(tmp_path), Preemption(exit=False), wait=lambda: os.kill(os.getpid(), signal.SIGTERM))

    @loop.on(Event.STEP_END, every=At(2))
    def listen(moment: Moment) -> None:
        own.add_signal_handler(signal.SIGUSR2, int)
        if closes:
            own.close()

    result = loop.run(steps=10**6)
    assert result.reason == "SIGTERM"
    assert result.step < 2**13  # in the midst of a call
    own.close()
    assert signal.set_wakeup_fd(-1) == -1


def test_a_handler_that_is_set_in_mid_run_stays(tmp_path: Path) -> None:
    loop, before = adding_loop(Preemption()), signal.getsignal(signal.SIGTERM)
    loop.on(Event.RUN_BEGIN)(lambda moment: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    loop.run(steps=2)
    assert signal.signal(signal.SIGTERM, before) is signal.SIG_IGN


# How long it takes until the last save begins.


@dataclass
class Watch:
    """A clock of this test, and the timers that were set."""

    now: float = 0.0
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def timer(self, seconds: float, ring: Callable[[], None]) -> threading.Timer:
        """Returns one that never rings by itself."""
        self.timers.append((seconds, ring))
        timer = threading.Timer(3600.0, ring)
        timer.start, timer.cancel = (lambda: None), (lambda: self.timers.remove((seconds, ring)))
        return timer


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr("hooks.grace.time", watch)
    monkeypatch.setattr("loop.engine.clock.time", watch)
    monkeypatch.setattr("hooks.grace.Timer", watch.timer)
    return watch


def told(caplog: pytest.LogCaptureFixture, word: str) -> list[tuple[str, str]]:
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "exactloop"]
    return [(level, line) for level, line in lines if word in line]


@pytest.mark.parametrize(("takes", "late"), [(29.0, False), (31.5, True)])
def test_a_last_save_that_does_not_begin_in_time_is_said_to_be_late(
    takes: float, late: bool, watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    loop = adding_loop(Checkpoint(tmp_path), Preemption(exit=False, grace=30))
    heard = threading.Event()
    stop = loop.stop
    loop.stop = lambda reason: (stop(reason), heard.set())  # type: ignore[method-assign]

    @loop.on(Event.STEP_END, every=At(3))
    def last_long(moment: Moment) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        while not watch.timers:
            heard.wait(0.01)
        watch.now += takes
        if late:
            watch.timers[0][1]()

    assert loop.run(steps=10**6).reason == "SIGTERM"
    said = told(caplog, "SIGTERM came")
    assert said == (
        [
            (
                "WARNING",
                "SIGTERM came 30 s ago, and no save has begun: step 3 is complete, and the next one, an evaluation or "
                "a hook takes longer than grace=30. If this process is killed now, the next run goes on from the last "
                "checkpoint.",
            )
        ]
        if late
        else []
    )
    ready = f"Step 3 is to be saved, {takes:.1f} s after SIGTERM"
    assert told(caplog, "is to be saved") == (
        [("WARNING", f"{ready}: 1.5 s later than grace=30.")] if late else [("INFO", f"{ready}.")]
    )
    assert watch.timers == []


@pytest.mark.parametrize(("each", "longer"), [(29.0, False), (31.0, True)])
def test_steps_that_take_longer_than_the_grace_are_named_before_any_signal_comes(
    each: float, longer: bool, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = adding_loop(Preemption(grace=30), wait=lambda: setattr(watch, "now", watch.now + 2 * each))
    loop.on(Event.STEP_END, every=At(1, 3, 5, 6))(lambda moment: None)  # step 5, and so the two before a halt: 2 x each
    loop.run(steps=6)
    said = [line for _, line in told(caplog, "grace")]
    assert said == (
        [
            "A step takes 31.0 s, so after a signal the last save may begin later than grace=30. What a kill would "
            "lose by that is less if Checkpoint(every=...) saves more often, or if steps are smaller."
        ]
        if longer
        else []
    )


def test_without_a_signal_nothing_is_said_of_the_grace(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    adding_loop(Preemption(grace=0.5)).run(steps=3)
    assert (told(caplog, "grace"), told(caplog, "to be saved"), watch.timers) == ([], [], [])


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf")])
def test_a_grace_that_is_no_positive_number_is_refused(wrong: float) -> None:
    message = rf"^Preemption\(grace=...\) must be a positive number of seconds. Received: {wrong!r}"
    with pytest.raises(ValueError, match=message):
        Preemption(grace=wrong)


@pytest.mark.parametrize("wrong", ["30", True])
def test_a_grace_that_is_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="grace"):
        Preemption(grace=wrong)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
