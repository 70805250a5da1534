"""Up to 512 workers in one process agree on how far to go, when, and on the end; who holds other values is named."""

import contextlib
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import NoReturn
from unittest.mock import Mock

import pytest
import tensorflow as tf
from many import Part, Together, commit, decisions, ended_by, on_all, one, over, wrong_parts

from hooks import Checkpoint, EarlyStopping, MetricsLog, NaNGuard, Progress
from hooks.checkpoint.disk.errors import Differing
from hooks.checkpoint.workers import followers
from loop.rounds import Rounds
from loop.running import alike
from loop.running.agreed import Agreed
from loop.running.alike import _refuse
from loop.running.schedule import Schedule
from loop.stops import Stops
from loop.triggers import NEVER, Every
from loop.workers import failures as failures_module
from loop.workers.cluster import Workers
from loop.workers.failures import GONE, SILENT, FailureWatch
from loop.workers.store import WorkerFailed
from loop.workers.waits import Waits

COUNTS = pytest.mark.parametrize("count", [64, pytest.param(512, marks=pytest.mark.long)])


@COUNTS
def test_all_of_many_workers_find_the_same_agreed(count: int) -> None:
    wishes = {2: {30: "asked by 30", 17: "asked by 17", count - 1: "asked by the last"}}
    first, *others = on_all(count, lambda worker: decisions(worker, wishes))
    assert all(other == first for other in others)
    ends, reasons = first[::2], first[1::2]
    assert [end[:2] for end in ends] == [(100, 0.0)] * 4  # the least far of all, and the first one's clock
    assert [end[2] for end in ends] == [None, None, "asked by 17", "asked by 17"]
    assert reasons == [(None, False)] * 2 + [("asked by 17", True)] * 2


def test_a_run_begins_at_the_time_of_the_first_one() -> None:
    """Or hooks that wait for times would be called in some workers, and not in others."""

    def begun(worker: Workers) -> float:
        clock = SimpleNamespace(now=lambda: float(worker.rank), start=lambda: None)
        parts, agreed = Mock(clock=clock), Agreed(worker, Stops(lambda: None, together=True), clock)
        rounds = Rounds(parts, Mock(), Mock(), agreed, Mock(), exact=True)
        rounds.begin()
        return rounds._since

    assert on_all(2, begun) == [0.0, 0.0]


@COUNTS
def test_of_many_workers_one_with_other_values_is_named_before_the_commit(count: int) -> None:
    commit(count, 3)
    with pytest.raises(Differing, match=r"Worker 50 does not hold .* model/layer_0/kernel\."):
        commit(count, 3, wrong=50)


def test_what_hooks_and_data_keep_in_python_is_compared_too() -> None:
    with pytest.raises(
        Differing, match=r"Worker 1 does not hold .* hooks/counting/get_state\. .* Python in one worker"
    ):
        commit(2, 1, wrong=1, in_python="hooks/counting/get_state")
    with pytest.raises(Differing, match=r"data/get_state\. The batches that they have read are others"):
        commit(2, 1, wrong=1, in_python="data/get_state")
    commit(2, 1, wrong=1, in_python="hooks/shown/get_state")  # of a hook that is called in the first one alone


def test_what_each_has_for_itself_reaches_the_first_one_and_is_forgotten() -> None:
    assert list(wrong_parts(3)) == []


