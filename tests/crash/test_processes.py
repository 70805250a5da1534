"""Real processes: killed at random, started twice, and running for a long time."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from trainer import Trainer

CRASH = Path(__file__).parent


def run(script: str, *arguments: object) -> str:
    """Runs one of the scripts here and returns what it printed; it has to find nothing wrong."""
    command = [sys.executable, str(CRASH / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr[-3000:])  # shown if the test fails
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
def test_random_kills_change_nothing(kills: int) -> None:
    printed = run("kills.py", kills)
    assert "Other than without kills: 0" in printed
    assert int(re.search(r"^together +(\d+) +(\d+)$", printed, re.M)[1]) >= kills // 2


@pytest.mark.more
def test_of_two_trainers_started_together_one_trains() -> None:
    assert "5 pairs of trainers; not exactly one trained: 0" in run("pairs.py", 5)


@pytest.mark.crash
def test_of_two_trainers_started_together_one_trains_100_times() -> None:
    assert "100 pairs of trainers; not exactly one trained: 0" in run("pairs.py", 100)


@pytest.mark.crash
def test_two_checkpoints_of_which_one_is_ahead_fill_no_disk() -> None:
    assert "19 kills of a training with two checkpoints; wrong: 0" in run("ahead.py", 19)


@pytest.mark.crash
def test_1000_restores_and_saves_use_up_nothing(tmp_path: Path) -> None:
    def used() -> tuple[int, int, int]:
        """Returns resident pages, open files and threads."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages, len(os.listdir("/proc/self/fd")), threading.active_count()

    trainer = Trainer()
    for step in range(1, 101):
        trainer.live(tmp_path, steps=step)
    before = used()
    for step in range(101, 1101):
        assert trainer.live(tmp_path, steps=step).begun == step - 1
    after = used()
    assert after[1:] == before[1:]
    assert after[0] < 1.05 * before[0]
