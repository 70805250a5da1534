"""Real signals, sent to real processes.

    PYTHONPATH=.:tests python tests/hooks/test_preemption.py DIRECTORY LIFE

is one life of a run without end (`endless`, or `held`, where each save waits for a line on standard input, or with
children that were forked from it in one of the ways of FORKS) or of one with a long evaluation (`evaluating`). It says
on standard output what it is doing.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import nursery
import pytest
import tensorflow as tf
from tiny import bits

from hooks import Checkpoint, Preemption
from loop import ArrayData, At, Evaluation, Event, Hook, Loop, Moment, RunResult
from loop.engine.traced.ring import LONGEST

WITHOUT_END = 10**9


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """SIGINT is ignored in what a shell runs in the background, and would be in the processes that are started here."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


class Diary(Hook):
    """Notes where a run begins and what its evaluations give, and says where it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.began_at: list[int] = []
        self.evaluations: list[tuple[int, dict[str, float]]] = []

    def on_run_begin(self, moment: Moment) -> None:
        self.began_at.append(moment.step)

    def on_eval_end(self, moment: Moment) -> None:
        self.evaluations.append((moment.step, dict(moment.logs)))

    def on_run_end(self, moment: Moment) -> None:
        print(f"ended at {moment.step}", flush=True)


def by_multiprocessing() -> int:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    process.start()
    assert process.pid is not None
    return process.pid


def by_fork() -> int:
    if child := os.fork():
        return child
    time.sleep(600)
    os._exit(0)


def in_a_thread() -> int:
    """A child of another thread than the main one, as some data loaders make theirs."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(by_multiprocessing).result()


def before_exec() -> int:
    """A child that is held up before it becomes another program."""

    def wait() -> None:
        os.write(write, b"there")
        time.sleep(600)

    read, write = os.pipe()
    threading.Thread(target=lambda: subprocess.Popen(["sleep", "600"], preexec_fn=wait), daemon=True).start()
    os.read(read, 1)
    return children()[-1]


FORKS: dict[str, Callable[[], int]] = {
    function.__name__: function for function in (by_multiprocessing, by_fork, in_a_thread, before_exec)
}


def children() -> list[int]:
    """Returns the pids of the children of this process, the oldest first."""
    tasks = Path("/proc/self/task").glob("*/children")
    return sorted(int(pid) for task in tasks for pid in task.read_text().split())