def test_what_a_worker_cannot_tell_the_first_one_raises_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, also at the last save, when both wait for one another."""

    def full(tensors: dict[str, tf.Tensor]) -> bytes:
        raise OSError(28, "No space left on device")

    def save(worker: Workers) -> str:
        state = SimpleNamespace(variables={}, apart=Part(worker.rank, 2), in_python=dict)
        hooks = SimpleNamespace(apart=tuple)
        followed = followers.Followers(SimpleNamespace(workers=worker, state=state, hooks=hooks), "checkpoint")
        said = ""
        for _ in range(2):
            followed.agreed(True)
            if worker.rank:
                followed.tell()
                continue
            with pytest.raises(RuntimeError) as raised:
                followed.comparing()({})
            said += str(raised.value)
        followed.wait_for_all()
        over(followed)
        return said

    monkeypatch.setattr(followers, "packed", full)
    said = "worker 1 (10.0.0.1:1) could not say what it holds: OSError: [Errno 28] No space left on device"
    assert on_all(2, save) == [2 * said, ""]


def test_workers_with_other_data_are_told_what_to_leave_out() -> None:
    def compared(worker: Workers, section: str) -> None:
        _refuse(SimpleNamespace(workers=worker), "what they train", {section: {"rows": worker.rank}})

    for section in ("data", "data noted"):
        said = rf"{section} rows: 0 in worker 0, 1 in worker 1 .*\n.*leave out .* dataset\.shard.* same paths"
        with pytest.raises(ValueError, match=said):
            on_all(2, lambda worker, section=section: compared(worker, section))
    with pytest.raises(
        ValueError, match=r"run rows: 0 in worker 0, 1 in worker 1 .*\nAll workers start the same script"
    ):
        on_all(2, lambda worker: compared(worker, "run"))


class Always(Every):
    """A trigger of a program's own, of which Python says where it stands."""

    __repr__ = object.__repr__


def test_all_in_which_the_programs_of_workers_differ_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "is_op_determinism_enabled", lambda: next(chosen))
    monkeypatch.setattr(alike, "_values", lambda parts, state: {"weights": str(parts.workers.rank)})
    chosen, stops = iter([True, False]), Stops(lambda: None, together=True)

    def checked(worker: Workers) -> None:
        hooks = [NaNGuard(limits={"loss": 1.0 + worker.rank}), EarlyStopping("loss", mode="min", patience=3)]
        hooks += [Checkpoint(f"checkpoints-{worker.rank}"), Progress(verbose=1 + worker.rank)]
        hooks += [MetricsLog("run.csv")] if worker.rank == 0 else []  # called there alone: no difference
        every = {"val": Every(epochs=1 + worker.rank), "mine": Always(epochs=1)}
        evaluations = Schedule([SimpleNamespace(name=name, every=each) for name, each in every.items()], NEVER)
        worker.collective.number += worker.rank  # as if one of them had traced something before
        own = hooks[:: 1 - 2 * worker.rank]
        parts = SimpleNamespace(workers=worker, stops=stops, hooks=own, evaluations=evaluations)
        state = SimpleNamespace(
            describe=lambda: {"data": {"rows": worker.rank}}, notes=lambda: {"data": {"seed": worker.rank}}
        )
        alike.check_program(parts, state)

    with pytest.raises(ValueError, match=r"\n.* versions and environment") as raised:
        on_all(2, checked)
    differences = [line.strip() for line in str(raised.value).splitlines()[1:-1]]
    held = ["sums over workers traced", "data noted seed", "value of weights"]
    named = [each.partition(":")[0] for each in differences]
    mine = "hook nan_guard(limits=...)"
    assert named == ["kernels op_determinism", "order of hooks", mine, "evaluations val", "data rows", *held]


def test_workers_that_exchange_different_things_say_so() -> None:
    assert on_all(2, lambda worker: worker.exchange(worker.rank, at="a").tolist()) == [[[0.0], [1.0]]] * 2
    said = r"worker 0 \(10.0.0.1:0\) for one, worker 1 \(10.0.0.1:1\) for another.*loop.evaluate"
    with pytest.raises(RuntimeError, match=said):
        on_all(2, lambda worker: worker.exchange(1.0, at=["one", "another"][worker.rank]))


def test_workers_that_wait_for_different_things_are_seen_and_those_that_are_late_are_not_taken_for_them() -> None:
    together = Together(2)
    chief, other = (Waits(one(rank, together)) for rank in (0, 1))
    with chief.waiting("the train step"), other.waiting("the train step"):
        assert chief.elsewhere() is other.elsewhere() is None
    with chief.waiting("evaluation"):
        assert chief.elsewhere() is None  # and says where it is
        assert other.elsewhere() is None  # it is late, and does not wait yet
        with other.waiting("what time it is"):
            said = str(other.elsewhere())
    assert "worker 0 (10.0.0.1:0) for evaluation, worker 1 (10.0.0.1:1) for what time it is" in said


