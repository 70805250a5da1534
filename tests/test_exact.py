"""Killed anywhere and started again, a run ends with the same bits as if it had never been killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import DATA

TESTS = Path(__file__).parent
EVERY_STEP = [f"step_end:{step}" for step in range(1, 22)]
EPOCH_END = [f"{event}:{step}" for step in (7, 14) for event in ("eval_begin", "eval_end", "epoch_end", "settled")]


def differences(directory: Path, data: str, kills: list[str]) -> list[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, str(TESTS / "lives.py"), str(directory), data, *kills]
    lives = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert lives.returncode == 0, lives.stderr[-3000:]
    return lives.stdout.splitlines() + [f"{kill}: {lives.stderr[-3000:]}" for kill in kills if kill in lives.stdout]


@pytest.mark.parametrize("data", ["arrays", "dataset"])
def test_killed_at_every_step_ends_with_the_same_bits(tmp_path: Path, data: str) -> None:
    assert differences(tmp_path / "lives", data, [*EVERY_STEP, *EPOCH_END, "settled:2", "settled:21"]) == []


@pytest.mark.parametrize("data", sorted({*DATA} - {"arrays", "dataset"}))
def test_killed_with_any_kind_of_data_ends_with_the_same_bits(tmp_path: Path, data: str) -> None:
    assert differences(tmp_path / "lives", data, ["step_end:4", "step_end:10", "epoch_end:14", "settled:14"]) == []
