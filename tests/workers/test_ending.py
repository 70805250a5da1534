"""How several processes end: all together, whoever it was that was asked to, failed or was killed."""

import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cluster import run, running

STEPS, EVERY = "60", "7"


def check_goes_on(directories: Sequence[Path], tmp_path: Path) -> None:
    """Runs that were cut short end with the bits of one that was not, in all workers."""
    plan = [["saved", str(directory), STEPS, EVERY] for directory in (*directories, tmp_path / "whole")]
    workers = run(plan, 2, tmp_path / "again")
    *resumed, whole = workers[0]
    assert workers[1] == workers[0]
    assert len(whole["steps"]["loss"]) == int(STEPS)
    for each in resumed:
        assert 0 < len(each["steps"]["loss"]) < int(STEPS)
        assert each["digests"] == whole["digests"]


def test_a_worker_that_is_killed_ends_all_and_they_go_on_with_the_same_bits(tmp_path: Path) -> None:
    plan = [["saved", str(tmp_path / "checkpoints"), STEPS, EVERY, "0.05"]]
    with running(plan, 2, tmp_path / "killed") as cluster:
        cluster.wait_for(1, "step 30.")
        cluster.kill(1)
        killed, other = cluster.ended()[::-1]
    assert killed.code == -signal.SIGKILL
    assert other.code == 1
    assert "worker 1 (127.0.0.1:" in other.said.strip().splitlines()[-1]
    check_goes_on([tmp_path / "checkpoints"], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_stands_still_is_not_waited_for(rank: int, tmp_path: Path) -> None:
    """As one whose machine is gone without a word; also the first one, which then answers nobody."""
    plan = [["saved", str(tmp_path / "checkpoints"), STEPS, EVERY, "0.05"]]
    with running(plan, 2, tmp_path / "suspended") as cluster:
        cluster.wait_for(1 - rank, "step 30.")
        cluster.kill(rank, signal.SIGSTOP)
        assert cluster.processes[1 - rank].wait(60) == 1
        cluster.kill(rank, signal.SIGCONT)
        assert [each.code for each in cluster.ended(60)] == [1, 1]
        assert f"worker {rank} (127.0.0.1:" in cluster.said(1 - rank).strip().splitlines()[-1]
    check_goes_on([tmp_path / "checkpoints"], tmp_path)


@pytest.mark.long
def test_a_signal_at_one_ends_all_after_the_same_step(tmp_path: Path) -> None:
    directories = [tmp_path / "of-0", tmp_path / "of-1"]
    for rank, directory in enumerate(directories):
        with running([["saved", str(directory), STEPS, "1000", "0.05"]], 2, tmp_path / "signal") as cluster:
            cluster.wait_for(rank, "step 20.")
            cluster.kill(rank, signal.SIGTERM)
            ended = cluster.ended()
        assert [each.code for each in ended] == [143, 143]
        (saved,) = directory.glob("ckpt-*.json")
        assert 20 <= int(saved.stem.removeprefix("ckpt-")) < int(STEPS)
    check_goes_on(directories, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("counts", [(2, 1, 4), (2, 3)])
def test_the_number_of_workers_may_change(counts: Sequence[int], tmp_path: Path) -> None:
    """With the same rows in each batch as one process that is not cut short has, and nothing to warn of."""
    rows: list[float] = []
    for count, steps in zip(counts, ("20", "37", STEPS)[-len(counts) :], strict=True):
        workers = run([["numbered", str(tmp_path / "checkpoints"), steps]], count, tmp_path / f"of-{count}")
        assert all(each == workers[0] for each in workers)
        assert workers[0][0]["warned"] == []
        rows += workers[0][0]["steps"]["rows"]
    ((whole,),) = run([["numbered", str(tmp_path / "whole"), STEPS]], 1, tmp_path / "alone")
    assert rows == whole["steps"]["rows"]
    assert len(rows) == int(STEPS)
    assert whole["values"].keys() == workers[0][0]["values"].keys()
    for path, values in whole["values"].items():
        np.testing.assert_allclose(workers[0][0]["values"][path], values, rtol=1e-6, atol=1e-6, err_msg=path)


@pytest.mark.long
@pytest.mark.parametrize("where", ["step_end", "settled", "run_end"])
def test_an_exception_in_one_ends_all_and_is_named(where: str, tmp_path: Path) -> None:
    with running([["raises", where]], 2, tmp_path) as cluster:
        other, failing = cluster.ended()
    assert (other.code, failing.code) == (1, 1)
    assert failing.said.strip().splitlines()[-2] == "ValueError: no more of this"
    assert "has failed: ValueError: no more of this" in other.said.strip().splitlines()[-1]


@pytest.mark.more
def test_what_one_prepares_is_waited_for_and_its_failure_is_told_in_words(tmp_path: Path) -> None:
    plan = [["prepared", str(tmp_path / "there")], ["prepared", str(tmp_path / "never")]]
    with running(plan, 2, tmp_path) as cluster:
        failing, other = cluster.ended()
    assert (failing.code, other.code) == (1, 1)
    assert failing.said.strip().splitlines()[-1] == "OSError: no network"
    assert "worker 1 has read of it." in other.said
    assert other.said.strip().splitlines()[-1].endswith("has failed: OSError: no network")
    assert "CollectiveGather" not in other.said


@pytest.mark.long
def test_what_is_asked_for_by_all_at_once_changes_no_bit(tmp_path: Path) -> None:
    plan = [["halted", "2000", *how] for how in (["at random"], [], ["each"])]
    (first, *plain), (second, *other) = run(plan, 2, tmp_path)
    assert first.pop("halts") + second.pop("halts") > 1000
    assert first == second
    assert plain == other == [{**first, "halts": 0}] * 2


@pytest.mark.long
def test_by_the_clock_all_are_called_after_the_same_steps(tmp_path: Path) -> None:
    first, second = run([["by_time", "300"]], 2, tmp_path)
    assert first[0]["at"] == second[0]["at"] != []


@pytest.mark.long
def test_sigterm_ends_a_worker_that_nobody_has_told_otherwise(tmp_path: Path) -> None:
    with running([["waiting"]], 2, tmp_path) as cluster:
        for rank in (0, 1):
            cluster.wait_for(rank, "waiting.")
        for rank in (0, 1):
            cluster.kill(rank, signal.SIGTERM)
        assert [each.code for each in cluster.ended(30)] == [-signal.SIGTERM, -signal.SIGTERM]


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_ends_a_worker_that_waits_for_the_others_to_come(rank: int, tmp_path: Path) -> None:
    with running([["waiting"]], 2, tmp_path) as cluster:
        cluster.kill(1 - rank)
        cluster.wait_for(rank, f"waits for worker {1 - rank}")
        cluster.kill(rank, signal.SIGTERM)
        assert cluster.ended(30)[rank].code == -signal.SIGTERM


@pytest.mark.long
def test_a_worker_that_exits_is_not_waited_for_by_who_is_to_hear_from_it(tmp_path: Path) -> None:
    with running([["exits", str(tmp_path / "checkpoints")]], 2, tmp_path) as cluster:
        exiting, other = cluster.ended(120)
    assert (exiting.code, other.code) == (5, 1)
    assert "has left: its script has ended while others still train" in other.said


@pytest.mark.long
def test_a_script_that_catches_what_all_runs_raise_goes_on_and_trains_no_more(tmp_path: Path) -> None:
    with running([["catches"]], 2, tmp_path) as cluster:
        ended = cluster.ended(120)
    assert [(each.code, each.results) for each in ended] == [(0, [{"caught": ["ValueError", "WorkerFailed"]}])] * 2


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_who_is_done_waits_for_whoever_works_on(rank: int, tmp_path: Path) -> None:
    """The first one, without which the others would be ended, too."""
    with running([["late", str(rank)]], 2, tmp_path) as cluster:
        ended = cluster.ended(120)
    assert [(each.code, each.results) for each in ended] == [(0, [{"worked": "to the end"}])] * 2
    assert f"This worker is done, and waits for worker {rank} (127.0.0.1:" in ended[1 - rank].said