def test_workers_of_which_one_has_begun_a_step_more_are_seen_and_those_that_are_late_are_not_taken_for_them() -> None:
    together = Together(2)
    first, second = (one(rank, together) for rank in (0, 1))
    chief, other = Waits(first), Waits(second)
    with chief.waiting("the train step"):
        with other.waiting("the train step"):
            first.begun.assign(9)
            second.begun.assign(9)
            assert chief.elsewhere() is other.elsewhere() is None
        with other.waiting("what time it is"):
            assert chief.elsewhere() is other.elsewhere() is None  # it has begun as many, and reads what is next
            first.begun.assign_add(1)
            assert chief.elsewhere() is None
            assert "worker 0 (10.0.0.1:0) is in a step for which worker 1 (10.0.0.1:1) has none" in other.elsewhere()
    chief, other = Waits(first), Waits(second)
    with chief.waiting("the train step"):
        pass
    with chief.waiting("what time it is"), other.waiting("the train step"):
        assert chief.elsewhere() is other.elsewhere() is None  # it is late
        second.begun.assign(11)
        assert "worker 1 (10.0.0.1:1) is in a step for which worker 0 (10.0.0.1:0) has none" in other.elsewhere()


def test_two_threads_of_a_worker_that_train_at_once_are_refused() -> None:
    worker, alone = one(0, Together(2)), one(0, Together(1))
    said: list[str] = []

    def train(worker: Workers) -> None:
        try:
            with worker.needed():
                said.append("trained")
        except RuntimeError as error:
            said.append(str(error))

    for each in (worker, alone):
        with each.needed(), each.needed():  # a hook that evaluates
            thread = threading.Thread(target=train, args=[each])
            thread.start()
            thread.join()
    train(worker)
    assert said[0].startswith("Two threads of a worker train at the same time")
    assert said[1:] == ["trained", "trained"]


def test_whoever_learns_from_a_sum_who_has_gone_waits_for_it_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a thread that saves, either, though its own failure is the first that the others are told of."""
    monkeypatch.setattr(failures_module, "LOOK_EVERY", 0.01)
    worker = one(0, Together(2))
    failures = FailureWatch(worker)
    error = tf.errors.UnavailableError(None, None, "Socket closed: /job:worker/replica:0/task:1")
    try:
        failed = failures.explained(error)
        failures.tell(failed)
        assert str(failed) == failures.said == GONE.format("worker 1 (10.0.0.1:1)")
    finally:
        failures._over = True


def test_of_who_has_gone_it_is_said_why_if_he_has_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the sum in which he is missed raises before that is heard."""
    monkeypatch.setattr(failures_module, "abort_collectives", lambda said: None)
    monkeypatch.setattr(failures_module.os, "_exit", lambda status: None)
    together = Together(2)
    failures = FailureWatch(one(0, together))
    told = {"rank": 1, "said": "ValueError: no rows"}
    try:
        threading.Timer(0.1, one(1, together).put, [failures_module.KEY, told]).start()
        error = tf.errors.UnavailableError(None, None, "Socket closed: /job:worker/replica:0/task:1")
        assert str(failures.explained(error)) == "worker 1 (10.0.0.1:1) has failed: ValueError: no rows"
    finally:
        failures._over = True


@pytest.mark.parametrize(
    ("rank", "message", "said"),
    [
        (1, "agent is in state ERROR", GONE.format("worker 0 (10.0.0.1:0)")),
        (0, "agent is in state ERROR", SILENT),
        (0, "lost: /job:worker/replica:0/task:1", GONE.format("worker 1 (10.0.0.1:1)")),
    ],
)
def test_a_worker_that_hears_nothing_any_more_does_not_take_itself_for_gone(
    rank: int, message: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures_module, "LOOK_EVERY", 0.01)
    worker = one(rank, Together(2))
    failures = FailureWatch(worker)
    failures._over = True
    error = tf.errors.FailedPreconditionError(None, None, message)
    monkeypatch.setattr(worker, "listen", raising(error))
    assert failures._look() == said