class Forks(Hook):
    """Has two children when the run begins, says their pids, and what becomes of them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._fork = FORKS[kind]

    def on_run_begin(self, moment: Moment) -> None:
        print("children", *[self._fork() for _ in range(2)], flush=True)


class Pause(Hook):
    """Waits for a line on standard input before anything is saved."""

    def on_settled(self, moment: Moment) -> None:
        print(f"waiting at {moment.step}", flush=True)
        sys.stdin.readline()


def numbers(count: int) -> ArrayData:
    """Returns 0, 1, 2 ... in batches of one."""
    return ArrayData(tf.range(count, dtype=tf.int64), batch_size=1, shuffle=False)


def summing_loop(directory: Path, *hooks: Hook, exit: bool = True, evaluate: bool = False) -> Loop:  # noqa: A002
    """Returns a loop over 0, 1, 2 ... that adds them up, so its sum says which batches it has seen.

    With an evaluation, an epoch has 7 steps; without one it has a million, and nobody wants any step of it. Both say
    what they are at out of the middle of the compiled loop.
    """
    keras.utils.set_random_seed(1)  # part of the state: the same in each process
    total = tf.Variable(0, dtype=tf.int64, name="total")

    def train_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        if batch[0] == 1000:
            tf.print("training", output_stream=sys.stdout)
        total.assign_add(batch[0])
        return {"loss": tf.cast(total, tf.float32)}

    def eval_step(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        if batch[0] == 100:
            tf.print("evaluating", output_stream=sys.stdout)
        return {"loss": tf.sin(tf.cast(total + batch[0], tf.float32))}

    return Loop(
        train_step,
        numbers(7 if evaluate else 2**20),
        state={"total": total},
        evaluate=Evaluation(eval_step, numbers(30_000)) if evaluate else None,
        hooks=[*hooks, Checkpoint(directory), Preemption(exit=exit)],
    )


def total(loop: Loop) -> int:
    return int(loop.state.variables["total"])


def saved(directory: Path) -> list[int]:
    """Returns the steps of the committed checkpoints."""
    return sorted(int(path.stem.removeprefix("ckpt-")) for path in directory.glob("ckpt-*.json"))


@contextlib.contextmanager
def life(
    directory: Path, kind: str, begin: Callable[..., nursery.Child | subprocess.Popen[str]] = nursery.start
) -> Iterator[nursery.Child | subprocess.Popen[str]]:
    """Runs a life of a run in a process of its own."""
    with begin(__file__, directory, kind, **dict.fromkeys(nursery.NAMES, subprocess.PIPE)) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(line: str, process: nursery.Child | subprocess.Popen[str]) -> None:
    """Reads the next line that a life says."""
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith(line), process.communicate()


@pytest.mark.parametrize(
    ("number", "status", "begin"), [(signal.SIGTERM, 143, nursery.start), (signal.SIGINT, 130, nursery.execute)]
)
def test_a_signal_saves_the_last_step_and_ends_the_process(
    tmp_path: Path, number: int, status: int, begin: Callable[..., nursery.Child | subprocess.Popen[str]]
) -> None:
    with life(tmp_path, "endless", begin) as process:
        wait_for("training", process)
        process.send_signal(number)
        said, errors = process.communicate()
    assert process.returncode == status, errors
    (step,) = saved(tmp_path)
    assert said == f"ended at {step}\n"
    assert step % LONGEST != 0  # but in the middle of a call of the compiled loop
    diary = Diary()
    resumed = summing_loop(tmp_path, diary)
    resumed.run(steps=step + 5)
    assert diary.began_at == [step]
    assert total(resumed) == sum(range(step + 5))


@pytest.mark.more
def test_a_second_sigint_ends_the_process_without_saving(tmp_path: Path) -> None:
    summing_loop(tmp_path).run(steps=5)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("ckpt-*")}
    with life(tmp_path, "held") as process:
        wait_for("training", process)
        process.send_signal(signal.SIGINT)
        wait_for("waiting at", process)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert said.startswith("ended at ")
    assert "\nKeyboardInterrupt\n" in errors
    assert {path.name: path.read_bytes() for path in tmp_path.glob("ckpt-*")} == before
    resumed = summing_loop(tmp_path)
    resumed.run(steps=10)
    assert total(resumed) == sum(range(10))


@pytest.mark.more
def test_a_storm_of_signals_saves_once(tmp_path: Path) -> None:
    with life(tmp_path, "held") as process:
        wait_for("training", process)
        for _ in range(1000):
            process.send_signal(signal.SIGTERM)
        said, errors = process.communicate("go on\n")
    assert process.returncode == 143, errors
    (step,) = saved(tmp_path)
    assert said == f"waiting at {step}\nended at {step}\n"


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.more
@pytest.mark.parametrize("kind", FORKS)
def test_children_that_were_forked_hear_their_own_signals_and_only_those(tmp_path: Path, kind: str) -> None:
    with life(tmp_path, kind) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()[1:]]
        assert len(pids) == 2
        wait_for("training", process)
        # Bit n - 1 is for signal n. Python itself catches SIGINT.
        assert [pid for pid in pids if int(status(pid)["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1] == []
        os.kill(pids[0], signal.SIGTERM)
        while Path(f"/proc/{pids[0]}").exists() and status(pids[0])["State"][0] != "Z":
            time.sleep(0.01)  # ends, or the test does not
        assert process.poll() is None  # and nobody else has heard of it
        for pid in (pids[1], process.pid):  # as Ctrl-C does for all that are in the foreground
            os.kill(pid, signal.SIGINT)
        said, errors = process.communicate()
        assert process.returncode == 130, errors
    (step,) = saved(tmp_path)
    assert said.splitlines()[-1] == f"ended at {step}"


def test_a_child_that_outlives_the_run_does_not_hold_it_up(tmp_path: Path) -> None:
    pids = list[int]()
    loop = summing_loop(tmp_path)

    @loop.on(Event.RUN_BEGIN)
    def fork(moment: Moment) -> None:
        pids.append(by_fork())

    loop.run(steps=3)
    os.kill(pids[0], signal.SIGKILL)
    os.waitpid(pids[0], 0)
    assert [thread.name for thread in threading.enumerate() if thread.name == "signals"] == []


@pytest.mark.more
def test_an_evaluation_that_a_signal_cut_short_is_redone(tmp_path: Path) -> None:
    with life(tmp_path / "interrupted", "evaluating") as process:
        wait_for("evaluating", process)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate()
    assert process.returncode == 143, errors
    assert said == "ended at 7\n"
    assert (tmp_path / "interrupted" / "pending-7.json").exists()
    resumed, uninterrupted = Diary(), Diary()
    loops = [
        summing_loop(tmp_path / "interrupted", resumed, evaluate=True),
        summing_loop(tmp_path / "uninterrupted", uninterrupted, evaluate=True),
    ]
    results = [loop.run(steps=10) for loop in loops]
    assert [step for step, _ in uninterrupted.evaluations] == [7]
    assert resumed.evaluations == uninterrupted.evaluations
    assert bits(loops[0]) == bits(loops[1])
    assert results[0].logs == results[1].logs


# From here on, the process that is signalled is this one.


class Signaller(Hook):
    """Sends a signal to its own process after the third step."""

    every = At(3)

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def on_step_end(self, moment: Moment) -> None:
        os.kill(os.getpid(), self._number)


class Accident(Hook):
    """Raises at an event."""

    every = At(3)

    def __init__(self, at: Event) -> None:
        super().__init__()
        self._at = at

    def on_setup(self, loop: Loop, moment: Moment) -> None:
        self.fail(moment)

    def fail(self, moment: Moment) -> None:
        if moment.event == self._at:
            raise ConnectionError("an accident")

    on_step_end = on_run_end = fail


@pytest.fixture
def called() -> Iterator[list[int]]:
    """What a user's own SIGTERM handler was called with; there is a wakeup descriptor of the user's too."""
    called: list[int] = []
    read, write = os.pipe()
    os.set_blocking(write, False)
    handler = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    descriptor = signal.set_wakeup_fd(write)
    yield called
    signal.set_wakeup_fd(descriptor)
    signal.signal(signal.SIGTERM, handler)
    os.close(read)
    os.close(write)


def listening() -> list[object]:
    """Returns who hears signals: the handlers, and the wakeup descriptor."""
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), descriptor]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_exit_the_run_returns_the_name_of_the_signal(tmp_path: Path, number: signal.Signals) -> None:
    loop = summing_loop(tmp_path, Signaller(number), exit=False)
    result = loop.run(steps=WITHOUT_END)
    assert result.reason == number.name
    assert saved(tmp_path) == [result.step]
    assert total(loop) == sum(range(result.step))
    again = loop.run(steps=result.step + 5)
    assert [again.step, again.reason] == [result.step + 5, f"{result.step + 5} steps are complete"]


def test_the_handler_of_the_user_is_called_too(tmp_path: Path, called: list[int]) -> None:
    summing_loop(tmp_path, Signaller(signal.SIGTERM), exit=False).run(steps=WITHOUT_END)
    assert called == [signal.SIGTERM]


def test_handlers_are_put_back_after_a_signal(tmp_path: Path, called: list[int]) -> None:
    before = listening()
    with pytest.raises(SystemExit) as raised:
        summing_loop(tmp_path, Signaller(signal.SIGTERM)).run(steps=WITHOUT_END)
    assert raised.value.code == 143
    assert listening() == before


@pytest.mark.parametrize("at", [Event.SETUP, Event.STEP_END, Event.RUN_END])
def test_handlers_are_put_back_after_an_error(tmp_path: Path, called: list[int], at: Event) -> None:
    before = listening()
    loop = summing_loop(tmp_path)
    loop.hooks.add(Accident(at))
    with pytest.raises(ConnectionError, match="an accident"):
        loop.run(steps=5)
    assert listening() == before


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert (
        summing_loop(tmp_path, Signaller(signal.SIGINT), exit=False).run(steps=2000).reason == "2000 steps are complete"
    )
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_handler_of_the_user_that_exits_does_so_when_the_state_is_saved(tmp_path: Path, called: list[int]) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    loop = summing_loop(tmp_path, Signaller(signal.SIGTERM))
    with pytest.raises(SystemExit) as raised:
        loop.run(steps=WITHOUT_END)
    assert (raised.value.code, saved(tmp_path)) == (7, [loop.step])


def test_an_error_goes_before_the_exit(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="an accident"):
        summing_loop(tmp_path, Signaller(signal.SIGTERM), Accident(Event.RUN_END)).run(steps=WITHOUT_END)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_signal_that_nobody_can_hear_is_refused(number: signal.Signals) -> None:
    with pytest.raises(ValueError, match=rf"Preemption cannot hear {number.name}"):
        Preemption([signal.SIGTERM, number])


def test_outside_the_main_thread_the_run_goes_without_handlers(
    tmp_path: Path, called: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    before, during, results = listening(), list[object](), list[RunResult]()
    loop = summing_loop(tmp_path)
    loop.hooks.remove("preemption")
    loop.hooks.add(Preemption(grace=30))

    @loop.on(Event.STEP_END, every=At(3))
    def look(moment: Moment) -> None:
        during.extend([signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=lambda: results.append(loop.run(steps=5)))
    thread.start()
    thread.join()
    assert [(result.step, result.reason) for result in results] == [(5, "5 steps are complete")]
    assert during == before[:2]
    assert listening() == before
    said = [record.message for record in caplog.records if record.name == "exactloop"]
    assert [line.split(".")[0] for line in said] == ["Preemption hears no signals: this run is not in the main thread"]


def main(directory: Path, kind: str) -> None:
    if kind == "evaluating":
        summing_loop(directory, Diary(), evaluate=True).run(steps=10)
    else:
        more: dict[str, Hook] = {"held": Pause()} | {each: Forks(each) for each in FORKS if each == kind}
        summing_loop(directory, Diary(), *([more[kind]] if kind in more else [])).run(steps=WITHOUT_END)


if __name__ == "__main__":
    tf.config.experimental.enable_op_determinism()  # as the other lives have it
    main(Path(sys.argv[1]), sys.argv[2])
