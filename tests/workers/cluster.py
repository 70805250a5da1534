"""Real processes on loopback that train together: started, waited for, and ended whatever happens."""

import contextlib
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nursery
import places

SCRIPT = Path(__file__).parent / "worker.py"
PATIENCE = 900.0  # seconds for a cluster to end by itself, on a machine that is busy with other things


class Ended(NamedTuple):
    """What is left of a worker: how it ended, what it wrote, and its results."""

    code: int
    said: str
    results: list[dict]


class Cluster:
    """Processes of one script.

    Args:
        plan: The cases that each of them goes through, with their arguments; see `worker`.
        count: How many; 1: without a cluster.
        where: A directory for their results and what they say.
        script: What each runs, with arguments before the plan.
    """

    def __init__(
        self, plan: Sequence[Sequence[str]], count: int, where: Path, script: Sequence[str] = (str(SCRIPT),)
    ) -> None:
        where.mkdir(parents=True, exist_ok=True)
        self._where = where
        ports = free_ports(count)
        self.processes: list[nursery.Child] = []
        for rank in range(count):
            environment = places.environment(TF_CPP_MIN_LOG_LEVEL="2")
            environment.pop("TF_CONFIG", None)
            if count > 1:
                cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
                environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
            self._result(rank).unlink(missing_ok=True)
            command = [*script, json.dumps(plan), str(self._result(rank))]
            with (where / f"said-{rank}").open("w") as said:  # what somebody before it has said is not to be waited for
                self.processes.append(nursery.start(*command, stdout=said, stderr=said, env=environment, cwd=where))

    def _result(self, rank: int) -> Path:
        return self._where / f"result-{rank}.json"

    def said(self, rank: int) -> str:
        return (self._where / f"said-{rank}").read_text(errors="replace")

    def wait_for(self, rank: int, text: str) -> None:
        """Waits until a worker has written something."""
        end = time.monotonic() + PATIENCE
        while text not in self.said(rank):
            assert time.monotonic() < end, f"{text!r} is not in: {self.said(rank)}"
            assert self.processes[rank].poll() is None or text in self.said(rank), self.said(rank)
            time.sleep(0.02)

    def kill(self, rank: int, number: int = signal.SIGKILL) -> None:
        self.processes[rank].send_signal(number)

    def ended(self, patience: float = PATIENCE) -> list[Ended]:
        """Waits until all have ended by themselves, and returns what is left of them."""
        end = time.monotonic() + patience
        for rank, process in enumerate(self.processes):
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                said = "\n".join(f"--- {i}\n{self.said(i)}" for i in range(len(self.processes)))
                raise AssertionError(f"Worker {rank} does not end.\n{said}") from None
        found = []
        for rank, process in enumerate(self.processes):
            file = self._result(rank)
            found.append(
                Ended(process.returncode, self.said(rank), json.loads(file.read_text()) if file.exists() else [])
            )
        return found

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(
    plan: Sequence[Sequence[str]], count: int, where: Path, script: Sequence[str] = (str(SCRIPT),)
) -> Iterator[Cluster]:
    """Has so many processes go through a plan; none is left when it is left."""
    cluster = Cluster(plan, count, where, script)
    try:
        yield cluster
    finally:
        cluster.end()


def run(plan: Sequence[Sequence[str]], count: int, where: Path) -> list[list[dict]]:
    """Has so many processes go through a plan, and returns the results of each."""
    with running(plan, count, where) as cluster:
        ended = cluster.ended()
    for each in ended:
        assert each.code == 0, each.said
    return [each.results for each in ended]


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