@pytest.mark.parametrize(("rank", "said"), [(1, GONE.format("worker 0 (10.0.0.1:0)")), (0, SILENT)])
def test_who_is_not_answered_knows_at_once_that_the_first_one_has_gone(
    rank: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the thread that watches waits for an answer, too."""
    monkeypatch.setattr(failures_module, "LOOK_EVERY", 0.01)
    failures = FailureWatch(one(rank, Together(2)))
    failures._over = True
    late = tf.errors.DeadlineExceededError(None, None, "aborted\nRPC: /tensorflow.CoordinationService/Heartbeat")
    assert str(failures.explained(late)) == said


@pytest.mark.parametrize("answers", [0, 30])
def test_who_owes_an_answer_for_too_long_has_gone(answers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a first worker that is suspended; nobody waits to tell it anything. One that answers late has not."""
    ended, asked, never = list[int](), list[float](), threading.Event()
    for name, value in (("LOOK_EVERY", 0.02), ("TELL_WITHIN", 0.02), ("GRACE", 0.0)):
        monkeypatch.setattr(failures_module, name, value)
    monkeypatch.setattr(failures_module, "abort_collectives", lambda said: None)
    monkeypatch.setattr(failures_module.os, "_exit", ended.append)
    worker = one(1, Together(2))

    def listen(key: str, timeout: float) -> NoReturn:
        asked.append(timeout)
        # Half as long as it may take.
        never.wait(None if len(asked) > answers else 0.1)
        raise TimeoutError

    monkeypatch.setattr(worker, "listen", listen)
    monkeypatch.setattr(worker, "put", lambda key, value: never.wait())
    failures = FailureWatch(worker)
    try:
        assert failures._known.wait(60)
        assert len(asked) == answers + 1
        failed = failures.explained(tf.errors.AbortedError(None, None, "aborted"))
        assert str(failed) == GONE.format("worker 0 (10.0.0.1:0)")
        failures.tell(failed)
    finally:
        failures._over = True
        never.set()


def test_who_has_failed_itself_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "LOOK_EVERY", 0.001)
    failures = FailureWatch(one(1, Together(2)))
    failures.tell(ValueError("of this one alone"))
    for thread in [each for each in threading.enumerate() if each.name in ("failures", "answers")]:
        thread.join(60)
        assert not thread.is_alive()
    assert failures.said is None


SAID = [
    "too long",
    "in user code:\n\n    File 'a.py', line 1\n\n    ValueError: too long\n",
    "Graph execution error:\n\nDetected at node F defined at (most recent):\n<stack traces unavailable>\ntoo long\n",
]


@pytest.mark.parametrize("text", SAID)
def test_others_are_told_in_one_line_what_has_failed(text: str) -> None:
    """Also of what failed while a step was traced, which AutoGraph puts at the end of what it says, or in a graph."""
    worker = one(0, Together(2))
    failures = FailureWatch(worker)
    try:
        failures.tell(ValueError(text))
        assert worker.listen(failures_module.KEY, 60.0) == {"rank": 0, "said": "ValueError: too long"}
    finally:
        failures._over = True


