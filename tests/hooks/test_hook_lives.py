"""Averages, exports, budgets, and all hooks together: killed anywhere, a run leaves the same, byte for byte."""

from pathlib import Path

import nursery
import pytest
from places import TESTS

EVENTS = {  # and the steps at which they come
    "step_end": range(1, 10),
    "eval_begin": (2, 4, 6, 8),
    "eval_end": (2, 4, 6, 8),
    "epoch_end": (3, 6, 9),
    "settled": range(1, 10),
    "late": range(1, 10),
    "half": (2, 4, 6, 8, 9),
    "there": (2, 4, 6, 8, 9),
}

# Of the run with all hooks, whose batches of steps 3, 7, 11 and 19 are not finite: there RUN_END is of a rollback.
TWENTY = (
    *("step_end:1", "late:2", "run_end:3", "eval_end:3", "settled:4", "step_end:5", "epoch_end:5"),
    *("half:6", "there:6", "run_end:7", "late:8", "eval_end:9", "settled:10", "run_end:11"),
    *("eval_begin:12", "half:12", "step_end:14", "epoch_end:15", "late:17", "run_end:19"),
)


def differences(directory: Path, *kills: str) -> str:
    ran = nursery.run(TESTS / "hooks/hook_lives.py", directory, *kills)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.more
def test_a_run_with_all_hooks_killed_in_an_export_leaves_the_same(tmp_path: Path) -> None:
    assert differences(tmp_path, "together", "half:6") == ""


@pytest.mark.long
def test_a_run_with_all_hooks_killed_twenty_times_leaves_the_same(tmp_path: Path) -> None:
    assert len(TWENTY) == 20
    assert differences(tmp_path, "together", *TWENTY) == ""


@pytest.mark.long
@pytest.mark.parametrize("event", EVENTS)
def test_a_run_killed_at_any_step_leaves_the_same(event: str, tmp_path: Path) -> None:
    assert differences(tmp_path, *(f"{event}:{step}" for step in EVENTS[event])) == ""
