"""Real trackers: a run that is killed ten times has each step once in their own stores."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from places import TESTS, environment
from tracker_lives import KINDS, STEPS


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_ten_times_has_each_step_once_in_a_trackers_own_store(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(kind)
    command = [sys.executable, str(TESTS / "tracker_lives.py"), str(tmp_path), kind]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=1200)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [step for step, _ in found] == [*range(1, STEPS + 1)]
    losses = [loss for _, loss in found]
    assert losses == sorted(losses)
    assert losses[-1] == 1 + 3 * sum(range(10))
