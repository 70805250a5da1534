"""While TensorFlow starts a cluster, whoever waits for a worker that is gone is ended, and it is said for whom."""

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cluster import running
from places import ROOT, TESTS

PATIENCE = 60.0  # seconds
# Imports the file alone, and so no TensorFlow; waits as in a call of it, until its input is closed, or says "raise".
WORKER = """
import socket, sys
sys.path.insert(0, sys.argv[1])
import starting
rank, *numbers = map(int, sys.argv[2:])
others = {(0 if rank else i + 1): socket.socket(fileno=number) for i, number in enumerate(numbers)}
with starting.watched(rank, ["worker 0 (a:1)", "worker 1 (b:2)", "worker 2 (c:3)"], others):
    print("waits", flush=True)
    if sys.stdin.read():
        raise ValueError("no cluster")
print("goes on", flush=True)
"""
GONE = "exactloop: worker {} has gone, while TensorFlow was starting the cluster.\n"


class Ended(NamedTuple):
    """How a worker has ended, and what it said then."""

    code: int
    said: str
    error: str


@contextlib.contextmanager
def workers() -> Iterator[list[subprocess.Popen]]:
    """Three workers that have met, and wait."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        guests = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        hosts = [listener.accept()[0] for _ in guests]
        found = []
        for rank, own in enumerate([hosts, *([each] for each in guests)]):
            numbers = [each.fileno() for each in own]
            command = [sys.executable, "-c", WORKER, str(ROOT / "loop" / "workers"), str(rank), *map(str, numbers)]
            pipe = subprocess.PIPE
            each = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, pass_fds=numbers)
            found.append(opened.enter_context(each))
            opened.callback(each.kill)
        for each in (*hosts, *guests):
            each.close()
        for each in found:
            assert each.stdout.readline() == "waits\n"
        yield found


def ended(worker: subprocess.Popen, said: str = "") -> Ended:
    out, error = worker.communicate(said, PATIENCE)
    return Ended(worker.returncode, out, error)


def test_who_waits_for_nobody_any_more_goes_on_and_is_not_taken_for_gone() -> None:
    with workers() as each:
        for rank in (1, 0, 2):
            assert ended(each[rank]) == (0, "goes on\n", "")


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_killed_ends_all_others_who_name_it(victim: int) -> None:
    name = ["worker 0 (a:1)", "worker 1 (b:2)", "worker 2 (c:3)"][victim].removeprefix("worker ")
    with workers() as each:
        each[victim].kill()
        for rank in {0, 1, 2} - {victim}:
            # Their inputs stay open until they have ended: so it is not that.
            assert each[rank].wait(PATIENCE) == -signal.SIGKILL
            assert ended(each[rank]) == (-signal.SIGKILL, "", GONE.format(name))


def test_whoever_raises_ends_all_others_who_name_it() -> None:
    with workers() as each:
        failed = ended(each[1], "raise")
        assert (failed.code, failed.error.splitlines()[-1]) == (1, "ValueError: no cluster")
        for rank in (0, 2):
            assert each[rank].wait(PATIENCE) == -signal.SIGKILL
            assert ended(each[rank]).error == GONE.format("1 (b:2)")


@pytest.mark.more
@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_dies_before_tensorflow_has_it_in_its_cluster_is_not_waited_for(victim: int, tmp_path: Path) -> None:
    script = [str(TESTS / "workers" / "dying.py"), str(tmp_path), str(victim), "start"]
    with running([["waiting"]], 2, tmp_path, script) as cluster:
        found = cluster.ended(120)
    assert [each.code for each in found] == [-signal.SIGKILL] * 2
    assert f"exactloop: worker {victim} (127.0.0.1:" in found[1 - victim].said
