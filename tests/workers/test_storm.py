"""Workers are killed again and again, anywhere: what comes of it is what comes of a run that nobody has cut short."""

import random
import signal
import time
from pathlib import Path

import pytest
from cluster import run, running

KILLS, STEPS = 50, "3000"


@pytest.mark.long
def test_however_often_workers_are_killed_they_end_with_the_same_bits(tmp_path: Path) -> None:
    """One, the first one, or both; by a signal that they hear, or none; while they start, train, evaluate and save."""
    (whole, *_) = run([["saved", str(tmp_path / "whole"), STEPS, "3"]], 2, tmp_path / "reference")[0]
    plan = [["saved", str(tmp_path / "killed"), STEPS, "3", "0.1"]]
    rng, killed = random.Random(1), 0
    while killed < KILLS:
        with running(plan, 2, tmp_path / "lives") as cluster:
            if rng.random() < 0.8:
                cluster.wait_for(0, "case saved.")
            time.sleep(rng.random() * 2)
            victims = rng.choice([[0], [1], [0, 1]])
            for rank in victims:
                cluster.kill(rank, rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
                time.sleep(rng.choice([0, 0.01, 0.3]))
            killed += len(victims)
            cluster.ended()
    workers = run(plan, 2, tmp_path / "last")
    assert workers[0] == workers[1]
    assert workers[0][0]["digests"] == whole["digests"]