def test_a_child_of_a_worker_that_ends_or_fails_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has inherited what is done at the end of the process, and when an exception ends it."""
    worker = one(0, Together(2))
    failures = FailureWatch(worker)
    monkeypatch.setattr(failures_module.os, "getpid", lambda: -1)
    try:
        failures.tell(ValueError("of a child"))
        failures.leave()
        for key in (failures_module.KEY, failures_module.LEFT):
            with pytest.raises(TimeoutError):
                worker.listen(key, 0.0)
    finally:
        failures._over = True


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*arguments: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize("told", [True, False])
def test_who_hangs_is_ended_and_who_has_failed_too_is_not(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its script does with the exception is its own affair, however long it takes."""
    ended: list[int] = []
    monkeypatch.setattr(failures_module, "GRACE", 0.0)
    monkeypatch.setattr(failures_module, "abort_collectives", lambda said: None)
    monkeypatch.setattr(failures_module.os, "_exit", ended.append)
    failures = FailureWatch(one(0, Together(2)))
    try:
        if told:
            failures.tell(ValueError("of all workers"))
        failures._found("worker 1 has failed")
        assert ended == ([] if told else [1])
    finally:
        failures._over = True


@pytest.mark.parametrize("exits", [True, False])
def test_who_is_done_does_not_end_well_when_another_one_fails(exits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """But who goes first, in the midst of a run, ends with a status of its own."""
    ended: list[int] = []
    monkeypatch.setattr(failures_module.os, "_exit", ended.append)
    worker = one(0, Together(2))
    monkeypatch.setattr(worker, "get", raising(WorkerFailed("worker 1 has failed")))
    failures = FailureWatch(worker)
    failures.said = "worker 1 has failed"
    failures._known.set()
    if exits:
        failures.tell(SystemExit(5))
    failures.leave()
    assert ended == ([] if exits else [1])


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "not yet here"), tf.errors.NotFoundError(None, None, "not yet here")]
)
def test_a_checkpoint_that_is_not_seen_yet_is_looked_for_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def unseen(directory: str, *, make: bool) -> None:
        tried.append(directory)
        raise error

    monkeypatch.setattr(followers, "open_files", unseen)
    monkeypatch.setattr(followers, "AGAIN", 0.0)
    clock = iter(range(100))
    monkeypatch.setattr(followers.time, "monotonic", lambda: 6.0 * next(clock))
    hooks = SimpleNamespace(apart=lambda: ())
    loop = SimpleNamespace(workers=one(1, Together(2)), state=None, hooks=hooks)
    with pytest.raises(FileNotFoundError, match=r"worker 1 .*cannot restore stem in 'gs://x'.*: not yet here"):
        followers.Followers(loop, "checkpoint")._seen("gs://x", "stem", contextlib.ExitStack())
    assert tried == ["gs://x"] * 2


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        ({1: ["after"]}, ("after", False, False)),
        ({2: ["epoch"]}, ("epoch", False, True)),
        ({0: ["after"], 2: ["epoch"]}, ("after", False, True)),
        ({0: ["now"], 2: ["epoch"]}, ("now", True, True)),
        ({1: ["after", "epoch"]}, ("after", False, True)),
        ({1: ["epoch", "now"]}, ("epoch", True, True)),  # the first reason, as in one process
        ({}, (None, False, False)),
    ],
)
def test_all_agree_on_whether_the_epoch_ends_too(
    asked: dict[int, list[str]], agreed: tuple[str | None, bool, bool]
) -> None:
    assert on_all(3, lambda worker: ended_by(worker, asked)) == [agreed] * 3


def test_who_fails_when_the_end_is_agreed_on_is_heard_of_by_who_asks_for_more() -> None:
    def found(worker: Workers) -> tuple[object, ...]:
        stops = Stops(lambda: None, together=True)
        agreed = Agreed(worker, stops, SimpleNamespace(now=lambda: 0.0))
        stops.after_round("enough")
        agreed.stops()
        if worker.rank == 2:
            stops.after_round("more", end_epoch=True)
        agreed.stops([ValueError("broken")] if worker.rank == 1 else [])
        try:
            agreed.come_out()
        except WorkerFailed as error:
            return str(error), stops.reason, stops.ends_epoch
        return None, stops.reason, stops.ends_epoch

    heard = "worker 1 (10.0.0.1:1) has failed: ValueError: broken"
    assert on_all(3, found) == [(heard, "enough", True), (None, "enough", True), (heard, "enough", True)]
