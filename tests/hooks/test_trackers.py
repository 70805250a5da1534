"""Real trackers: a run that is killed ten times has each step once in their own stores."""

import json
from pathlib import Path

import nursery
import pytest
from places import TESTS
from tracker_lives import KINDS, STEPS


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_ten_times_has_each_step_once_in_a_trackers_own_store(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(kind)
    ran = nursery.run(TESTS / "hooks/tracker_lives.py", tmp_path, kind)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [step for step, _ in found] == [*range(1, STEPS + 1)]
    losses = [loss for _, loss in found]
    assert losses == sorted(losses)
    assert losses[-1] == 1 + 3 * sum(range(10))
