"""Workers are killed again and again, anywhere: what comes of it is what comes of a run that nobody has cut short."""

import random
import signal
import time
from pathlib import Path

import pytest
from cluster import Cluster, run, running

KILLS, STEPS, EVERY = 10, "300", "3"  # kills in each part


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What comes of a run that nobody has cut short."""
    where = tmp_path_factory.mktemp("whole")
    first, second = run([["saved", str(where / "checkpoints"), STEPS, EVERY]], 2, where)
    assert first == second
    return first[0]


@pytest.mark.long
@pytest.mark.parametrize("part", range(5))
def test_however_often_workers_are_killed_they_end_with_the_same_bits(part: int, whole: dict, tmp_path: Path) -> None:
    """One, the first one, or both; by a signal that they hear, or none; while they start, train, evaluate and save."""
    directory = tmp_path / "killed"
    plan = [["saved", str(directory), STEPS, EVERY, "0.1"]]
    rng, killed = random.Random(part), 0
    while killed < KILLS:
        with running(plan, 2, tmp_path / "lives") as cluster:
            where = rng.choice(["start", "begin", "train", "train", "train"])
            wait_somewhere(cluster, where, rng)
            victims = rng.choice([[0], [1], [0, 1]])
            for rank in victims:
                cluster.kill(rank, rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                time.sleep(rng.choice([0, 0.01, 0.3]))
            killed += len(victims)
            if where != "start":  # before they have met, each waits for the others to come
                cluster.ended()
    workers = run([["saved", str(directory), STEPS, EVERY]], 2, tmp_path / "last")
    assert workers[0] == workers[1]
    assert workers[0][0]["digests"] == whole["digests"]


def wait_somewhere(cluster: Cluster, where: str, rng: random.Random) -> None:
    """Waits until the workers start, are traced and restored, or train."""
    if where == "start":
        time.sleep(rng.random() * 8)
    elif where == "begin":
        cluster.wait_for(0, "case saved.")
        time.sleep(rng.random() * 3)
    else:
        cluster.wait_for(0, "step ")
        time.sleep(rng.random() * 2)
